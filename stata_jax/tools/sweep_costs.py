"""What a training step of each cell of a sweep costs, all cells in turns on a machine that does nothing else."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from stata_jax.tools import bench


def measure(configs: Mapping[str, ConfigDict], *, rounds: int) -> dict[str, Any]:
    """Times a training step of each config, on random images.

    Args:
      configs: Checked configs by the cell's name.
      rounds: How often each is timed.

    Returns:
      JSON values: the machine, and under `cells` the median `step_s` and its `spread_s` in seconds, and `peak_bytes`,
      the memory of the compiled step on all devices.
    """
    from stata_jax import build
    from stata_jax.tools import profiling

    build.processor(next(iter(configs.values())))
    rows, _, _ = bench.compare(configs, "train", rounds=rounds, say=print)
    machine = profiling.machine()
    return {
        "device": machine["device"],
        "jax": machine["jax"],
        "rounds": rounds,
        "cells": {
            name: {key: row[key] for key in ("step_s", "spread_s", "peak_bytes")}
            for name, row in zip(configs, rows, strict=True)
        },
    }
