"""Shows how time and memory grow with timesteps, tokens or batch size, dense against pruned.

python -m stata_jax.scaling --model=spikingformer_4_384 --vary=timesteps --values=1,2,4,8,16

Tokens vary by the image size. Attention takes the cheaper of `2 N^2 D` and `2 N D^2 / h` multiply-accumulates, but the
maps that training aligns have N^2 entries, so growth in tokens may exceed linear.
"""

import math
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from stata_jax import benchmark, cli, config
from stata_jax.tools import growth

ConfigError = config.ConfigError
KEYS = {"timesteps": "model.timesteps", "tokens": "data.image_size", "batch_size": "train.batch_size"}
_FLAGS = {"train.batch_size": "--batch_size", "sparsity.keep_rate": "--keep_rates"}  # instead of overrides


def settings_at(
    name: str, *, vary: str, value: int, keep_rate: float, batch_size: int, overrides: Mapping[str, object]
) -> ConfigDict:
    """The config of a published model at one value of what varies.

    Args:
      name: A name of `registry.PUBLISHED`.
      vary: A key of `KEYS`.
      value: T, the patch tokens N of an image, or the images of a batch. N tokens are an image of `sqrt(N)` patches
        by `sqrt(N)`, each of `2^pools` pixels by `2^pools`.
      keep_rate: gamma.
      batch_size: Images a step, where they do not vary.
      overrides: Further values by dotted key.

    Returns:
      A checked config.

    Raises:
      ConfigError: If a value is impossible.
    """
    settings = benchmark.settings_for(name, keep_rate=keep_rate, batch_size=batch_size, overrides=overrides)
    if vary == "tokens":
        side = math.isqrt(value)
        if side**2 != value:
            raise ConfigError(
                f"--values names {value}, but tokens must be a square: try {side**2} or {(side + 1) ** 2}"
            )
        value = side * 2 ** settings.model.pooling.count("1")
    settings = config.apply_overrides(settings, {KEYS[vary]: value})
    config.check(settings)
    return settings


def measure(
    name: str,
    *,
    vary: str,
    values: Sequence[int],
    keep_rates: Sequence[float],
    mode: str,
    batch_size: int,
    rounds: int,
    overrides: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Times one model at several values and keep rates, those of one value in turns.

    A value that does not fit into the device's memory ends the series.

    Args:
      name: A published model.
      vary: A key of `KEYS`.
      values: At least two, rising.
      keep_rates: The first is what the others are compared with.
      mode: `train` or `infer`.
      batch_size: Images a step, where they do not vary.
      rounds: How often each program is timed.
      overrides: Further config values by dotted key.

    Returns:
      JSON values: the machine; in `rows`, for each value and keep rate, the benchmark's facts with `unit_s`, the time
      divided by the value; `growth`; and where the batch of inference varies, `gains`.

    Raises:
      ConfigError: For an unknown model, an impossible value, or if fewer than two values fit into memory.
    """
    given: dict[str, Any] = {"batch_size": batch_size, "overrides": overrides or {}}
    configs = {
        value: {rate: settings_at(name, vary=vary, value=value, keep_rate=rate, **given) for rate in keep_rates}
        for value in values
    }
    import jax

    from stata_jax import build
    from stata_jax.train import parallel
    from stata_jax.train.progress import format_time

    base = configs[values[0]][keep_rates[0]]
    build.processor(base)
    rows: list[dict[str, Any]] = []
    for done, value in enumerate(values, start=1):
        try:
            of_value, prepare_s, timing_s = _compare(configs[value], mode=mode, rounds=rounds)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            if done <= 2:
                raise ConfigError(f"{vary} {value} does not fit into memory: choose smaller --values") from error
            print(f"{vary} {value} does not fit into memory: the series ends before it", flush=True)
            break
        rows += [{"value": value, **row, "unit_s": row["step_s"] / value} for row in of_value]
        times = ", ".join(f"{1000 * row['step_s']:.4g} ms at keep rate {row['keep_rate']:g}" for row in of_value)
        # Compilation takes as long for the next value, and the rest is taken to grow linearly.
        left = sum(prepare_s + timing_s * later / value for later in values[done:])
        print(f"{vary} {value}: {times}; {done} of {len(values)}, about {format_time(left)} left", flush=True)
    return {
        "model": name,
        "mode": mode,
        "vary": vary,
        "batch_size": None if vary == "batch_size" else batch_size,
        "image_size": None if vary == "tokens" else base.data.image_size,
        "timesteps": None if vary == "timesteps" else base.model.timesteps,
        "rounds": rounds,
        "dtype": base.model.dtype,
        "device": f"{parallel.device_names()} ({jax.default_backend()})",
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "jax": jax.__version__,
        "linear_up_to": growth.LINEAR,
        "rows": rows,
        "growth": growth.growth(rows),
        **({"gains": growth.gains(rows)} if (vary, mode) == ("batch_size", "infer") else {}),
    }


def _compare(
    configs: Mapping[float, ConfigDict], *, mode: str, rounds: int
) -> tuple[list[dict[str, Any]], float, float]:
    """Times one value at all keep rates; its programs and arrays are let go when this returns.

    Returns:
      The benchmark's rows, and the seconds that preparing and timing took.
    """
    from stata_jax.tools.bench_table import compared
    from stata_jax.tools.profiling import time_alternately

    begin = time.perf_counter()
    calls: dict[str, Callable[[], Any]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for rate, settings in configs.items():
        calls[str(rate)], known = benchmark.prepare(settings, mode)
        facts[str(rate)] = {"mode": mode, "keep_rate": rate, **known}
    middle = time.perf_counter()
    timings = time_alternately(calls, rounds=rounds)
    end = time.perf_counter()
    batch_size = next(iter(configs.values())).train.batch_size
    return compared(facts, timings, batch_size=batch_size, peers=()), middle - begin, end - middle


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code, see `cli.run`."""
    return cli.run(_scaling, argv, interrupted="interrupted")


def _scaling(argv: Sequence[str]) -> None:
    description = "Show how time and memory grow with timesteps, tokens or batch size, dense against pruned."
    parser = cli.Parser(prog="python -m stata_jax.scaling", description=description)
    parser.add_argument("--model", metavar="NAME", help="a published model, e.g. spikingformer_4_384 (needed)")
    parser.add_argument("--vary", choices=KEYS, default="timesteps", help="what grows (default: timesteps)")
    parser.add_argument("--values", metavar="LIST", default="1,2,4,8,16", help="rising; tokens: squares such as 64,256")
    parser.add_argument("--keep_rates", metavar="LIST", default="1,0.2", help="the first is the base (default: 1,0.2)")
    parser.add_argument("--mode", choices=benchmark.MODES, default="train", help="a whole step (default), or logits")
    parser.add_argument("--batch_size", metavar="N", type=int, help="images a step (default: 16)")
    parser.add_argument("--rounds", metavar="N", type=int, default=5, help="timed calls of each (default: 5)")
    parser.add_argument("--output", metavar="DIR", help="where to leave scaling.json, scaling.md and scaling.png")
    flags, flag_overrides = cli.parse(parser, argv, required="model")
    overrides = config.parse_overrides(config.defaults(), flag_overrides)
    for key, flag in (_FLAGS | {KEYS[flags.vary]: "--values"}).items():
        if key in overrides:
            raise ConfigError(f"--config.{key} is set by {flag} here: leave it away")
    if flags.vary == "batch_size" and flags.batch_size is not None:
        raise ConfigError(f"--batch_size is {flags.batch_size}, but with --vary=batch_size, --values sets it")
    if flags.rounds < 1:
        raise ConfigError(f"--rounds is {flags.rounds}, but it must be at least 1")
    values = _numbers("--values", flags.values, int, "rising whole numbers, at least two, such as 1,2,4")
    if len(values) < 2 or values != sorted(set(values)) or values[0] < 1:
        raise ConfigError(f"--values is {flags.values!r}, but it must be rising whole numbers, at least two, from 1 on")
    keep_rates = _numbers("--keep_rates", flags.keep_rates, float, "numbers such as 1,0.2")
    if len(set(keep_rates)) < len(keep_rates):
        raise ConfigError(f"--keep_rates is {flags.keep_rates!r}, but each may be there once")
    folder = None if flags.output is None else config.prepare_workdir(flags.output)
    result = measure(
        flags.model,
        vary=flags.vary,
        values=values,
        keep_rates=keep_rates,
        mode=flags.mode,
        batch_size=16 if flags.batch_size is None else flags.batch_size,
        rounds=flags.rounds,
        overrides=overrides,
    )
    cli.show("scaling", result, growth.as_markdown(result), folder=folder)
    if folder is not None:
        from stata_jax.tools.growth_plot import draw_growth

        draw_growth(folder / "scaling.png", result)


def _numbers(flag: str, text: str, kind: type, expected: str) -> list[Any]:
    """The numbers of a list with commas."""
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{flag} is {text!r}, but it must be {expected}") from error


if __name__ == "__main__":
    sys.exit(main())
