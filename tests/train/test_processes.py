"""Several processes train the same network as one with as many devices; a signal to one of them ends all.

By default one network; `STATA_ALL_LAYOUTS=1` trains each family, dense and pruned, on further layouts.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from child_processes import children
from small_runs import CONFIG, FLAGS, untimed

from stata_jax import evaluate, main
from stata_jax.train.lock import FILE, locked

ROOT = pathlib.Path(__file__).parents[2]
LOCAL = ROOT / "launch" / "local_processes.py"
ALL = bool(os.environ.get("STATA_ALL_LAYOUTS"))
PRUNED = {"pruned": "stata", "dense": "dense"}
NETWORKS = [("spikingformer", "pruned")] + [
    (family, how) for family in ("spikformer", "spikingformer", "sdt") for how in PRUNED if ALL
]
# Batches divide by four, also those of the test, whose last one is padded; epochs of four steps, so five are 20 steps.
ARGUMENTS = [*FLAGS, "--config.eval.batch_size=12", "--config.train.epochs=5", "--config.train.cpu_threads=1"]


def command(workdir, network, devices, *more):
    family, how = network
    config = f"--config={CONFIG}:{family}-{PRUNED[how]}"
    flags = [config, f"--workdir={workdir}", *ARGUMENTS, f"--config.train.cpu_devices={devices}", *more]
    return [sys.executable, "-m", "stata_jax.main", *flags]


def together(count, *arguments):
    return [sys.executable, str(LOCAL), str(count), *command(*arguments)]


def train(line):
    done = subprocess.run(line, capture_output=True, text=True, timeout=540, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_close(one, other):
    assert [line.keys() for line in one] == [line.keys() for line in other]
    for a, b in zip(one, other, strict=True):
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-5, err_msg=f"step {a['step']}: {name}")


@pytest.mark.parametrize("network", dict.fromkeys(NETWORKS), ids="-".join)
def test_two_processes_train_as_one_does(network, tmp_path):
    said = train(together(2, tmp_path / "2x2", network, 2))
    assert said.count("test top-1") == 1 and "devices  4 x cpu" in said  # one of them speaks
    train(command(tmp_path / "1x4", network, 4))
    apart, alone = untimed(tmp_path / "2x2"), untimed(tmp_path / "1x4")
    assert_close(apart, alone)
    tests = [line for line in apart if "test/images" in line]
    assert len(tests) == 5 and all(line["test/images"] == 25 for line in tests)
    summary = json.loads((tmp_path / "2x2" / "summary.json").read_text())
    there = evaluate.evaluate(tmp_path / "2x2", overrides={"train.cpu_devices": 1, "eval.batch_size": 10})
    assert (there["step"], there["top1"]) == (20, summary["top1"])  # restored where there is one device
    if ALL:
        for devices in (1, 2):  # the devices draw random numbers of their own, of which this run has none
            train(command(tmp_path / f"1x{devices}", network, devices))
            assert_close(untimed(tmp_path / f"1x{devices}"), alone)


def test_a_signal_to_one_ends_all_with_the_same_step(tmp_path):
    more = ["--config.train.epochs=500"]
    line = together(2, tmp_path, NETWORKS[0], 1, *more)
    process = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=ROOT)
    try:
        written, patience = tmp_path / "metrics.jsonl", time.monotonic() + 400
        while not (written.exists() and b'"test/' in written.read_bytes()):
            assert process.poll() is None and time.monotonic() < patience
            time.sleep(0.2)
        os.kill(children(process)[1], signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
    finally:
        for pid in children(process):
            os.kill(pid, signal.SIGKILL)
        process.kill()
    assert process.returncode == 75
    ends = [line.removeprefix("[1] ") for line in errors.splitlines() if "stopped by SIGTERM" in line]
    assert len(ends) == 2 and ends[0] == ends[1]
    saved = max(int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit())
    assert f"after step {saved}, which is saved" in ends[0]


WHICH = ["--coordinator=localhost:1", "--num_processes=2", "--process_id=0"]


@pytest.mark.parametrize("more", [WHICH, ["--distributed", *WHICH[:2]], ["--distributed", WHICH[2]]])
def test_flags_of_processes_go_together(more, tmp_path, capsys):
    assert main.main([f"--config={CONFIG}", f"--workdir={tmp_path}", *more]) == 2
    assert "--process_id go together, and with --distributed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (["--coordinator=node1", "--num_processes=2", "--process_id=0"], "--coordinator is 'node1', but it must be HO"),
        (["--coordinator=node1:1", "--num_processes=2", "--process_id=2"], "--process_id is 2, but --num_processes l"),
    ],
)
def test_impossible_processes(which, message, tmp_path, capsys):
    assert main.main([f"--config={CONFIG}", f"--workdir={tmp_path}", "--distributed", *which]) == 2
    assert message in capsys.readouterr().err


def test_nobody_says_which_processes(tmp_path):
    line = command(tmp_path, NETWORKS[0], 1, "--distributed")
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 2 and "give --coordinator=HOST:PORT" in done.stderr and "Traceback" not in done.stderr


def test_a_folder_has_one_run_at_a_time(tmp_path):
    """A second process refuses; a file that a dead one has left behind holds nobody up."""
    (tmp_path / FILE).write_text("process 1 on elsewhere\n")
    with locked(tmp_path):
        line = command(tmp_path, NETWORKS[0], 1)
        done = subprocess.run(line, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 2
    assert f"is in use by a run (process {os.getpid()} on " in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "metrics.jsonl").exists()
