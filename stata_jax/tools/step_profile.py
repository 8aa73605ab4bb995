"""How long the operations of a compiled program take, on a processor, by JAX's profiler."""

import pathlib
import re
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax

WAIT = "all-reduce"  # the operation at which devices wait for each other


class Event(NamedTuple):
    """An operation in a profile, in seconds."""

    start: float
    duration: float
    name: str


def seconds_by_operation(
    run: Callable[[], Any], places: Mapping[str, tuple[str, str]], *, calls: int
) -> dict[str, float]:
    """Seconds that operations take in one call, on one device.

    Args:
      run: Runs a program that was compiled to be profiled, see `compile_program`.
      places: The operations, from `scopes`: the time of one that is left out counts to the one before it.
      calls: How often, at least twice: what is lost from a single call cannot be told. Of all calls and devices the
        median counts, so that a disturbed one does not; of a `WAIT` the mean, since one device waits and the other not.

    Returns:
      Seconds by name, of those that the profile shows.

    Raises:
      ValueError: If the profile has lost some of them: it holds a million or so, those inside loops included. Or if it
        does not say in which call they ran.
    """
    events: dict[tuple[Any, Any], list[Event]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(calls):
                jax.block_until_ready(run())
        (path,) = pathlib.Path(folder).glob("**/*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(path))
        for plane in data.planes:
            for line in plane.lines:
                for event in line.events:
                    if event.name in places:
                        facts = dict(event.stats)
                        if not {"run_id", "device_ordinal"} <= set(facts):
                            raise ValueError(
                                f"the profile does not say in which call {event.name} ran: try another jax"
                            )
                        operation = Event(event.start_ns * 1e-9, event.duration_ns * 1e-9, event.name)
                        events[facts["run_id"], facts["device_ordinal"]].append(operation)
    durations: dict[str, list[float]] = defaultdict(list)
    for each in events.values():
        for name, took in spans(each):
            durations[name].append(took)
    passes = calls * jax.local_device_count()
    if any(len(each) % passes for each in durations.values()):
        raise ValueError(f"the profile of {calls} calls is incomplete: profile fewer, or a smaller program")

    def seconds(name: str, each: list[float]) -> float:
        middle = statistics.fmean if places[name][0] == WAIT else statistics.median
        return middle(each) * len(each) / passes

    return {name: seconds(name, each) for name, each in durations.items()}


def spans(events: Iterable[Event]) -> list[tuple[str, float]]:
    """How long each operation of one call on one device takes: until the next one starts.

    They run one after another. The profile's own duration of a loop is too short where the loop waits for a matmul:
    it then goes on later, maybe on another thread, without an event of its own. The last operation has no next one and
    takes what the profile says.

    Args:
      events: At least one, in any order.

    Returns:
      Names and seconds, in the order of the operations.
    """
    ordered = sorted(events)
    until = [event.start for event in ordered[1:]] + [ordered[-1].start + ordered[-1].duration]
    return [(event.name, end - event.start) for event, end in zip(ordered, until, strict=True)]


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
