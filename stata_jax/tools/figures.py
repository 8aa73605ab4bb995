"""What the figures share: colours, panels side by side, and writing them; matplotlib's global state is left alone."""

import os
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^DvPX*<>"
GUIDE = "#888888"  # of what is no measurement
_GRID = "#DDDDDD"


def blank(width: float, height: float, *, constrained: bool = False) -> Figure:
    """An empty figure of a size in inches."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained" if constrained else None)
    FigureCanvasAgg(figure)
    return figure


def panels(count: int, *, title: str = "", share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of plots side by side, with a grid behind each."""
    figure = blank(5.2 * count, 4.2, constrained=True)
    axes = list(figure.subplots(1, count, squeeze=False, sharey=share_y)[0])
    for axis in axes:
        axis.grid(True, color=_GRID, linewidth=0.5)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure, axes


def save(path: str | os.PathLike[str], figure: Figure) -> None:
    """Writes a figure as a PNG; its folder is made where it is missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")
