"""The picture of coverage over training: what its lines say, and what is read from a run's metrics."""

import numpy as np
import pytest
from matplotlib import image as mpl_image
from matplotlib._pylab_helpers import Gcf

from stata_jax.tools.coverage_plot import coverage_figure, draw_coverage, over_training, read_coverage
from stata_jax.train.metrics import MetricsWriter


def run_of(shares, *, blocks=("block0", "block10", "block2")):
    """A run whose share at epoch e and timestep t is `shares[e - 1][t]` in all blocks."""
    return [
        {
            "step": 10 * epoch,
            "epoch": epoch,
            "coverage": {block: {"kept_on_digit": at, "digit_kept": [0.0] * len(at)} for block in blocks},
        }
        for epoch, at in enumerate(shares, start=1)
    ]


ANCHOR = [run_of([[0.2, 0.4], [0.5, 0.7]]), run_of([[0.4, 0.6], [0.7, 0.7], [0.9, 0.9]])]


def lines_of(axis):
    return {line.get_label(): line.get_ydata() for line in axis.get_lines()}


def test_lines_are_means_over_timesteps_and_seeds_with_bands():
    runs = {"anchor": ANCHOR, "random": [run_of([[0.1]], blocks=("block2",))], "dense": [[]], "none": []}
    axes = coverage_figure(runs, chance=0.19).axes
    assert [axis.get_title() for axis in axes] == ["block 0", "block 2", "block 10"]
    for axis in axes:
        lines = lines_of(axis)
        np.testing.assert_allclose(lines["anchor"], [40, 65])  # the third epoch is of one seed alone
        np.testing.assert_allclose(lines["chance"], 19)
        thin = [line.get_ydata() for line in axis.get_lines() if line.get_linewidth() < 1]
        np.testing.assert_allclose(thin, [[30, 60], [50, 70]])
        (band,) = axis.collections
        edges = band.get_paths()[0].vertices
        first, spread = edges[edges[:, 0] == 1, 1], np.std([0.3, 0.5], ddof=1)
        assert (first.min(), first.max()) == pytest.approx((40 - 100 * spread, 40 + 100 * spread))
        assert ("random" in lines) == (axis.get_title() == "block 2")
        assert not {"dense", "none"} & lines.keys()
    (legend,) = axes[0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["anchor", "chance", "random"]


def test_many_timesteps_have_no_lines_of_their_own_and_one_seed_no_band():
    figure = coverage_figure({"anchor": [run_of([[0.1] * 5, [0.2] * 5], blocks=("block1",))]}, chance=None)
    (axis,) = figure.axes
    assert list(lines_of(axis)) == ["anchor"] and not axis.collections


def test_cells_beyond_the_colours_differ_too():
    figure = coverage_figure({f"cell {i}": [run_of([[0.1]], blocks=("block0",))] for i in range(14)}, chance=None)
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].get_lines()}
    assert len(looks) == 14


def test_records_without_coverage_count_for_nothing():
    unknown = [{"step": 5, "epoch": 1}, {"step": 10, "epoch": 2, "coverage": None}]
    (axis,) = coverage_figure({"a": [unknown + run_of([[0.3]], blocks=("block0",))]}, chance=None).axes
    np.testing.assert_allclose(lines_of(axis)["a"], 30)
    with pytest.raises(ValueError, match="no run of dense has measured coverage"):
        coverage_figure({"dense": [unknown]}, chance=0.2)


def test_over_training_keeps_seeds_epochs_and_timesteps_apart():
    epochs, shares = over_training(ANCHOR, "block2")
    assert epochs.tolist() == [1, 2]
    np.testing.assert_allclose(shares, [[[0.2, 0.4], [0.5, 0.7]], [[0.4, 0.6], [0.7, 0.7]]])


def test_the_file_shows_the_line(tmp_path):
    path = tmp_path / "new" / "coverage.png"
    draw_coverage(path, {"anchor": ANCHOR}, chance=0.2)
    picture = mpl_image.imread(path)[..., :3]
    assert np.all(np.abs(picture - np.array([0x00, 0x72, 0xB2]) / 255) < 0.02, axis=-1).sum() > 300
    assert picture[:, -3:].min() == picture[-3:].min() == pytest.approx(1.0)  # nothing is cut off
    assert not Gcf.get_all_fig_managers()


def test_what_a_run_writes_is_read_back(tmp_path):
    coverage = {
        f"block{l}": {name: [0.25 * l, *[t / 20 for t in range(11)]] for name in ("kept_on_digit", "digit_kept")}
        for l in (0, 1)
    }
    with MetricsWriter(tmp_path, resume_step=0) as writer:
        writer.write(2, {"epoch": 1, "train": {"loss": 1.0}})
        writer.write(2, {"epoch": 1, "test": {"top1": 0.5, "coverage": coverage, "coverage_chance": 0.2}})
        writer.write(4, {"epoch": 2, "test": {"top1": 0.5}})
    assert read_coverage(tmp_path / "metrics.jsonl") == [{"step": 2, "epoch": 1, "coverage": coverage}]
