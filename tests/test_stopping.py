"""Signals: the step is finished, the state saved, and the same command ends with the same result, bit for bit."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import orbax.checkpoint as ocp
import pytest
from small_runs import CONFIG, FLAGS, assert_same_state, final_state, run, untimed
from tiny_source import TinySource, settings

from stata_jax import stopping
from stata_jax.train import loop as train
from stata_jax.train import reuse

# `python -m stata_jax.main`, which heeds Ctrl-C where a shell has had us ignore it.
MAIN = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("stata_jax.main", run_name="__main__", alter_sys=True)
"""
SHALLOW = [
    "model.depth=1",
    "sparsity.prune_at=0",
    "train.kernels=plain",
    "checkpoint.every_steps=0",
    "train.log_every=3",
]
SHALLOW = [f"--config.{each}" for each in SHALLOW]
HANDLERS = {number: signal.getsignal(number) for number in stopping.SIGNALS}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without a stop."""
    workdir = tmp_path_factory.mktemp("whole")
    assert run(workdir, *SHALLOW) == 0
    return workdir


def start(workdir, log):
    command = [sys.executable, "-c", MAIN, f"--config={CONFIG}", *FLAGS, *SHALLOW, f"--workdir={workdir}"]
    with log.open("w") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=stream, env=os.environ | {"PYTHONUNBUFFERED": "1"})


def wait_for(words, process, log):
    end = time.monotonic() + 240
    while words not in log.read_text():
        assert time.monotonic() < end and process.poll() is None, log.read_text()
        time.sleep(0.01)


def test_a_stopped_run_goes_on_bit_for_bit(whole, tmp_path):
    """SIGTERM while it compiles, then in its first step; SIGINT in a later one; then the run to its end."""
    workdir, log = tmp_path / "run", tmp_path / "log"
    moments = [
        ("compiling the", signal.SIGTERM, 75),
        ("? left", signal.SIGTERM, 75),
        ("epoch 2: test", signal.SIGINT, 130),  # of the first epoch, a run that was stopped at its end tells at once
    ]
    for words, number, code in moments:
        process = start(workdir, log)
        wait_for(words, process, log)
        process.send_signal(number)
        assert process.wait(120) == code, log.read_text()
        last = log.read_text().splitlines()[-1]
        if words == "compiling the":
            assert last == "stopped by SIGTERM: the same command goes on from there"
        else:
            _, step = reuse.read_variables(workdir)
            where = f"after step {step}, which is saved: the same command goes on from there"
            assert last == f"stopped by {number.name}, {where}"
    assert run(workdir, *SHALLOW) == 0
    assert_same_state(final_state(workdir), final_state(whole))
    assert untimed(workdir) == untimed(whole)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run of the tiny source without a stop, and the steps that it has saved."""
    workdir, saved = tmp_path_factory.mktemp("undisturbed"), []
    with pytest.MonkeyPatch.context() as patched:
        note_saved(patched, saved)
        train.train(settings(), workdir, source=TinySource())
    return workdir, saved


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was stopped in its first evaluation, and has saved step 3 untested."""
    workdir = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patched:
        stop_in_evaluation(workdir, patched)
    return workdir


def note_saved(monkeypatch, saved):
    """Notes the step of each checkpoint."""
    save = train.Checkpoints.save

    def save_and_note(self, state, *args, **options):
        saved.append(int(state.step))
        save(self, state, *args, **options)

    monkeypatch.setattr(train.Checkpoints, "save", save_and_note)


def stop_at(monkeypatch, name, count, number=signal.SIGTERM):
    """Has a method of the tiny source send a signal to this process when it is called for the `count`-th time."""
    method, calls = getattr(TinySource, name), []

    def call(*args):
        calls.append(args)
        if len(calls) == count:
            signal.raise_signal(number)
        return method(*args)

    monkeypatch.setattr(TinySource, name, call)


def stop_in_evaluation(workdir, monkeypatch, **changes):
    """Runs until a signal in the first evaluation."""
    with monkeypatch.context() as patched:
        stop_at(patched, "test_batch", 2)  # the first is looked at when the source is checked
        with pytest.raises(KeyboardInterrupt, match="stopped by SIGTERM, after step 3, which is saved"):
            train.train(settings(**changes), workdir, source=TinySource())


def test_a_stop_in_an_evaluation_loses_nothing(undisturbed, stopped, tmp_path, capsys):
    """The state is saved untested, and tested first when the run goes on: the same lines and the same best."""
    assert {number: signal.getsignal(number) for number in stopping.SIGNALS} == HANDLERS
    assert reuse.read_variables(stopped)[1] == 3
    assert untimed(stopped)[-1]["step"] == 3
    workdir = shutil.copytree(stopped, tmp_path / "run")
    train.train(settings(), workdir, source=TinySource())
    assert untimed(workdir) == untimed(undisturbed[0])
    assert_same_state(reuse.read_variables(workdir), reuse.read_variables(undisturbed[0]))
    capsys.readouterr()


def test_a_kill_while_resuming_leaves_the_only_checkpoint(stopped, tmp_path, monkeypatch):
    """Whenever a run that has yet to test its state dies before its next checkpoint is whole, it has the last one."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    with monkeypatch.context() as patched:

        def killed(*args, **options):
            raise RuntimeError("killed")

        patched.setattr(ocp.CheckpointManager, "save", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train.train(settings(), tmp_path, source=TinySource())
    assert reuse.read_variables(tmp_path)[1] == 3


def test_a_state_that_is_tested_late_is_kept_as_the_best(stopped, tmp_path, monkeypatch):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    accuracies = iter([0.9, 0.1])
    plain = dict(top5=1.0, loss=1.0, images=7)
    monkeypatch.setattr(train._Run, "test", lambda self, state: plain | {"top1": next(accuracies)})
    summary = train.train(settings(), tmp_path, source=TinySource())
    assert (summary["best_step"], summary["best_top1"], summary["top1"]) == (3, 0.9, 0.1)
    assert reuse.read_variables(tmp_path, step=3)[1] == 3 and reuse.read_variables(tmp_path)[1] == 6


def test_a_run_stopped_in_its_last_evaluation_ends_the_same_whenever_it_is_asked(tmp_path, monkeypatch):
    stop_in_evaluation(tmp_path, monkeypatch, train__epochs=1)
    first = train.train(settings(train__epochs=1), tmp_path, source=TinySource())
    lines = untimed(tmp_path)
    assert [line["step"] for line in lines if "test/top1" in line] == [3] and first["best_step"] == 3
    again = train.train(settings(train__epochs=1), tmp_path, source=TinySource())
    assert again == first and untimed(tmp_path) == lines


def test_checkpoints_by_time_change_nothing(undisturbed, tmp_path, monkeypatch):
    """One after every step, and a stop: the same state and the same lines, although none falls on a checkpoint."""
    changes = dict(checkpoint__every_minutes=1e-9)
    note_saved(monkeypatch, saved := [])
    with monkeypatch.context() as patched:
        stop_at(patched, "train_batch", 6, signal.SIGINT)  # of step 5, for the source is looked at first
        with pytest.raises(KeyboardInterrupt, match="stopped by SIGINT, after step 5, which is saved"):
            train.train(settings(**changes), tmp_path, source=TinySource())
    assert saved == [1, 2, 3, 4, 5]
    train.train(settings(**changes), tmp_path, source=TinySource())
    assert saved == [1, 2, 3, 4, 5, 6]
    assert untimed(tmp_path) == untimed(undisturbed[0])
    assert_same_state(reuse.read_variables(tmp_path), reuse.read_variables(undisturbed[0]))


def test_short_runs_make_no_checkpoint_by_time(undisturbed):
    assert undisturbed[1] == [3, 6] and settings().checkpoint.every_minutes == 10


def test_a_second_interrupt_stops_at_once():
    with stopping.on_signals(), stopping.after_the_step():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)  # schedulers repeat themselves, and shells ask all of a group
        assert stopping.requested() == signal.SIGINT
        with pytest.raises(KeyboardInterrupt) as caught:
            signal.raise_signal(signal.SIGINT)
        assert not isinstance(caught.value, stopping.Stopped)
    assert {number: signal.getsignal(number) for number in stopping.SIGNALS} == HANDLERS
    assert stopping.requested() is None


def test_other_threads_and_ignored_signals_are_left_alone():
    seen = []

    def look():
        with stopping.on_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [HANDLERS[signal.SIGTERM]]
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stopping.on_signals():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
