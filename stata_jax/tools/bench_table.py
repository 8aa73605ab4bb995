"""The benchmark's rows and their ratios, and the table that shows them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # it imports JAX, which mistakes on the command line need not wait for
    from stata_jax.tools.profiling import Timing


def compared(
    facts: Mapping[str, Mapping[str, Any]], timings: "Mapping[str, Timing]", *, batch_size: int, peers: Sequence[str]
) -> list[dict[str, Any]]:
    """Puts what is known of the programs of one mode beside their times.

    Args:
      facts: By the program's name; the first is what the others are compared with.
      timings: By the same names.
      batch_size: Images a call.
      peers: Names of the programs that are peers.

    Returns:
      A row for each program: its facts, `step_s` and `spread_s` in seconds, `images_per_s`, `speed_up` over the first,
      `memory_share` of the first's memory (None for peers, whose memory is measured otherwise), and `x_peer`, by peer,
      the peer's time over the row's.
    """
    base = next(iter(facts))
    rows = []
    for name, known in facts.items():
        seconds, memory, base_memory = timings[name].median, known["peak_bytes"], facts[base]["peak_bytes"]
        row = {
            "step_s": seconds,
            "spread_s": timings[name].spread,
            "images_per_s": batch_size / seconds,
            "speed_up": timings[base].median / seconds,
            "memory_share": None if "peer" in known or None in (memory, base_memory) else memory / base_memory,
            "x_peer": {peer: timings[peer].median / seconds for peer in peers},
        }
        rows.append(dict(known) | row)
    return rows


def as_markdown(result: Mapping[str, Any]) -> str:
    """The result as a table; with peers, a column for each says how many times our time the peer takes."""
    peers = result["peers"]
    versions = [f"jax {result['jax']}"]
    for row in [row for row in result["rows"] if "peer" in row][:1]:  # all peers run on the same packages
        versions += [f"torch {row['torch']}", f"spikingjelly {row['spikingjelly']}", f"{row['threads']} torch threads"]
    columns = ["", "keep rate", "step", "images/s", "speed-up", "compile", "FLOPs", "temporary memory", "all memory"]
    columns += ["share", "ACs an image", "MACs", "energy", *(f"x {peer}" for peer in peers)]
    lines = [
        f"{result['model']}, batch {result['batch_size']}, {result['image_size']}x{result['image_size']}, "
        f"T {result['timesteps']}, {result['dtype']}; {result['device']}, {', '.join(versions)}, "
        f"median of {result['rounds']} {_calls(result['in_a_row'])}",
        "",
        f"| {' | '.join(columns)} |".replace("|  |", "| |"),
        "|---" * len(columns) + "|",
    ]
    for row in result["rows"]:
        cells = [
            row["mode"],
            row["peer"] if "peer" in row else f"{row['keep_rate']:g}",
            _milliseconds(row["step_s"], row["spread_s"]),
            f"{row['images_per_s']:.1f}",
            f"x{row['speed_up']:.2f}",
            "" if row["compile_s"] is None else f"{row['compile_s']:.1f} s",
            "?" if row["flops"] is None else f"{row['flops'] / 1e9:.1f} G",
            "?" if row["temp_bytes"] is None else f"{row['temp_bytes'] / 1e6:.0f} MB",
            "?" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.0f} MB",
            "?" if row["memory_share"] is None else f"{100 * row['memory_share']:.0f} %",
            *(f"{row[kind] / 1e6:.1f} M" if kind in row else "" for kind in ("ac", "mac")),
            f"{row['energy_mj']:.3g} mJ" if "energy_mj" in row else "",
            *(f"x{row['x_peer'][peer]:.2f}" for peer in peers),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _calls(in_a_row: int) -> str:
    return "calls" if in_a_row == 1 else f"means of {in_a_row} calls in a row"


def _milliseconds(seconds: float, spread: float) -> str:
    digits = 0 if seconds >= 0.1 else 1
    return f"{1000 * seconds:.{digits}f} ± {1000 * spread:.{digits}f} ms"
