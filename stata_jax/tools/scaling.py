"""How time and memory of a published model grow with one size of the problem, dense against pruned."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from stata_jax import config
from stata_jax.errors import ConfigError
from stata_jax.tools import bench
from stata_jax.tools.growth import LINEAR, gains, growth

KEYS = {"timesteps": "model.timesteps", "tokens": "data.image_size", "batch_size": "train.batch_size"}


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
    settings = bench.settings_for(name, keep_rate=keep_rate, batch_size=batch_size, overrides=overrides)
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
        value: {str(rate): settings_at(name, vary=vary, value=value, keep_rate=rate, **given) for rate in keep_rates}
        for value in values
    }
    import jax

    from stata_jax import build
    from stata_jax.tools.profiling import machine
    from stata_jax.train.progress import format_time

    base = configs[values[0]][str(keep_rates[0])]
    build.processor(base)
    rows: list[dict[str, Any]] = []
    for done, value in enumerate(values, start=1):
        try:
            of_value, prepare_s, timing_s = bench.compare(configs[value], mode, rounds=rounds)
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
        **machine(),
        "linear_up_to": LINEAR,
        "rows": rows,
        "growth": growth(rows),
        **({"gains": gains(rows)} if (vary, mode) == ("batch_size", "infer") else {}),
    }
