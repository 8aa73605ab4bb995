"""The picture of growth: what its lines and labels say, and its colours in the PNG."""

import numpy as np
import pytest
from matplotlib import image as mpl_image
from matplotlib._pylab_helpers import Gcf

from stata_jax.tools.growth import growth
from stata_jax.tools.growth_plot import draw_growth, growth_figure


def result_of(*, memory=True, vary="timesteps"):
    rows = []
    for value in (1, 2, 8):
        for rate in (1.0, 0.2):
            bytes_ = int(3e6 * value) if memory else None  # the same at both keep rates
            rows.append({"value": value, "keep_rate": rate, "step_s": 0.5 * rate * value**0.5, "peak_bytes": bytes_})
    facts = {"model": "m", "mode": "train", "vary": vary, "batch_size": 16, "image_size": 32, "timesteps": 4}
    facts |= {"dtype": "float32", "device": "gpu", "jax": "0.10.2", "rows": rows, "growth": growth(rows)}
    return facts


def test_lines_hold_the_costs_in_the_units_of_their_axes():
    time, memory = growth_figure(result_of()).axes
    assert (time.get_ylabel(), memory.get_ylabel()) == ("time of a training step [ms]", "memory, all [MB]")
    assert time.get_xlabel() == "timesteps" and time.get_xscale() == time.get_yscale() == "log"
    lines = {line.get_label(): line.get_xydata() for line in time.get_lines()}
    roots = np.sqrt([1, 2, 8])
    np.testing.assert_allclose(lines["keep rate 1: slope 0.50"], np.stack([[1, 2, 8], 500 * roots], axis=1))
    np.testing.assert_allclose(lines["keep rate 0.2: slope 0.50"], np.stack([[1, 2, 8], 100 * roots], axis=1))
    np.testing.assert_allclose(lines["slope 1"], [[1, 100], [8, 800]])
    for line in memory.get_lines()[::2]:
        np.testing.assert_allclose(line.get_ydata(), [3, 6, 24])


def test_every_value_and_some_costs_are_labelled_plainly():
    figure = growth_figure(result_of())
    figure.canvas.draw()
    time = figure.axes[0]
    assert [text.get_text() for text in time.get_xticklabels()] == ["1", "2", "8"]
    low, high = time.get_ylim()
    seen = [tick.label1.get_text() for tick in time.yaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert seen == ["100", "200", "500", "1000", "2000", "5000"]


def test_unknown_memory_has_no_panel():
    assert len(growth_figure(result_of(memory=False)).axes) == 1


def test_equal_lines_both_show_in_the_file(tmp_path):
    path = tmp_path / "new" / "scaling.png"
    draw_growth(path, result_of())
    picture = mpl_image.imread(path)[..., :3]
    memory = picture[:, picture.shape[1] // 2 :]
    legend = 0.35 * memory.shape[0]  # lines at the right end, below the legend's key
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
        at = np.argwhere(np.all(np.abs(memory - np.array(colour) / 255) < 0.02, axis=-1))
        assert (at[:, 0] > legend).sum() > 100
    assert picture[:, -3:].min() == picture[:3].min() == pytest.approx(1.0)  # nothing is cut off
    assert not Gcf.get_all_fig_managers()
