"""The pictures of a sweep: their points, lines and error bars."""

import numpy as np
import pytest
from matplotlib import image as mpl_image
from matplotlib._pylab_helpers import Gcf

from stata_jax.tools.figures import save
from stata_jax.tools.statistics import Interval
from stata_jax.tools.sweep_plot import costs_figure, over_figure


def row_of(cell, top1, *, half=0.01, step_s=0.1, energy=1e-3, ratio=None, memory=None):
    interval = Interval(top1, None, None, 1) if half is None else Interval(top1, top1 - half, top1 + half, 3)
    ratios = {"ac": 1.0, "energy_mj": 1.0, "step_s": ratio}
    return {
        "cell": cell,
        "top1": interval,
        "energy_mj": energy,
        "step_s": step_s,
        "ratios": ratios,
        "peak_bytes": memory,
    }


TABLE = [
    row_of("dense", 0.9, ratio=1.0, memory=9e6),
    row_of("half", 0.8, half=0.02, ratio=0.5, memory=6e6),
    row_of("fifth", 0.7, half=None, ratio=0.25, memory=5e6, step_s=None),
]
VALUES = {"dense": 1.0, "half": 0.5, "fifth": 0.2}


def bars(axis):
    """Middle, lower and upper end of each error bar, in the order in which they were drawn."""
    ends = [segment for bar in axis.containers for segment in bar[2][0].get_segments()]
    return [(x, (low + high) / 2, (high - low) / 2) for (x, low), (_, high) in ends]


def test_accuracy_over_costs():
    energy, time = costs_figure(TABLE, title="t").axes
    assert (energy.get_xlabel(), time.get_xlabel()) == ("energy of an image [µJ]", "time of a training step [ms]")
    assert energy.get_ylabel() == "top-1 [%]"
    np.testing.assert_allclose(bars(energy), [(1, 90, 1), (1, 80, 2), (1, 70, 0)], atol=1e-9)
    np.testing.assert_allclose(bars(time), [(100, 90, 1), (100, 80, 2)])  # nobody trained the third


def test_large_energies_are_millijoules_and_no_axis_passes_100_percent():
    (energy, _) = costs_figure([row_of("a", 0.99, half=0.3, energy=2.0), row_of("b", 0.5)], title="t").axes
    assert energy.get_xlabel() == "energy of an image [mJ]"
    assert bars(energy)[0][0] == 2.0 and energy.get_ylim()[1] == 100


def test_points_are_named_and_look_different():
    figure = costs_figure([row_of(f"c{i}", 0.5) for i in range(17)], title="t")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"c{i}" for i in range(17)]
    lines = [bar[0] for bar in figure.axes[0].containers]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 17


def test_a_cost_that_nobody_has_gets_no_panel():
    table = [row_of("a", 0.5, energy=None)]
    assert [axis.get_xlabel() for axis in costs_figure(table, title="t").axes] == ["time of a training step [ms]"]


def test_accuracy_speed_and_memory_over_a_key():
    accuracy, speed, memory = over_figure(TABLE, VALUES, key="sparsity.keep_rate", title="t").axes
    assert accuracy.get_xlabel() == "sparsity.keep_rate"
    np.testing.assert_allclose(bars(accuracy), [(0.2, 70, 0), (0.5, 80, 2)], atol=1e-9)
    line, level = speed.get_lines()
    np.testing.assert_allclose(line.get_xydata(), [(0.2, 4), (0.5, 2)])
    assert level.get_label() == "dense" and list(level.get_ydata()) == [1, 1]
    line, level = memory.get_lines()
    np.testing.assert_allclose(line.get_xydata(), [(0.2, 5), (0.5, 6)])
    assert list(level.get_ydata()) == [9, 9]


def test_a_grid_without_dense_is_one_line():
    table = [row_of("x=2", 0.6), row_of("x=1", 0.5)]
    (accuracy,) = over_figure(table, {"x=1": 1.0, "x=2": 2.0}, key="x", title="t").axes
    np.testing.assert_allclose(bars(accuracy), [(1, 50, 1), (2, 60, 1)])
    assert accuracy.get_legend() is None


@pytest.mark.parametrize("figure", [costs_figure(TABLE, title="t"), over_figure(TABLE, VALUES, key="k", title="t")])
def test_a_png_with_the_colours_of_the_lines(tmp_path, figure):
    save(tmp_path / "new" / "figure.png", figure)
    pixels = np.round(255 * mpl_image.imread(tmp_path / "new" / "figure.png")[..., :3]).astype(int).reshape(-1, 3)
    assert (np.abs(pixels - (0x00, 0x72, 0xB2)).sum(axis=1) == 0).sum() > 20
    assert not Gcf.get_all_fig_managers()
