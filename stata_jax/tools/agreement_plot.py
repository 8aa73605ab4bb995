"""The picture of one training in two programs."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from stata_jax.tools import figures

_NAMES = {"ours": "stata_jax", "torch": "PyTorch, SpikingJelly", "perturbed": "stata_jax, perturbed"}


def agreement_figure(result: Mapping[str, Any]) -> Figure:
    """For each family the losses of its first seed, and below them the relative difference from ours, of all seeds.

    Args:
      result: What `stata_jax.tools.agreement.measure` returns.

    Returns:
      A figure without any global state of matplotlib.
    """
    families = list(dict.fromkeys(row["family"] for row in result["rows"]))
    figure = figures.blank(4.2 * len(families), 6, constrained=True)
    axes = figure.subplots(2, len(families), squeeze=False, sharex=True, sharey="row")
    steps = range(1, result["steps"] + 1)
    for (above, below), family in zip(axes.T, families, strict=True):
        rows = [row for row in result["rows"] if row["family"] == family]
        names = [name for name in _NAMES if name in rows[0]]
        for i, name in enumerate(names):
            style: dict[str, Any] = {"color": figures.COLOURS[i], "linewidth": 2.2 - 0.7 * i}
            above.plot(steps, rows[0][name], label=_NAMES[name], **style)
            if name == "ours":
                continue
            for row in rows:
                apart = [abs(a - b) / b for a, b in zip(row["ours"], row[name], strict=True)]
                below.plot(steps, apart, color=figures.COLOURS[i], linewidth=0.7)
        above.set_title(family)
        below.set_yscale("log")
        below.set_xlabel("step")
    axes[0][0].set_ylabel("training loss, first seed")
    axes[1][0].set_ylabel("relative difference of the losses, each seed")
    axes[0][0].legend(fontsize=8, framealpha=0.9)
    return figure
