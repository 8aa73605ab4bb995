"""The runs of a sweep as rows: one a run, and one a cell with means, spread and differences from the baseline."""

import csv
import io
import json
import pathlib
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from stata_jax.tools import markdown
from stata_jax.tools.statistics import mean_interval, paired_difference, sample_sd

Row = dict[str, Any]
_SHARES = {"kept_on_digit": "kept on digit", "digit_kept": "digit kept"}  # of `sparsity.coverage`
_ATTENDED = "/attention/projection"  # the layer that takes the spikes of the neurons after attention
_COUNTS = ("ac", "mac", "energy_mj")  # of one image; published OPs are the ACs alone
DENSE = "dense"  # what ACs, energy and time are compared with, where a table has it


def collect(workdir: pathlib.Path) -> list[Row]:
    """Reads the runs of a sweep that are finished, with what was measured of them.

    Args:
      workdir: It has a folder for each cell and in it one for each seed.

    Returns:
      A row for each run, and for each evaluation of its weights with other values, sorted by cell and seed. Shares are
      from 0 to 1, as are the firing rates of each layer's input; times in seconds, memory in bytes; ACs, MACs and
      energy in mJ of one image; None is unknown.
    """
    rows = []
    for path in workdir.glob("*/seed*/summary.json"):
        folder, seed = path.parent, path.parent.name.removeprefix("seed")
        if not seed.isdigit():
            continue
        summary = json.loads(path.read_text())
        cost = {key: summary.get(key) for key in ("step_s", "peak_bytes", "spike_macs")}
        facts = {"chance": summary.get("coverage_chance"), "device": summary["devices"], "jax": summary["jax"]}
        key = {"cell": folder.parent.name, "seed": int(seed)}
        rows.append(key | _accuracy(summary) | _energy(folder / "energy.json") | cost | facts)
        for evaluated in folder.glob("*/evaluate.json"):
            other = _accuracy(json.loads(evaluated.read_text())) | _energy(evaluated.with_name("energy.json"))
            rows.append(key | {"cell": evaluated.parent.name} | other | dict.fromkeys(cost) | facts)
    return sorted(rows, key=lambda row: (row["cell"], row["seed"]))


def _accuracy(result: Mapping[str, Any]) -> Row:
    covered = result.get("coverage") or {}
    means = {name: {block: statistics.fmean(shares[name]) for block, shares in covered.items()} for name in _SHARES}
    over_time = {
        f"{name}_{block}_t{t}": share
        for block, shares in covered.items()
        for name in _SHARES
        for t, share in enumerate(shares[name])
    }
    return {"top1": result["top1"], "top5": result["top5"], **means, "over_time": over_time}


def _energy(path: pathlib.Path) -> Row:
    if not path.exists():
        return {**dict.fromkeys(_COUNTS), "rates": {}}
    counts = json.loads(path.read_text())["models"]["as trained"]
    rates = {layer["name"]: layer["rate"] for layer in counts["layers"]}
    return {**{key: counts[key] for key in _COUNTS}, "rates": rates}


def summarise(
    rows: Sequence[Row],
    *,
    cells: Sequence[str],
    baseline: str,
    seeds: Sequence[int],
    costs: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Row]:
    """Puts the runs of each cell together.

    Args:
      rows: As `collect` returns them.
      cells: Which, in the order of the table; those without a run are left out.
      baseline: The cell that accuracies are compared with, over the seeds in common.
      seeds: Which seeds count.
      costs: `step_s` and `peak_bytes` by cell, measured in turns; without them the medians of the runs stand in.

    Returns:
      A row for each cell; `ratios` compares ACs, energy and step time with the cell `dense`, or with the
      baseline where there is none.
    """
    of = {cell: {row["seed"]: row for row in rows if row["cell"] == cell and row["seed"] in seeds} for cell in cells}
    top1 = {cell: {seed: row["top1"] for seed, row in runs.items()} for cell, runs in of.items()}
    table: list[Row] = []
    for cell in cells:
        runs = list(of[cell].values())
        if not runs:
            continue
        values = list(top1[cell].values())
        difference = None if cell == baseline else paired_difference(top1[cell], top1.get(baseline, {}))
        cost = (costs or {}).get(cell) or ({} if costs else _medians(runs, ("step_s", "peak_bytes")))
        table.append(
            {
                "cell": cell,
                "seeds": sorted(of[cell]),
                "top1": mean_interval(values),
                "top1_sd": sample_sd(values),
                "top5": statistics.fmean(row["top5"] for row in runs),
                "difference": difference,
                **{name: _by_block([row[name] for row in runs]) for name in _SHARES},
                "attended": _by_block([_attended(row["rates"]) for row in runs]),
                **{key: _mean(runs, key) for key in _COUNTS},
                "step_s": cost.get("step_s"),
                "peak_bytes": cost.get("peak_bytes"),
            }
        )
    reference = next((row for name in (DENSE, baseline) for row in table if row["cell"] == name), {})
    for row in table:
        row["ratios"] = {
            key: row[key] / reference[key] if row[key] and reference.get(key) else None
            for key in ("ac", "energy_mj", "step_s")
        }
    return table


def energy_unit(table: Sequence[Mapping[str, Any]]) -> tuple[float, str]:
    """What to multiply millijoules by, and the unit that they then have, so that small networks' are readable."""
    known = [row["energy_mj"] for row in table if row["energy_mj"]]
    return (1e3, "µJ") if known and max(known) < 0.1 else (1.0, "mJ")


def _by_block(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means over runs of a share by block."""
    blocks = sorted({block for each in shares for block in each}, key=_natural)
    return {block: statistics.fmean(each[block] for each in shares if block in each) for block in blocks}


def _attended(rates: Mapping[str, float]) -> dict[str, float]:
    """How often the neurons after attention fire, by block."""
    return {name.removesuffix(_ATTENDED): rate for name, rate in rates.items() if name.endswith(_ATTENDED)}


def _mean(runs: Sequence[Row], key: str) -> float | None:
    known = [row[key] for row in runs if row[key] is not None]
    return statistics.fmean(known) if known else None


def _medians(runs: Sequence[Row], keys: Sequence[str]) -> Row:
    known = {key: [row[key] for row in runs if row[key] is not None] for key in keys}
    return {key: statistics.median(values) for key, values in known.items() if values}


def _blocks(table: Sequence[Row]) -> list[str]:
    return sorted({block for row in table for block in row["kept_on_digit"]}, key=_natural)


def _numbers(column: str) -> tuple[list[int], str]:
    """Orders columns by the numbers in their names, block and timestep."""
    return [int(number) for number in re.findall(r"\d+", column)], column


def _natural(name: str) -> tuple[int, str]:
    number = re.search(r"\d+", name)
    return int(number[0]) if number else -1, name


def as_markdown(table: Sequence[Row], *, baseline: str, seeds: Sequence[int]) -> str:
    """The table of cells; a column that no cell has anything for is left out."""
    against = DENSE if any(row["cell"] == DENSE for row in table) else baseline
    blocks = _blocks(table)
    columns = [
        ("cell", [f"`{row['cell']}`" for row in table]),
        ("seeds", [_seeds(row["seeds"], seeds) for row in table]),
        ("top-1", [_plus_minus(row) for row in table]),
        ("top-5", [_percent(row["top5"]) for row in table]),
        (f"top-1 less `{baseline}`'s (95 % CI)", [_difference(row) for row in table]),
        *(
            (f"{words}, {block}", [_percent(row[name].get(block)) for row in table])
            for block in blocks
            for name, words in _SHARES.items()
        ),
        *(
            (f"firing after attention, {block}", [_percent(row["attended"].get(block), ".2f") for row in table])
            for block in blocks
        ),
        ("ACs", [_scaled(row["ac"], 1e-6, "M", ".2f") for row in table]),
        (f"of `{against}`", [_percent(row["ratios"]["ac"]) for row in table]),
        ("MACs", [_scaled(row["mac"], 1e-6, "M", ".2f") for row in table]),
        ("energy", [_scaled(row["energy_mj"], *energy_unit(table), ".3g") for row in table]),
        (f"of `{against}`", [_percent(row["ratios"]["energy_mj"]) for row in table]),
        ("training step", [_scaled(row["step_s"], 1e3, "ms", ".4g") for row in table]),
        (f"speed-up over `{against}`", [_speed_up(row["ratios"]["step_s"]) for row in table]),
        ("memory", [_scaled(row["peak_bytes"], 1e-6, "MB", ".0f") for row in table]),
    ]
    known = [(name, cells) for name, cells in columns if any(cells)]
    rows = zip(*(cells for _, cells in known), strict=True)
    return "\n".join(markdown.table([name for name, _ in known], list(rows)))


def _seeds(have: Sequence[int], asked: Sequence[int]) -> str:
    missing = [str(seed) for seed in asked if seed not in have]
    return f"{len(have)}" + (f" (without {', '.join(missing)})" if missing else "")


def _plus_minus(row: Row) -> str:
    spread = "" if row["top1_sd"] is None else f" ± {100 * row['top1_sd']:.2f}"
    return f"{100 * row['top1'].mean:.2f}{spread} %"


def _difference(row: Row) -> str:
    difference = row["difference"]
    if difference is None:
        return ""
    text = f"{100 * difference.mean:+.2f}"
    if difference.low is not None:
        text += f" ({100 * difference.low:+.2f} to {100 * difference.high:+.2f})"
    return f"**{text}**" if difference.excludes_zero else text


def _percent(share: float | None, form: str = ".1f") -> str:
    return "" if share is None else f"{100 * share:{form}} %"


def _scaled(value: float | None, scale: float, unit: str, form: str) -> str:
    return "" if value is None else f"{value * scale:{form}} {unit}"


def _speed_up(ratio: float | None) -> str:
    return "" if ratio is None else f"x{1 / ratio:.2f}"


def runs_csv(rows: Sequence[Row]) -> str:
    """The runs as CSV, with columns for the coverage of each block at each timestep and each layer's firing rate."""
    columns = sorted({column for row in rows for column in row["over_time"]}, key=_numbers)
    layers = list(dict.fromkeys(layer for row in rows for layer in row["rates"]))
    flat = []
    for row in rows:
        covered = {column: row["over_time"].get(column) for column in columns}
        keys = ("cell", "seed", "top1", "top5")
        costs = (*_COUNTS, "step_s", "peak_bytes", "spike_macs", "device", "jax")
        rates = {f"rate {layer}": row["rates"].get(layer) for layer in layers}
        flat.append({key: row[key] for key in keys} | covered | {key: row[key] for key in costs} | rates)
    return _csv(flat)


def table_csv(table: Sequence[Row]) -> str:
    """The table of cells as CSV: shares from 0 to 1, seconds, bytes, mJ."""
    blocks = _blocks(table)
    flat = []
    for row in table:
        difference = row["difference"]
        ends = [None] * 3 if difference is None else [difference.mean, difference.low, difference.high]
        flat.append(
            {"cell": row["cell"], "seeds": len(row["seeds"]), "top1": row["top1"].mean, "top1_sd": row["top1_sd"]}
            | {"top1_low": row["top1"].low, "top1_high": row["top1"].high, "top5": row["top5"]}
            | dict(zip(("difference", "difference_low", "difference_high"), ends, strict=True))
            | {f"{name}_{block}": row[name].get(block) for block in blocks for name in _SHARES}
            | {f"firing_after_attention_{block}": row["attended"].get(block) for block in blocks}
            | {key: row[key] for key in (*_COUNTS, "step_s", "peak_bytes")}
            | {f"{key}_ratio": value for key, value in row["ratios"].items()}
        )
    return _csv(flat)


def _csv(rows: Sequence[Row]) -> str:
    """Rows of the same keys as CSV; a column without any value is left out."""
    names = [name for name in (rows[0] if rows else {}) if any(row[name] is not None for row in rows)]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
