"""What a training step of each cell of a sweep costs, all cells in turns on a machine that does nothing else."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from stata_jax.tools import programs


def measure(configs: Mapping[str, ConfigDict], *, rounds: int) -> dict[str, Any]:
    """Times a training step of each config, on random images.

    Args:
      configs: Checked configs by the cell's name.
      rounds: How often each is timed.

    Returns:
      JSON values: the machine, and under `cells` the median `step_s` and its `spread_s` in seconds, and `peak_bytes`,
      the memory of the compiled step on all devices.
    """
    import jax

    from stata_jax import build
    from stata_jax.tools.profiling import time_alternately
    from stata_jax.train import parallel

    build.processor(next(iter(configs.values())))
    calls, memory = {}, {}
    for name, settings in configs.items():
        print(f"compiling a training step of {name} ...", flush=True)
        calls[name], facts = programs.prepare(settings, "train")
        memory[name] = facts["peak_bytes"]
    print(f"timing {', '.join(configs)} in turns, {rounds} rounds ...", flush=True)
    timings = time_alternately(calls, rounds=rounds)
    return {
        "device": parallel.device_names(),
        "jax": jax.__version__,
        "rounds": rounds,
        "cells": {
            name: {"step_s": timing.median, "spread_s": timing.spread, "peak_bytes": memory[name]}
            for name, timing in timings.items()
        },
    }
