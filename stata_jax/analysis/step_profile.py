"""How long the operations of a compiled program take, on a processor, by JAX's profiler."""

import pathlib
import re
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import jax

WAIT = "all-reduce"  # the operation at which devices wait for each other


def seconds_by_operation(
    run: Callable[[], Any], places: Mapping[str, tuple[str, str]], *, calls: int
) -> dict[str, float]:
    """Seconds that operations take in one call, on one device.

    Args:
      run: Runs a program that was compiled to be profiled, see `compile_program`.
      places: The operations, from `scopes`.
      calls: How often, at least twice: what is lost from a single call cannot be told. Of all calls and devices the
        median counts, so that a disturbed one does not; of a `WAIT` the mean, since one device waits and the other not.

    Returns:
      Seconds by name, of those that the profile shows.

    Raises:
      ValueError: If the profile has lost some of them: it holds a million or so, those inside loops included.
    """
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(calls):
                jax.block_until_ready(run())
        (path,) = pathlib.Path(folder).glob("**/*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(path))
        durations: dict[str, list[float]] = defaultdict(list)
        for plane in data.planes:
            for line in plane.lines:
                for event in line.events:
                    if event.name in places:
                        durations[event.name].append(event.duration_ns * 1e-9)
    passes = calls * jax.local_device_count()
    if any(len(each) % passes for each in durations.values()):
        raise ValueError(f"the profile of {calls} calls is incomplete: profile fewer, or a smaller program")

    def seconds(name: str, each: list[float]) -> float:
        middle = statistics.fmean if places[name][0] == WAIT else statistics.median
        return middle(each) * len(each) / passes

    return {name: seconds(name, each) for name, each in durations.items()}


def scopes(program: str) -> dict[str, tuple[str, str]]:
    """The operations of a compiled program, but for those inside loops: the kind of each, and where it stands.

    Args:
      program: Its text.

    Returns:
      By name the operation, such as `fusion`, and the names of the modules that it comes from, or "".
    """
    entry = program[program.index("\nENTRY") :]
    found = {}
    for line in entry[: entry.index("\n}")].splitlines():
        named = re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = .*?[)}\]] ([\w\-]+)\(", line)
        if named:
            place = re.search(r'op_name="([^"]*)"', line)
            found[named[1]] = named[2], place[1] if place else ""
    return found
