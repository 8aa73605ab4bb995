"""The picture of how time and memory grow with one size of the problem."""

import os
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from stata_jax.tools import figures
from stata_jax.tools.growth import heading

# Of the first, second and further lines.
_WEIGHTS: tuple[dict[str, Any], ...] = tuple(dict(linewidth=w, markersize=m) for w, m in ((4, 10), (2, 6.5), (1, 4)))
_LABELS = {"timesteps": "timesteps", "tokens": "tokens per image and timestep", "batch_size": "images per batch"}
_MARGIN = 1.3  # space around the lines, as a factor


def growth_figure(result: Mapping[str, Any]) -> Figure:
    """Time and memory over the value that varies, both axes logarithmic, with a line for each keep rate.

    A thin line of slope 1 goes through the first point of each: what lies below it grows less than linearly.

    Args:
      result: What `stata_jax.scaling.measure` returns. Memory has no panel where it is not known.

    Returns:
      A figure without any global state of matplotlib.
    """
    rows = result["rows"]
    panels = [("step_s", 1e3, f"time of {'a training step' if result['mode'] == 'train' else 'inference'} [ms]")]
    if all(row["peak_bytes"] is not None for row in rows):
        panels.append(("peak_bytes", 1e-6, "memory, all [MB]"))
    figure, axes = figures.panels(len(panels), title=heading(result).replace("; ", "\n"))
    for axis, (key, scale, label) in zip(axes, panels, strict=True):
        _panel(axis, result, key, scale)
        axis.set_ylabel(label)
    return figure


def draw_growth(path: str | os.PathLike[str], result: Mapping[str, Any]) -> None:
    """Writes `growth_figure` as a PNG; its folder is made where it is missing."""
    figures.save(path, growth_figure(result))


def _panel(axis: Axes, result: Mapping[str, Any], key: str, scale: float) -> None:
    """Draws one cost, `row[key] * scale`."""
    exponents = {entry["keep_rate"]: entry for entry in result["growth"]}
    name = "time_exponent" if key == "step_s" else "memory_exponent"
    shown: list[float] = []
    for i, rate in enumerate(exponents):
        values = [row["value"] for row in result["rows"] if row["keep_rate"] == rate]
        costs = [scale * row[key] for row in result["rows"] if row["keep_rate"] == rate]
        guide = [costs[0], costs[0] * values[-1] / values[0]]
        colour, marker = figures.COLOURS[i % 6], figures.MARKERS[i % 6]
        text = f"keep rate {rate:g}: slope {exponents[rate][name]:.2f}"
        # Thinner and smaller than the one before, so that lines on top of each other all show.
        axis.plot(values, costs, color=colour, marker=marker, label=text, **_WEIGHTS[min(i, 2)])
        label = "slope 1" if i == len(exponents) - 1 else None
        ends = [values[0], values[-1]]
        axis.plot(ends, guide, color=figures.GUIDE, linewidth=0.7, linestyle="--", zorder=1, label=label)
        shown += costs + guide
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(min(shown) / _MARGIN, max(shown) * _MARGIN)
    axis.xaxis.set_major_locator(FixedLocator(values))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ticks.set_minor_formatter(NullFormatter())
    axis.set_xlabel(_LABELS[result["vary"]])
    axis.legend(fontsize=8, framealpha=0.9)
