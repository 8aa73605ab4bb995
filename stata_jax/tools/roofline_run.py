"""Profiles a training step and measures the machine: what `stata_jax.tools.roofline` puts side by side."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from stata_jax.config.checks import refuse_other
from stata_jax.errors import ConfigError
from stata_jax.tools import bench, programs
from stata_jax.tools.roofline import WAITS, Row, as_rows, required, row_of

_COUNTED = "work is counted for"
_SIDE, _VALUES, _TRIES = 2048, 1 << 25, 5  # of the matrices and arrays with which the machine is measured


def machine_speed() -> tuple[float, float]:
    """What this machine can do in a second, all devices together.

    Returns:
      Operations of matmuls, as those of large matrices reach it, and bytes through memory, as an array plus a number
      does.
    """
    import jax
    import jax.numpy as jnp

    from stata_jax.tools.profiling import time_alternately

    devices = jax.local_device_count()

    def fastest(function: Callable[[Any], Any], shape: tuple[int, ...]) -> float:
        x = jax.pmap(lambda i: jnp.full(shape, 0.5) + i)(jnp.arange(devices, dtype=jnp.float32))
        run = functools.partial(jax.pmap(function), x)
        return min(time_alternately({"": run}, rounds=_TRIES)[""].seconds)

    flops = 2 * _SIDE**3 * devices / fastest(lambda x: x @ x, (_SIDE, _SIDE))
    return flops, 2 * 4 * _VALUES * devices / fastest(lambda x: x + 1, (_VALUES,))


def measure(
    name: str, *, keep_rate: float, batch_size: int, rounds: int, overrides: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """Profiles a training step of a published model in float32.

    Args:
      name: A published model.
      keep_rate: gamma.
      batch_size: Images a step.
      rounds: How many steps are timed, and how many profiled.
      overrides: Further config values by dotted key.

    Returns:
      JSON values: the machine and what it can do, `step_s`, and the rows of `as_rows`.

    Raises:
      ConfigError: For an unknown model or an impossible value, where JAX does not work on a processor, or where the
        profile does not hold so many steps.
    """
    settings = bench.settings_for(name, keep_rate=keep_rate, batch_size=batch_size, overrides=overrides or {})
    refuse_other(settings, {"model.dtype": "float32", "train.recompute": False, "train.accumulate": 1}, _COUNTED)
    import jax

    from stata_jax import build
    from stata_jax.tools.profiling import time_alternately
    from stata_jax.tools.step_profile import WAIT, scopes, seconds_by_operation
    from stata_jax.train import parallel

    build.processor(settings)
    if jax.default_backend() != "cpu":
        raise ConfigError(f"the roofline is measured on a processor, but JAX works on a {jax.default_backend()}")
    print("compiling ...", flush=True)
    step = programs.training_step(settings, profiled=True)
    print(f"timing and profiling, {rounds} steps each ...", flush=True)
    timing = time_alternately({"step": step.run}, rounds=rounds)["step"]
    places = scopes(step.program.as_text())
    try:
        operations = seconds_by_operation(step.run, places, calls=rounds)
    except ValueError as error:
        raise ConfigError(f"{error} (--rounds, --batch_size)") from error
    seconds: dict[Row, float] = {}
    for operation, took in operations.items():
        kind, scope = places[operation]
        row = WAITS if kind == WAIT else row_of(scope)
        seconds[row] = seconds.get(row, 0.0) + took
    work = required(
        build.model(settings),
        programs.image_shape(settings),
        batch_size=batch_size,
        devices=jax.local_device_count(),
        parameters=step.parameters,
    )
    del step  # the machine is measured with its memory free
    print("measuring the machine ...", flush=True)
    flops_s, bytes_s = machine_speed()
    return {
        "model": name,
        "keep_rate": keep_rate,
        "batch_size": batch_size,
        "device": parallel.device_names(),
        "jax": jax.__version__,
        "flops_s": flops_s,
        "bytes_s": bytes_s,
        "step_s": timing.median,
        "rows": as_rows(work, seconds, flops_s=flops_s, bytes_s=bytes_s),
    }
