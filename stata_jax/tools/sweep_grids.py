"""Which runs a sweep has: the cells of a grid, each a config, and what a user would type to train them."""

import dataclasses
import hashlib
import itertools
import re
import runpy
import sys
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from stata_jax import config
from stata_jax.configs import FOLDER

_STATA = {"sparsity.anchor": True, "sparsity.metric": "anchor", "sparsity.timestep_wise": True}  # what no cell restores
_FILE = FOLDER / "grids.py"
_LONGEST = 150  # bytes of a file's name, which other words are added to; file systems take 255


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is trained or evaluated over seeds.

    Attributes:
      name: Also the name of its folder, or of its evaluations.
      overrides: Values by dotted key that differ from the sweep's config.
      of: The cell whose weights are evaluated with the overrides; None for a cell that is trained itself.
    """

    name: str
    overrides: Mapping[str, object]
    of: str | None = None


@dataclasses.dataclass(frozen=True)
class Grid:
    """Cells that are compared.

    Attributes:
      name: As on the command line.
      title: Of the table.
      baseline: The cell that the others are compared with, seed by seed.
      cells: By name, in the order of the table.
      over: The key of the figures' x axis, or None.
    """

    name: str
    title: str
    baseline: str
    cells: Mapping[str, Cell]
    over: str | None = None

    @property
    def trained(self) -> list[Cell]:
        """The cells that have runs of their own."""
        return [cell for cell in self.cells.values() if cell.of is None]


def find(text: str, base: ConfigDict, *, baseline: str | None = None) -> Grid:
    """The grid that a user asks for.

    Args:
      text: A name of `configs/grids.py`; or some of its cells, `dense,stata`, or `KEY=VALUE,VALUE,...`, a cell for each
        value, the first of which is the baseline.
        Tuples have parentheses, `sparsity.prune_at=(0,),(0,1),None`, or semicolons between them, `0;0,1`.
      base: The config that the cells change.
      baseline: Another baseline than the grid's.

    Returns:
      The grid. A cell of the same config as one before it is left out, which then is the baseline if that cell was.

    Raises:
      ConfigError: There is no such grid or key, a cell's config is impossible, or two cells would share a folder.
    """
    key, equals, values = text.partition("=")
    grid = _ad_hoc(key, values, base) if equals else _named(text, base)
    seen: dict[str, str] = {}
    kept_as: dict[str, str] = {}
    cells: dict[str, Cell] = {}
    for cell in grid.cells.values():
        settings = config.apply_overrides(base, cell.overrides)
        config.check(settings)
        same = seen.setdefault(f"{cell.of} {config.to_json(settings)}", cell.name)
        kept_as[cell.name] = same
        if same == cell.name:
            cells[cell.name] = cell
        else:
            print(f"{cell.name} is {same} with this config: left out", file=sys.stderr)
    chosen = baseline or grid.baseline
    if equals and chosen.startswith(f"{key}="):  # as it was typed
        chosen = _cell(key, chosen.removeprefix(f"{key}="), base).name
    chosen = kept_as.get(chosen, chosen)
    if chosen not in cells:
        raise config.ConfigError(f"--baseline is {chosen!r}, but it must be one of {', '.join(cells)}")
    return dataclasses.replace(grid, cells=cells, baseline=chosen)


def _named(name: str, base: ConfigDict) -> Grid:
    data = runpy.run_path(str(_FILE))
    names = name.split(",")
    known = data["CELLS"].keys() | data["EVALUATED"].keys()
    if name in data["GRIDS"]:
        found = data["GRIDS"][name]
    elif len(names) > 1 and known.issuperset(names):
        found, name = (
            {"title": "Some cells", "baseline": names[0], "cells": list(dict.fromkeys(names))},
            "-".join(names),
        )
        if len(name) > _LONGEST:
            raise config.ConfigError(f"--grid names {len(names)} cells, which are too many for the name of a file")
    else:
        raise config.ConfigError(
            f"--grid is {name!r}, but it must be one of {', '.join(data['GRIDS'])}; or at least two cells, such as "
            "dense,stata; or a key of the config with its values, such as sparsity.keep_rate=0.2,0.4"
        )
    for key, value in _STATA.items():
        if base[key] != value:
            raise config.ConfigError(
                f"{key} is {base[key]}, but the cells of {name} start from the variant stata of a config, where it is "
                f"{value}: name no other way to prune"
            )
    cells = {}
    for cell in found["cells"]:
        of, overrides = data["EVALUATED"].get(cell) or (None, data["CELLS"][cell])
        if of is not None and of not in found["cells"]:
            raise config.ConfigError(f"--grid names {cell}, which needs {of} beside it")
        cells[cell] = Cell(cell, overrides, of)
    return Grid(name=name, **found | {"cells": cells})


def _ad_hoc(key: str, values: str, base: ConfigDict) -> Grid:
    cells: dict[str, Cell] = {}
    folders: dict[str, Cell] = {}  # some file systems take a and A for the same name
    for value in _split(values):
        cell = _cell(key, value, base)
        other = folders.setdefault(cell.name.casefold(), cell)
        if other.overrides != cell.overrides:
            raise config.ConfigError(
                f"--grid: {key} of {other.overrides[key]!r} and of {cell.overrides[key]!r} would share the folder "
                f"{cell.name}: give them sweeps of their own"
            )
        cells[other.name] = other
    if key == "seed":
        raise config.ConfigError("--grid is over the seed: --seeds names them")
    numeric = all(type(value) in (int, float) for cell in cells.values() for value in cell.overrides.values())
    name = _file_name(f"{key}={values}".replace(" ", ""))
    return Grid(name, key, next(iter(cells)), cells, key if numeric else None)


def _cell(key: str, value: str, base: ConfigDict) -> Cell:
    """The cell of one value; its name is the same however a tuple is written."""
    overrides = config.parse_overrides(base, [f"--config.{key}={value.strip()}"])
    parsed = overrides[key]
    return Cell(_file_name(f"{key}={_text(parsed) if isinstance(parsed, tuple) else value.strip()}"), overrides)


def _split(values: str) -> list[str]:
    """Splits at semicolons if there are any, else at commas; those within parentheses or brackets separate nothing."""
    separator = ";" if ";" in values else ","
    steps = [{"(": 1, "[": 1, ")": -1, "]": -1}.get(letter, 0) for letter in values]
    depths = list(itertools.accumulate(steps, initial=0))
    if min(depths) < 0 or depths[-1]:  # they are no pairs, as in the name of a folder
        return values.split(separator)
    ends = [place for place, letter in enumerate(values) if letter == separator and not depths[place]]
    return [values[begin + 1 : end] for begin, end in itertools.pairwise([-1, *ends, len(values)])]


def _file_name(text: str) -> str:
    """A text as the name of a file or folder right below the sweep's, possible on all systems."""
    name = re.sub(r"[^\w.,;=()+ -]", "_", text)
    name = re.sub(r"[. ]$", "_", name)  # which Windows drops
    if len(name.encode()) <= _LONGEST:
        return name
    return (
        name.encode()[: _LONGEST - 9].decode(errors="ignore")
        + "_"
        + hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    )


def flags(overrides: Mapping[str, object]) -> list[str]:
    """Overrides as a user types them, which `config.parse_overrides` reads back."""
    return [f"--config.{key}={_text(value)}" for key, value in overrides.items()]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value)) or "()"
    return str(value)
