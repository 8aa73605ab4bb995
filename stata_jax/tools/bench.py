"""The benchmark: a published model at several keep rates, and peers of it, timed in turns; its rows and their table."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from stata_jax import config
from stata_jax.errors import ConfigError
from stata_jax.tools import peer_programs, programs
from stata_jax.tools.markdown import table

if TYPE_CHECKING:  # it imports JAX, which mistakes on the command line need not wait for
    from stata_jax.tools.profiling import Timing

MODES = ("train", "infer")


def settings_for(name: str, *, keep_rate: float, batch_size: int, overrides: Mapping[str, object]) -> ConfigDict:
    """The config of a published model for one keep rate; at 1 it has no anchor and no alignment.

    Args:
      name: A name of `registry.PUBLISHED`.
      keep_rate: gamma.
      batch_size: Images a step.
      overrides: Further values by dotted key.

    Returns:
      A checked config.

    Raises:
      ConfigError: If there is no such model, or a value is impossible.
    """
    from stata_jax.models.registry import PUBLISHED

    if name not in PUBLISHED:
        raise ConfigError(f"--model is {name!r}, but it must be one of {', '.join(PUBLISHED)}")
    entry = PUBLISHED[name]
    values: dict[str, object] = {f"model.{key}": value for key, value in entry["settings"].items()}
    values |= {
        "name": name,
        "model.family": entry["family"],
        "data.source": "none",
        "data.image_size": entry["input"][-2],
        "data.channels": entry["input"][-1],
        "data.num_classes": entry["classes"],
        "sparsity.keep_rate": keep_rate,
        "train.batch_size": batch_size,
    }
    if keep_rate == 1:
        values |= {"sparsity.anchor": False, "align.alpha": 0.0, "align.beta": 0.0}
    settings = config.apply_overrides(config.defaults(), values | dict(overrides))
    config.check(settings)
    return settings


def measure(
    name: str,
    *,
    keep_rates: Sequence[float],
    batch_size: int,
    rounds: int,
    in_a_row: int = 1,
    modes: Sequence[str] = MODES,
    peers: Sequence[str] = (),
    kernels: Sequence[str] = (),
    overrides: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Times one model at several keep rates, and peers of it, in turns.

    Args:
      name: A published model.
      keep_rates: The first is what the others are compared with.
      batch_size: Images a step.
      rounds: How often each program is timed.
      in_a_row: Calls of a program in one timing, of which only the last is waited for.
      modes: `train`, `infer` or both.
      peers: Keys of `stata_jax.tools.peer.PEERS`. With any, JAX leaves an accelerator's memory to them, for as
        long as the process lives, unless it has been asked for a device already.
      kernels: Values of `train.kernels`, each of which is timed at each keep rate; the config's own for none.
      overrides: Further config values by dotted key.

    Returns:
      JSON values: the machine, and a row for each mode and keep rate, then each peer, with times in seconds, memory in
      bytes, and `x_peer`, each peer's time over the row's.

    Raises:
      ConfigError: For an unknown model, mode or peer, or an impossible value.
    """
    for mode in modes:
        if mode not in MODES:
            raise ConfigError(f"--modes names {mode!r}, but it must be train, infer or both")
    if kernels and os.environ.get("STATA_KERNELS"):
        raise ConfigError("--kernels compares values of train.kernels, which STATA_KERNELS goes before: unset it")
    if peers:
        peer_programs.leave_memory()
    from stata_jax import build
    from stata_jax.tools import profiling

    configs = {}
    for choice in [{"train.kernels": choice} for choice in kernels] or [{}]:
        for rate in keep_rates:
            label = " ".join([f"keep rate {rate:g}", *choice.values()])
            changes = dict(overrides or {}) | choice
            configs[label] = settings_for(name, keep_rate=rate, batch_size=batch_size, overrides=changes)
    first = next(iter(configs.values()))
    build.processor(first)
    peer_programs.check(peers, first)  # only now: it asks JAX for its devices
    rows: list[dict[str, Any]] = []
    for mode in modes:
        of_mode, _, _ = compare(configs, mode, rounds=rounds, in_a_row=in_a_row, peers=peers, say=print)
        rows += of_mode
    return {
        "model": name,
        "batch_size": batch_size,
        "rounds": rounds,
        "in_a_row": in_a_row,
        "image_size": first.data.image_size,
        "timesteps": first.model.timesteps,
        "dtype": first.model.dtype,
        **profiling.machine(),
        "peers": list(peers),
        "device_peak_bytes": profiling.device_peak_bytes(),
        "rows": rows,
    }


def compare(
    configs: Mapping[str, ConfigDict],
    mode: str,
    *,
    rounds: int,
    in_a_row: int = 1,
    peers: Sequence[str] = (),
    say: Callable[[str], object] = lambda line: None,
) -> tuple[list[dict[str, Any]], float, float]:
    """Times one mode of several configs, and peers, in turns; programs and arrays are let go when this returns.

    Args:
      configs: Checked configs by name, with one batch size; the first is what the others are compared with.
      mode: `train` or `infer`.
      rounds: How often each program is timed.
      in_a_row: Calls of a program in one timing.
      peers: Keys of `stata_jax.tools.peer.PEERS`.
      say: Takes a line before each thing that takes long.

    Returns:
      The rows of `compared`, and the seconds that preparing and timing took.
    """
    from stata_jax.tools import profiling

    begin = time.perf_counter()
    first = next(iter(configs.values()))
    calls: dict[str, Callable[[], Any]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for name, settings in configs.items():
        say(f"compiling {mode} of {name} ...")
        calls[name], known = programs.prepare(settings, mode)
        kernels = os.environ.get("STATA_KERNELS") or settings.train.kernels
        facts[name] = {"mode": mode, "keep_rate": settings.sparsity.keep_rate, "kernels": kernels, **known}
    for peer in peers:
        say(f"preparing {mode} of {peer} ...")
        calls[peer], known = peer_programs.prepare(peer, first, mode)
        facts[peer] = {"mode": mode, "peer": peer, **known}
    say(f"timing {mode}, {rounds} rounds ...")
    middle = time.perf_counter()
    timings = profiling.time_alternately(calls, rounds=rounds, in_a_row=in_a_row)
    end = time.perf_counter()
    rows = compared(facts, timings, batch_size=first.train.batch_size, peers=peers)
    return rows, middle - begin, end - middle


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
    chosen = len({row["kernels"] for row in result["rows"] if "kernels" in row}) > 1
    columns[2:2] = ["kernels"] * chosen
    lines = [
        f"{result['model']}, batch {result['batch_size']}, {result['image_size']}x{result['image_size']}, "
        f"T {result['timesteps']}, {result['dtype']}; {result['device']}, {', '.join(versions)}, "
        f"median of {result['rounds']} {_calls(result['in_a_row'])}",
        "",
    ]
    rows = []
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
        cells[2:2] = [row.get("kernels", "")] * chosen
        rows.append(cells)
    return "\n".join([*lines, *table(columns, rows)])


def _calls(in_a_row: int) -> str:
    return "calls" if in_a_row == 1 else f"means of {in_a_row} calls in a row"


def _milliseconds(seconds: float, spread: float) -> str:
    digits = 0 if seconds >= 0.1 else 1
    return f"{1000 * seconds:.{digits}f} ± {1000 * spread:.{digits}f} ms"
