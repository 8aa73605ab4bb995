"""Times training and inference of a published model, dense against pruned, in one run on one machine.

python -m stata_jax.benchmark --model=spikingformer_4_384 --keep_rates=1,0.2 --batch_size=16

`--peer=spikingjelly` times the same network in PyTorch, dense, in turns with ours.
"""

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from stata_jax import cli, config
from stata_jax.tools import peer_programs
from stata_jax.tools.bench_table import as_markdown, compared
from stata_jax.tools.programs import prepare

ConfigError = config.ConfigError
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
      peers: Keys of `analysis.peer.PEERS`. With any, JAX leaves an accelerator's memory to them, for as long as the
        process lives, unless it has been asked for a device already.
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
    if peers:
        peer_programs.leave_memory()
    import jax

    from stata_jax import build
    from stata_jax.tools.profiling import device_peak_bytes, time_alternately
    from stata_jax.train import parallel

    given: dict[str, Any] = {"batch_size": batch_size, "overrides": overrides or {}}
    configs = {rate: settings_for(name, keep_rate=rate, **given) for rate in keep_rates}
    first = configs[keep_rates[0]]
    build.processor(first)
    peer_programs.check(peers, first)  # only now: it asks JAX for its devices
    rows: list[dict[str, Any]] = []
    for mode in modes:
        calls: dict[str, Callable[[], Any]] = {}
        facts: dict[str, dict[str, Any]] = {}
        for rate, settings in configs.items():
            print(f"compiling {mode} at keep rate {rate:g} ...", flush=True)
            calls[f"{rate:g}"], known = prepare(settings, mode)
            facts[f"{rate:g}"] = {"mode": mode, "keep_rate": rate, **known}
        for peer in peers:
            print(f"preparing {mode} of {peer} ...", flush=True)
            calls[peer], known = peer_programs.prepare(peer, first, mode)
            facts[peer] = {"mode": mode, "peer": peer, **known}
        print(f"timing {mode}, {rounds} rounds ...", flush=True)
        timings = time_alternately(calls, rounds=rounds, in_a_row=in_a_row)
        rows += compared(facts, timings, batch_size=batch_size, peers=peers)
    return {
        "model": name,
        "batch_size": batch_size,
        "rounds": rounds,
        "in_a_row": in_a_row,
        "image_size": first.data.image_size,
        "timesteps": first.model.timesteps,
        "dtype": first.model.dtype,
        "device": f"{parallel.device_names()} ({jax.default_backend()})",
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "jax": jax.__version__,
        "peers": list(peers),
        "device_peak_bytes": device_peak_bytes(),
        "rows": rows,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code, see `cli.run`."""
    return cli.run(_benchmark, argv, interrupted="interrupted")


def _benchmark(argv: Sequence[str]) -> None:
    description = "Time training and inference of a published model, dense against pruned."
    parser = cli.Parser(prog="python -m stata_jax.benchmark", description=description)
    parser.add_argument("--model", metavar="NAME", help="a published model, e.g. spikingformer_4_384 (needed)")
    parser.add_argument("--keep_rates", metavar="LIST", default="1,0.2", help="the first is the base (default: 1,0.2)")
    parser.add_argument("--batch_size", metavar="N", type=int, default=16, help="images a step (default: 16)")
    parser.add_argument("--rounds", metavar="N", type=int, default=10, help="timings of each (default: 10)")
    in_a_row = "calls a timing, as training does not wait for each step (default: 1)"
    parser.add_argument("--in_a_row", metavar="N", type=int, default=1, help=in_a_row)
    parser.add_argument("--modes", metavar="LIST", default="train,infer", help="train, infer or both (default)")
    parser.add_argument("--peer", metavar="LIST", help="also time PyTorch: spikingjelly, spikingjelly_compiled or both")
    parser.add_argument("--output", metavar="DIR", help="where to leave benchmark.json and benchmark.md")
    flags, flag_overrides = cli.parse(parser, argv, required="model")
    try:
        keep_rates = [float(rate) for rate in flags.keep_rates.split(",")]
    except ValueError as error:
        raise ConfigError(f"--keep_rates is {flags.keep_rates!r}, but it must be numbers such as 1,0.2") from error
    for name in ("rounds", "in_a_row"):
        if getattr(flags, name) < 1:
            raise ConfigError(f"--{name} is {getattr(flags, name)}, but it must be at least 1")
    result = measure(
        flags.model,
        keep_rates=keep_rates,
        batch_size=flags.batch_size,
        rounds=flags.rounds,
        in_a_row=flags.in_a_row,
        modes=flags.modes.split(","),
        peers=[] if flags.peer is None else flags.peer.split(","),
        overrides=config.parse_overrides(config.defaults(), flag_overrides),
    )
    cli.show("benchmark", result, as_markdown(result), folder=flags.output)


if __name__ == "__main__":
    sys.exit(main())
