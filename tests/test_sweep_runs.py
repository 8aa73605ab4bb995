"""The children of a sweep, with small scripts in their place: order, shares, failures, resuming and interruption."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from stata_jax import stopping
from stata_jax.tools import sweep_runs
from stata_jax.tools.sweep_runs import Task, run_all, shares

CONFIG = str(pathlib.Path(__file__).parents[1] / "configs" / "digits.py")

# Waits for a file, for some time.
UNTIL = """
for _ in range(3000):
    if os.path.exists({!r}):
        break
    time.sleep(0.01)
else:
    sys.exit(1)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(sweep_runs, "_POLL", 0.01)


def task(folder, name, body="", *, kind="train", needs=None):
    """A script that runs `body` and leaves its result."""
    result = folder / f"{name}.json"
    code = f"import os, sys, time\n{body}\nopen({str(result)!r}, 'w').write('{{}}')"
    return Task(name, kind, ["-c", code], folder / "logs" / f"{name}.txt", result, needs)


def test_order_and_what_is_said(tmp_path):
    lines = []
    tasks = [task(tmp_path, name, f"print('I am {name}')") for name in "abc"]
    tasks[1].result.write_text("done before")
    assert run_all(tasks, jobs=1, describe=lambda task: f": as {task.name}", say=lines.append) == []
    assert [line.split(" in ")[0] for line in lines] == [
        "start    a (1 of 2)",
        "done     a",
        "start    c (2 of 2)",
        "done     c",
    ]
    assert lines[1].endswith(": as a (1 of 2 ended, about 0:00 left)")
    assert tasks[1].result.read_text() == "done before" and not tasks[1].log.exists()
    assert tasks[0].log.read_text().splitlines()[0].startswith("python -c ")
    assert tasks[0].log.read_text().splitlines()[-1] == "I am a"
    assert run_all(tasks, jobs=1, say=lines.append) == [] and len(lines) == 4


def test_several_run_at_once(tmp_path):
    """Each waits until the other has started, which one after the other would never be."""
    body = f"open({{!r}}, 'w')\n{UNTIL}"
    signs = [str(tmp_path / name) for name in ("first", "second")]
    tasks = [task(tmp_path, "a", body.format(*signs)), task(tmp_path, "b", body.format(*reversed(signs)))]
    assert run_all(tasks, jobs=2, say=lambda line: None) == []


def test_a_task_waits_for_what_it_needs(tmp_path):
    lines = []
    first = task(tmp_path, "a", "time.sleep(0.3)")
    after = task(tmp_path, "energy of a", kind="energy", needs=first.result)
    assert run_all([first, after, task(tmp_path, "b")], jobs=2, say=lines.append) == []
    assert [line.split(" (")[0] for line in lines if line.startswith("start")] == [
        "start    a",
        "start    b",
        "start    energy of a",
    ]


def test_a_failure_is_shown_and_the_others_go_on(tmp_path):
    lines = []
    bad = task(tmp_path, "bad", "print('progress')\nsys.stderr.write('error: no such thing\\n')\nsys.exit(2)")
    silent = task(tmp_path, "silent", "os._exit(0)")  # ends well without a result
    tasks = [bad, silent, task(tmp_path, "after", needs=bad.result), task(tmp_path, "good")]
    assert [each.name for each in run_all(tasks, jobs=1, say=lines.append)] == ["bad", "silent", "after"]
    assert tasks[3].result.exists() and not tasks[2].result.exists()
    failures = [line for line in lines if line.startswith("failed")]
    assert ": error: no such thing (see " in failures[0] and ": exit code 0 and not a word (see " in failures[1]
    assert lines[-1] == "left out after"
    # Once more, with a first task that works: its log has both attempts.
    tasks[0] = task(tmp_path, "bad", "sys.stderr.write('better\\n')")
    assert [each.name for each in run_all(tasks, jobs=1, say=lines.append)] == ["silent"]
    assert tasks[2].result.exists() and {"error: no such thing", "better"} <= set(bad.log.read_text().splitlines())


def test_shares():
    assert shares(range(8), 3) == [[0, 1], [2, 3, 4], [5, 6, 7]]
    assert shares([3, 5], 2) == [[3], [5]]
    assert shares([3, 5], 3) == [[3], [5], [3]]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins nothing")
def test_each_child_has_its_share_of_the_cores(tmp_path):
    mine = sorted(os.sched_getaffinity(0))
    body = "print(sorted(os.sched_getaffinity(0)))\ntime.sleep(0.5)"
    tasks = [task(tmp_path, name, body) for name in "ab"]
    assert run_all(tasks, jobs=2, say=lambda line: None) == []
    assert [each.log.read_text().splitlines()[-1] for each in tasks] == [str(part) for part in shares(mine, 2)]
    assert sorted(os.sched_getaffinity(0)) == mine


@pytest.mark.parametrize(
    ("visible", "gpus", "expected"),
    [
        (None, 0, ["- -", "- -"]),
        (None, 4, ["0,1 0.900", "2,3 0.900"]),
        ("6,7", 2, ["6 0.900", "7 0.900"]),
        (None, 1, ["0 0.450", "0 0.450"]),
    ],
)
def test_each_child_has_its_share_of_the_gpus(tmp_path, monkeypatch, visible, gpus, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    names = "'CUDA_VISIBLE_DEVICES', 'XLA_PYTHON_CLIENT_MEM_FRACTION'"
    body = f"print(*[os.environ.get(name, '-') for name in ({names})])\ntime.sleep(0.5)"
    tasks = [task(tmp_path, name, body) for name in "ab"]
    assert run_all(tasks, jobs=2, gpus=gpus, say=lambda line: None) == []
    assert [each.log.read_text().splitlines()[-1] for each in tasks] == expected


def test_a_run_that_another_sweep_is_at_is_left_to_it(tmp_path):
    pytest.importorskip("fcntl")
    slow = task(tmp_path, "a", UNTIL.format(str(tmp_path / "go")))
    lines = []

    def start_again(line):
        if line.startswith("start") and not lines:
            lines.append(line)
            assert run_all([slow], jobs=1, say=lines.append) == [slow]
            (tmp_path / "go").touch()

    assert run_all([slow], jobs=1, say=start_again) == []
    assert lines[1:] == ["failed   a: another process is at it"]


SWEEP = """
import pathlib, signal, sys
sys.path.insert(0, {root!r})
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background commands ignore it
from stata_jax import cli
from stata_jax.tools import sweep_runs
folder = pathlib.Path({folder!r})
code = "import os, time; open('pid', 'w').write(str(os.getpid())); os.rename('pid', 'started'); time.sleep(60)"
task = sweep_runs.Task("a", "train", ["-c", code], folder / "log.txt", folder / "result")
program = lambda argv: sweep_runs.run_all([task], jobs=1)
sys.exit(cli.run(program, [], interrupted="interrupted: the same command goes on with it"))
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopping_the_sweep_stops_its_children(tmp_path, stop):
    root = str(pathlib.Path(__file__).parents[1])
    script = SWEEP.format(root=root, folder=str(tmp_path))
    sweep = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    end = time.monotonic() + 60
    while not (tmp_path / "started").exists():
        assert time.monotonic() < end and sweep.poll() is None
        time.sleep(0.02)
    child = int((tmp_path / "started").read_text())
    sweep.send_signal(stop)
    out, error = sweep.communicate(timeout=30)
    # Of a scheduler's signal the code says that the same command is to be started again.
    assert sweep.returncode == {signal.SIGINT: 130, signal.SIGTERM: 75}[stop]
    assert error.decode() == f"stopped by {stop.name}: the same command goes on from there\n"
    assert out.decode() == "start    a (1 of 1)\n"
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_child_that_starts_as_the_sweep_is_stopped_is_stopped_too(tmp_path, monkeypatch, stop):
    started, popen = [], subprocess.Popen

    def start(*arguments, **options):
        started.append(popen(*arguments, **options))
        signal.raise_signal(stop)
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(stopping.Stopped) as caught:
        run_all([task(tmp_path, name, "time.sleep(60)") for name in "ab"], jobs=2, say=lambda line: None)
    assert caught.value.number == stop and [process.poll() for process in started] == [-signal.SIGTERM]


def test_time_left_is_by_kind_and_shared_by_the_jobs(tmp_path):
    left = [task(tmp_path, name, kind=kind) for name, kind in (("a", "train"), ("b", "train"), ("c", "energy"))]
    assert sweep_runs._time_left(left, [], {"train": [100.0, 200.0], "energy": [20.0]}, 2) == "about 2:40"
    assert sweep_runs._time_left(left, [], {"train": [100.0]}, 1) == "at least 3:20"
