"""The children of a sweep: commands of which several run at a time, each on its share of the machine."""

import dataclasses
import itertools
import math
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import IO

from stata_jax import stopping
from stata_jax.train.progress import format_time

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_POLL = 0.1  # seconds between two looks at the children
_GRACE = 60.0  # seconds that a stopped child has to finish its step, to save and to end


@dataclasses.dataclass(frozen=True)
class Task:
    """A command to run once.

    Attributes:
      name: For the lines about it.
      kind: Tasks of one kind take about the same time.
      command: After `python`.
      log: File for what it prints; the end of an earlier one stays.
      result: The file that it leaves; a task whose result is there is done.
      needs: A file that must be there before it can start, or None.
    """

    name: str
    kind: str
    command: Sequence[str]
    log: pathlib.Path
    result: pathlib.Path
    needs: pathlib.Path | None = None

    def __str__(self) -> str:
        return shlex.join(["python", *self.command])


@dataclasses.dataclass
class _Child:
    task: Task
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    offset: int  # where in the log its own lines begin
    began: float


def run_all(
    tasks: Sequence[Task],
    *,
    jobs: int,
    gpus: int = 0,
    describe: Callable[[Task], str] = lambda task: "",
    say: Callable[[str], None] = lambda line: print(line, flush=True),
) -> list[Task]:
    """Runs what is not done, in order, `jobs` at a time; stops the children when it is interrupted.

    Args:
      tasks: In the order in which to start them; one whose `needs` is missing waits.
      jobs: How many at once. Each child has its share of the cores that this process may use, where the system can.
      gpus: How many GPUs to deal out, to each child those of its share; 0 leaves them alone. Where there are fewer
        than jobs, some jobs share one and its memory.
      describe: Says in a few words how a done task ended.
      say: Takes a line when a task starts and ends.

    Returns:
      The tasks that failed, and those that waited for them in vain.
    """
    waiting = [task for task in tasks if not task.result.exists()]
    total, ended = len(waiting), 0
    failed: list[Task] = []
    children: dict[int, _Child] = {}  # by their share of the machine
    seconds: dict[str, list[float]] = {}  # of what is done, by kind
    with stopping.on_signals():  # `kill` is to stop the children as well
        try:
            while waiting or children:
                elsewhere = [task for task in waiting if task.result.exists()]  # done by another sweep
                waiting, total = [task for task in waiting if task not in elsewhere], total - len(elsewhere)
                ready = [task for task in waiting if task.needs is None or task.needs.exists()]
                if waiting and not ready and not children:  # what they wait for will never come
                    say(f"left out {', '.join(task.name for task in waiting)}")
                    return failed + waiting
                for slot in [slot for slot in range(jobs) if slot not in children][: len(ready)]:
                    task = ready.pop(0)
                    waiting.remove(task)
                    with stopping.not_within():  # a child that is not in the list would not be stopped
                        child = _start(task, slot=slot, jobs=jobs, gpus=gpus)
                        if child is not None:
                            children[slot] = child
                    if child is None:
                        say(f"failed   {task.name}: another process is at it")
                        failed.append(task)
                        ended += 1
                    else:
                        say(f"start    {task.name} ({total - len(waiting)} of {total})")
                time.sleep(_POLL)
                for slot in [slot for slot, child in children.items() if child.process.poll() is not None]:
                    child = children.pop(slot)
                    child.log.close()
                    ended += 1
                    task, took = child.task, time.monotonic() - child.began
                    if child.process.returncode == 0 and task.result.exists():
                        seconds.setdefault(task.kind, []).append(took)
                        line = f"done     {task.name} in {format_time(took)}{describe(task)}"
                    else:
                        failed.append(task)
                        line = f"failed   {task.name} after {format_time(took)}: {_last_line(child)} (see {task.log})"
                    left = _time_left(waiting, list(children.values()), seconds, jobs)
                    say(f"{line} ({ended} of {total} ended, {left} left)")
        finally:
            _stop(list(children.values()))
    return failed


def shares(items: Sequence[int], count: int) -> list[list[int]]:
    """Splits what a machine has into `count` parts that differ by one at most; where there is too little, shared.

    Args:
      items: Numbers of cores or GPUs.
      count: How many parts.

    Returns:
      The parts, each of neighbours and none empty.
    """
    if len(items) < count:
        return [[items[i % len(items)]] for i in range(count)]
    edges = [i * len(items) // count for i in range(count + 1)]
    return [list(items[low:high]) for low, high in itertools.pairwise(edges)]


def _start(task: Task, *, slot: int, jobs: int, gpus: int) -> _Child | None:
    """Starts a child; None if another process holds its log."""
    task.log.parent.mkdir(parents=True, exist_ok=True)
    log = task.log.open("ab")
    if fcntl is not None:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the child inherits it, and holds it if we are killed
        except BlockingIOError:
            log.close()
            return None
        except OSError:  # a file system without locks
            pass
    environment = os.environ | {"PYTHONUNBUFFERED": "1"} | _gpus(slot, jobs, gpus)
    log.write(f"{task}\n".encode())
    log.flush()
    begin = log.tell()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    try:
        if cores:
            os.sched_setaffinity(0, shares(cores, jobs)[slot])  # inherited
        process = subprocess.Popen(
            [sys.executable, *task.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
    return _Child(task, process, log, begin, time.monotonic())


def _gpus(slot: int, jobs: int, count: int) -> dict[str, str]:
    """The variables that give a child its share of the first `count` GPUs that this process sees."""
    if not count:
        return {}
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    mine = [visible[number] if visible else str(number) for number in shares(range(count), jobs)[slot]]
    memory = 0.9 / math.ceil(jobs / count)  # of a GPU that several share, JAX would otherwise take most for the first
    return {"CUDA_VISIBLE_DEVICES": ",".join(mine), "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{memory:.3f}"}


def _stop(children: Sequence[_Child]) -> None:
    """Asks children to end, which a run does when it has saved; at last ends them: a run goes on in any case."""
    for child in children:
        child.process.terminate()
    end = time.monotonic() + _GRACE
    for child in children:
        try:
            child.process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
        child.log.close()


def _last_line(child: _Child) -> str:
    """The last line that a failed child printed."""
    with child.task.log.open("rb") as file:
        file.seek(child.offset)
        lines = file.read().decode(errors="replace").replace("\r", "\n").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1] if said else f"exit code {child.process.returncode} and not a word"


def _time_left(waiting: Sequence[Task], children: Sequence[_Child], seconds: dict[str, list[float]], jobs: int) -> str:
    """What the remaining tasks take if they take as long as those of their kind did, `jobs` at a time."""
    means = {kind: statistics.mean(values) for kind, values in seconds.items()}
    now, left = time.monotonic(), 0.0
    for task in waiting:
        left += means.get(task.kind, 0.0)
    for child in children:
        left += max(0.0, means.get(child.task.kind, 0.0) - (now - child.began))
    known = all(task.kind in means for task in [*waiting, *(child.task for child in children)])
    return ("about " if known else "at least ") + format_time(left / jobs)
