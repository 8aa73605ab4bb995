"""Pictures of a sweep: accuracy over what it costs, and accuracy, speed and memory over a key of the config."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stata_jax.tools import figures
from stata_jax.tools.sweep_table import DENSE, energy_unit

_LINE = figures.COLOURS[0]

Table = Sequence[Mapping[str, Any]]


def costs_figure(table: Table, *, title: str) -> Figure:
    """Top-1 of each cell over its energy and over its training time, a panel for each that is known.

    Args:
      table: What `sweep_table.summarise` returns.
      title: Of the figure.

    Returns:
      A figure without any global state of matplotlib; bars are the means' 95 % confidence intervals.
    """
    scale, unit = energy_unit(table)
    panels = [
        ("energy_mj", scale, f"energy of an image [{unit}]"),
        ("step_s", 1e3, "time of a training step [ms]"),
    ]
    panels = [panel for panel in panels if any(row[panel[0]] for row in table)]
    figure, axes = figures.panels(len(panels), title=title)
    for axis, (key, scale, label) in zip(axes, panels, strict=True):
        for i, row in enumerate(table):
            if row[key]:
                colours, markers = figures.COLOURS, figures.MARKERS
                style = dict(color=colours[i % len(colours)], marker=markers[i % len(markers)])
                _point(axis, scale * row[key], row, **style)
        axis.set_xlabel(label)
        axis.set_ylabel("top-1 [%]")
        axis.margins(x=0.15)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.set_ylim(max(axis.get_ylim()[0], 0), min(axis.get_ylim()[1], 100))
    names = {name: mark for axis in axes for mark, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(names.values(), names, loc="outside right upper", fontsize=8)
    return figure


def over_figure(table: Table, values: Mapping[str, float], *, key: str, title: str) -> Figure:
    """Top-1, and where known the training's speed-up and its memory, over a key of the config.

    The cell `dense` is no point of the lines but a level of its own: it has no anchor and no alignment either.

    Args:
      table: What `sweep_table.summarise` returns.
      values: The key's value by cell.
      key: The key.
      title: Of the figure.

    Returns:
      A figure without any global state of matplotlib; bars and the band are the means' 95 % confidence intervals.
    """
    rows = sorted((row for row in table if row["cell"] != DENSE), key=lambda row: values[row["cell"]])
    dense = next((row for row in table if row["cell"] == DENSE), None)
    panels = {
        "top-1 [%]": lambda row: 100 * row["top1"].mean,
        "speed-up of a training step": lambda row: 1 / row["ratios"]["step_s"] if row["ratios"]["step_s"] else None,
        "memory of a training step [MB]": lambda row: row["peak_bytes"] / 1e6 if row["peak_bytes"] else None,
    }
    panels = {label: of for label, of in panels.items() if any(of(row) is not None for row in rows)}
    figure, axes = figures.panels(len(panels), title=title)
    for axis, (label, of) in zip(axes, panels.items(), strict=True):
        known = [row for row in rows if of(row) is not None]
        xs, ys = [values[row["cell"]] for row in known], [of(row) for row in known]
        if label.startswith("top-1"):
            axis.errorbar(xs, ys, yerr=_errors(known), color=_LINE, marker="o", capsize=3)
        else:
            axis.plot(xs, ys, color=_LINE, marker="o")
        if dense is not None and (level := of(dense)) is not None:
            axis.axhline(level, color=figures.GUIDE, linestyle="--", label=DENSE)
            if label.startswith("top-1") and (error := _errors([dense])[0]):
                axis.axhspan(level - error, level + error, color=figures.GUIDE, alpha=0.15, linewidth=0)
            axis.legend(fontsize=8)
        axis.set_xlabel(key)
        axis.set_ylabel(label)
    return figure


def _point(axis: Axes, x: float, row: Mapping[str, Any], **style: Any) -> None:
    y = 100 * row["top1"].mean
    axis.errorbar([x], [y], yerr=_errors([row]), capsize=3, linestyle="", label=row["cell"], **style)


def _errors(rows: Table) -> list[float]:
    """Half widths of the intervals of top-1, in percent; 0 for a single seed."""
    return [0.0 if row["top1"].high is None else 100 * (row["top1"].high - row["top1"].mean) for row in rows]
