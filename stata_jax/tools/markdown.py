"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table: its heading, the rule below it, and the rows."""
    heading, *lines = (f"| {' | '.join(cells)} |" for cells in (columns, *rows))
    return [_tight(heading), "|---" * len(columns) + "|", *map(_tight, lines)]


def _tight(line: str) -> str:
    """An empty cell is one space wide."""
    while "|  |" in line:
        line = line.replace("|  |", "| |")
    return line
