"""How cost grows with one size of the problem: exponents, the table, and what it says in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stata_jax.tools.markdown import table

LINEAR = 1.05  # the largest exponent that counts as linear: clocks and caches differ by a few percent
UNITS = {"timesteps": "a timestep", "tokens": "a token", "batch_size": "an image"}  # by what varies: one of them


def exponent(values: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent a of the power law `cost = c * value^a` that fits best.

    `a = sum_i (x_i - mean x) (y_i - mean y) / sum_i (x_i - mean x)^2`, the slope of least squares, with x the logarithm
    of the values and y that of the costs.

    Args:
      values: Sizes above 0, at least two different ones.
      costs: What each costs, above 0, in any unit.

    Raises:
      ValueError: If there are too few, or if one is not above 0.
    """
    if len(values) != len(costs) or len(set(values)) < 2 or min(*values, *costs) <= 0:
        raise ValueError(f"a slope needs two different values, and all above 0, got {list(values)} and {list(costs)}")
    x, y = np.log(np.asarray(values, float)), np.log(np.asarray(costs, float))
    x -= x.mean()
    return float(x @ (y - y.mean()) / (x @ x))


def growth(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How time and memory grow, for each keep rate.

    Args:
      rows: `value`, `keep_rate`, `step_s` and `peak_bytes` (None where unknown), with rising values.

    Returns:
      For each keep rate `time_exponent` and `memory_exponent`, of all values; `time_slopes` and `memory_slopes`, from
      each value to the next; and `linear_or_better`, whether the exponent of time is at most `LINEAR`. None for unknown
      memory.
    """
    found = []
    for rate in dict.fromkeys(row["keep_rate"] for row in rows):
        of_rate = [row for row in rows if row["keep_rate"] == rate]
        values = [row["value"] for row in of_rate]
        entry: dict[str, Any] = {"keep_rate": rate}
        for name, key in (("time", "step_s"), ("memory", "peak_bytes")):
            costs = [row[key] for row in of_rate]
            known = None not in costs
            pairs = [(i, i + 1) for i in range(len(values) - 1)] if known else []
            entry[f"{name}_exponent"] = exponent(values, costs) if known else None
            entry[f"{name}_slopes"] = [exponent([values[i], values[j]], [costs[i], costs[j]]) for i, j in pairs] or None
        found.append(entry | {"linear_or_better": entry["time_exponent"] <= LINEAR})
    return found


def gains(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where a lower keep rate is faster than the first one, beyond the spread of both.

    Args:
      rows: `value`, `keep_rate`, `step_s` and `spread_s`, the first keep rate's being the base.

    Returns:
      For each further keep rate `pays_at`, the values with `t + spread < t_base - spread_base`, and `not_at`, the rest.
    """
    base = {row["value"]: row["step_s"] - row["spread_s"] for row in rows if row["keep_rate"] == rows[0]["keep_rate"]}
    found: dict[float, dict[str, Any]] = {}
    for row in rows:
        if row["keep_rate"] != rows[0]["keep_rate"]:
            entry = found.setdefault(row["keep_rate"], {"keep_rate": row["keep_rate"], "pays_at": [], "not_at": []})
            pays = row["step_s"] + row["spread_s"] < base[row["value"]]
            entry["pays_at" if pays else "not_at"].append(row["value"])
    return list(found.values())


def conclusions(result: Mapping[str, Any]) -> list[str]:
    """What the growth means, in a sentence for each keep rate, and from which batch on pruning pays.

    Args:
      result: With `vary`, `mode`, `rows` and `growth`, and `gains` where the batch varies.
    """
    vary, lines = result["vary"], []
    values = list(dict.fromkeys(row["value"] for row in result["rows"]))
    for entry in result["growth"]:
        slopes = entry["time_slopes"]
        i = slopes.index(max(slopes))
        memory = entry["memory_exponent"]
        lines.append(
            f"keep rate {entry['keep_rate']:g}: time grows as {vary}^{entry['time_exponent']:.2f}; linear or better "
            f"(at most {LINEAR}, for what a clock can tell): {'yes' if entry['linear_or_better'] else 'no'}; "
            f"steepest from {values[i]} to {values[i + 1]}, {slopes[i]:.2f}"
            + ("" if memory is None else f"; memory grows as {vary}^{memory:.2f}")
        )
    for entry in result.get("gains", ()):
        lines.append(f"keep rate {entry['keep_rate']:g}: {_gain(entry, base=result['rows'][0]['keep_rate'])}")
    return lines


def _gain(entry: Mapping[str, Any], *, base: float) -> str:
    pays, text = entry["pays_at"], f"than keep rate {base:g} beyond the spread"
    if not pays:
        return f"at none of these batches inference is faster {text}"
    later = ", ".join(str(value) for value in entry["not_at"] if value > pays[0])
    return f"inference is faster {text} from a batch of {pays[0]} on" + (f", but not at {later}" if later else "")


def heading(result: Mapping[str, Any]) -> str:
    """What was measured, without what varies, and on what."""
    fixed = {
        "batch_size": f"batch {result['batch_size']}",
        "tokens": f"{result['image_size']}x{result['image_size']}",
        "timesteps": f"T {result['timesteps']}",
    }
    facts = [result["model"], "training step" if result["mode"] == "train" else "inference"]
    facts += [text for name, text in fixed.items() if name != result["vary"]]
    return f"{', '.join(facts)}, {result['dtype']}; {result['device']}, jax {result['jax']}"


def as_markdown(result: Mapping[str, Any]) -> str:
    """The result as a table with a row for each value and keep rate, and the conclusions below it."""
    vary = result["vary"]
    columns = [vary, "keep rate", "time", UNITS[vary], "slope of time", "all memory", "slope of memory", "speed-up"]
    lines = [
        f"{heading(result)}, median of {result['rounds']} calls",
        "",
    ]
    entries = {entry["keep_rate"]: entry for entry in result["growth"]}
    values = list(dict.fromkeys(row["value"] for row in result["rows"]))
    rows = []
    for row in result["rows"]:
        entry, place = entries[row["keep_rate"]], values.index(row["value"])
        milliseconds, memory = 1000 * row["step_s"], row["peak_bytes"]
        rows.append(
            [
                str(row["value"]),
                f"{row['keep_rate']:g}",
                f"{three_digits(milliseconds)} ± {1000 * row['spread_s']:.{_decimals(milliseconds)}f} ms",
                f"{three_digits(1000 * row['unit_s'])} ms",
                _slope(entry["time_slopes"], place),
                "?" if memory is None else f"{three_digits(memory / 1e6)} MB",
                _slope(entry["memory_slopes"], place),
                f"x{row['speed_up']:.2f}",
            ]
        )
    return "\n".join([*lines, *table(columns, rows), "", *(f"- {line}" for line in conclusions(result))])


def three_digits(number: float) -> str:
    """A number above 0 with three digits that count, or as a whole number: 0.0123, 1.23, 1234."""
    return f"{number:.{_decimals(number)}f}"


def _decimals(number: float) -> int:
    return max(0, 2 - math.floor(math.log10(number)))


def _slope(slopes: Sequence[float] | None, place: int) -> str:
    """The slope that leads to the value at `place`; nothing leads to the first."""
    return "" if slopes is None or place == 0 else f"{slopes[place - 1]:.2f}"
