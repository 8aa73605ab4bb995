"""The picture of how well the kept tokens cover the digit over a training."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stata_jax.tools import figures

_STYLES = list(zip(figures.COLOURS[:6], figures.MARKERS, strict=False))
_THIN = range(2, 5)  # timesteps that get a line each
_NAME = re.compile(r"test/coverage/(\w+)/(kept_on_digit|digit_kept)/t(\d+)")

Runs = Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]


def read_coverage(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Reads what a run has measured from its `metrics.jsonl`.

    Args:
      path: The file.

    Returns:
      For each evaluation that knows it, in their order, `step`, `epoch` and `coverage`: by block `kept_on_digit` and
      `digit_kept`, lists over timesteps.
    """
    records = []
    for line in map(json.loads, Path(path).read_text().splitlines()):
        coverage: dict[str, dict[str, list[float]]] = {}
        found = [(*match.groups(), value) for name, value in line.items() if (match := _NAME.fullmatch(name))]
        for block, share, _, value in sorted(found, key=lambda entry: int(entry[2])):
            coverage.setdefault(block, {}).setdefault(share, []).append(value)
        if coverage:
            records.append({"step": line["step"], "epoch": line["epoch"], "coverage": coverage})
    return records


def over_training(seeds: Sequence[Sequence[Mapping[str, Any]]], block: str) -> tuple[np.ndarray, np.ndarray]:
    """The share of kept tokens on the digit, in the epochs that all seeds have measured.

    Args:
      seeds: Of each seed the records of its run, see `coverage_figure`.
      block: Its name, such as `block0`.

    Returns:
      Epochs (E,), ascending, and shares (seeds, E, T); both are empty where a seed has no such record.
    """
    by_epoch = [
        {record["epoch"]: record["coverage"][block]["kept_on_digit"] for record in run if block in record["coverage"]}
        for run in seeds
    ]
    epochs = sorted(set.intersection(*map(set, by_epoch))) if by_epoch else []
    return np.array(epochs), np.array([[run[epoch] for epoch in epochs] for run in by_epoch])


def coverage_figure(runs: Runs, *, chance: float | None) -> Figure:
    """The share of the kept tokens that lies on the digit over the epochs, a panel for each pruning block.

    Each cell has a line, the mean over timesteps and seeds, with a band of one standard deviation (of a sample) over
    its seeds if there are several, and a thin line for each timestep if there are two to four.

    Args:
      runs: By the name of a cell, of each seed the records of its run: mappings with `epoch` and `coverage`, as
        `read_coverage` returns. Records without coverage count for nothing; a cell of such alone has no line.
      chance: What random tokens would have, for a dashed line; None for none.

    Returns:
      A figure without any global state of matplotlib.

    Raises:
      ValueError: If no run knows its coverage.
    """
    runs = {cell: [[each for each in run if each.get("coverage")] for run in seeds] for cell, seeds in runs.items()}
    names = {block for seeds in runs.values() for run in seeds for record in run for block in record["coverage"]}
    blocks = sorted(names, key=lambda name: (len(name), name))  # block2 before block10
    if not blocks:
        raise ValueError(
            f"no run of {', '.join(runs) or 'none'} has measured coverage: they are dense, or know no digit"
        )
    figure, axes = figures.panels(len(blocks), share_y=True)
    for axis, block in zip(axes, blocks, strict=True):
        for i, (cell, seeds) in enumerate(runs.items()):
            epochs, shares = over_training(seeds, block)
            if epochs.size:
                _line(axis, cell, epochs, 100 * shares, number=i)
        if chance is not None:
            axis.axhline(100 * chance, color=figures.GUIDE, linewidth=1.0, linestyle="--", zorder=1, label="chance")
        axis.set_title(block.replace("block", "block "), fontsize=10)
        axis.set_xlabel("epoch")
        axis.set_ylim(0, 100)
    axes[0].set_ylabel("kept tokens on the digit [%]")
    # Below the panels, where no line is; a cell need not be in all of them.
    lines = {str(line.get_label()): line for axis in axes for line in axis.get_lines()}
    lines = {label: line for label, line in lines.items() if not label.startswith("_")}
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    return figure


def draw_coverage(path: str | os.PathLike[str], runs: Runs, *, chance: float | None) -> None:
    """Writes `coverage_figure` as a PNG; its folder is made where it is missing."""
    figures.save(path, coverage_figure(runs, chance=chance))


def _line(axis: Axes, cell: str, epochs: np.ndarray, shares: np.ndarray, *, number: int) -> None:
    """Draws cell `number` from its shares (seeds, E, T) in percent."""
    again, style = divmod(number, len(_STYLES))
    colour, marker = _STYLES[style]
    dashes = ("-", ":", "-.")[again % 3]
    by_seed = shares.mean(axis=2)
    mean = by_seed.mean(axis=0)
    if len(by_seed) > 1:
        spread = by_seed.std(axis=0, ddof=1)
        axis.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
    if shares.shape[2] in _THIN:
        axis.plot(epochs, shares.mean(axis=0), color=colour, linewidth=0.6)
    axis.plot(epochs, mean, color=colour, linestyle=dashes, marker=marker, markersize=4, linewidth=1.8, label=cell)
