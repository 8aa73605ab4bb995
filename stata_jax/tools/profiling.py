"""What a compiled program costs: the compiler's own account, and the clock."""

import dataclasses
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from stata_jax.train.compilation import peak_bytes
from stata_jax.train.parallel import device_names


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of calls.

    Attributes:
      seconds: One for each call that was timed, or for each row of calls their mean.
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, in seconds; 0 for a single call."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2


def time_alternately(calls: Mapping[str, Callable[[], Any]], *, rounds: int, in_a_row: int = 1) -> dict[str, Timing]:
    """Times several programs turn by turn, so that what disturbs the machine disturbs all of them.

    Args:
      calls: Programs by name; each returns arrays, or something else that has `block_until_ready`, for which the clock
        waits. The first call of each is not counted.
      rounds: How often each is timed.
      in_a_row: Calls before the clock waits for the last of them, as a training run does not wait for each step. A
        device that works by itself is then never without work.

    Returns:
      Timings by name.

    Raises:
      ValueError: If there is nothing to time.
    """
    if rounds < 1 or in_a_row < 1 or not calls:
        counts = f"{len(calls)}, {rounds} and {in_a_row}"
        raise ValueError(f"there must be a program, a round and a call in a row to time, got {counts}")
    for call in calls.values():
        jax.block_until_ready(call())
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            for _ in range(in_a_row - 1):
                call()
            jax.block_until_ready(call())
            seconds[name].append((time.perf_counter() - begin) / in_a_row)
    return {name: Timing(tuple(each)) for name, each in seconds.items()}


def compiler_account(compiled: jax.stages.Compiled) -> dict[str, int | None]:
    """What the compiler says that a program needs.

    Args:
      compiled: The program.

    Returns:
      On each device, `flops`, floating-point operations; `temp_bytes`, memory beside arguments and results;
      `peak_bytes`, all memory together. None where the backend does not say.
    """
    costs = compiled.cost_analysis() or {}
    analysis = compiled.memory_analysis()
    return {
        "flops": int(costs["flops"]) if "flops" in costs else None,
        "temp_bytes": None if analysis is None else int(analysis.temp_size_in_bytes),
        "peak_bytes": peak_bytes(compiled),
    }


def device_peak_bytes() -> int | None:
    """Most memory that the first device has held since the process started, or None where it does not count."""
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    return None if peak is None else int(peak)


def machine() -> dict[str, str]:
    """What measurements are made on: `device`, `machine` and the version of `jax`."""
    return {
        "device": f"{device_names()} ({jax.default_backend()})",
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "jax": jax.__version__,
    }
