"""Runs whose numbers are no longer finite: stopped with a finite checkpoint, or such updates left out and counted."""

import json
import math

import jax
import numpy as np
import optax
import pytest
from small_runs import run, untimed
from tiny_source import TinySource, settings

from stata_jax import stopping
from stata_jax.train import loop as train
from stata_jax.train import reuse


def all_finite(workdir):
    variables, step = reuse.read_variables(workdir)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))
    return step


def test_a_diverged_run_stops_and_goes_on_with_another_rate(tmp_path, capsys):
    """Ended by the same command each time, from the same checkpoint, until the rate is another one."""
    rising = ["--config.train.learning_rate=1e30", "--config.checkpoint.every_steps=1"]
    for _ in range(2):
        assert run(tmp_path, *rising) == 3
        error = capsys.readouterr().err.splitlines()[-1]
        assert "diverged: at step 3, at a learning rate of 5e+29, " in error and "train.on_nonfinite=skip" in error
        assert f"the finite checkpoint of step {all_finite(tmp_path)} is kept" in error
    assert all_finite(tmp_path) in (1, 2)
    assert all(line["step"] < 3 for line in untimed(tmp_path))


def test_a_batch_that_is_not_finite_stops_a_run(tmp_path):
    """Its loss is finite: the neurons of a membrane that is NaN are silent."""
    with pytest.raises(stopping.DivergedError, match=r"at step 5, .*the finite checkpoint of step 3 is kept"):
        train.train(settings(), tmp_path, source=TinySource(spoilt=(5,)))
    assert all_finite(tmp_path) == 3
    train.train(settings(train__on_nonfinite="skip"), tmp_path, source=TinySource(spoilt=(5,)))
    assert all_finite(tmp_path) == 6


def test_skipped_updates_are_counted(tmp_path, monkeypatch, capsys):
    changes = dict(train__on_nonfinite="skip", train__ema_decay=0.5, train__epochs=3)
    save, updates = train.Checkpoints.save, {}

    def save_and_look(self, state, record, **options):
        updates[int(state.step)] = {int(count) for _, count in optax.tree.get_all_with_path(state.opt_state, "count")}
        save(self, state, record, **options)

    monkeypatch.setattr(train.Checkpoints, "save", save_and_look)
    summary = train.train(settings(**changes), tmp_path, source=TinySource(spoilt=(3, 4, 8)))
    assert ", 3 updates left out that were not finite\n" in capsys.readouterr().out
    assert summary["skipped"] == 3 and all_finite(tmp_path) == 9
    lines = [line for line in untimed(tmp_path) if "train/skipped" in line]
    assert {line["step"]: line["train/skipped"] for line in lines} == {2: 0, 3: 1, 4: 1, 6: 0, 8: 1, 9: 0}
    assert all(math.isfinite(value) for line in lines for value in line.values())
    alone = [line["step"] for line in lines if "train/loss" not in line]
    assert alone == [3, 4]  # nothing in them was finite
    # The schedule goes by updates, which optax counts: 2 of the first 3 steps, 4 of 6 and 6 of 9 made one.
    assert updates == {3: {2}, 6: {4}, 9: {6}}
    before = {2: 1, 3: 2, 4: 2, 6: 3, 8: 5, 9: 5}  # updates before the step of each line
    rates = {line["step"]: line["train/learning_rate"] for line in lines}
    assert rates == pytest.approx({step: rate_of(count) for step, count in before.items()}, rel=1e-5)
    assert json.loads((tmp_path / "summary.json").read_text())["skipped"] == 3


def rate_of(updates):
    """Two steps of warm-up from 1e-5 to 4e-3, then a cosine down to 1e-5 at step 9."""
    if updates < 2:
        return 1e-5 + (4e-3 - 1e-5) * updates / 2
    return 1e-5 + (4e-3 - 1e-5) * (1 + math.cos(math.pi * (updates - 2) / 7)) / 2


def test_a_run_that_leaves_out_everything_ends(tmp_path, capsys):
    """Sixteen in a row, some of them before a stop: with exit code 3, and its last finite state."""
    spoilt = tuple(range(5, 99))
    skipping = settings(train__on_nonfinite="skip", train__epochs=30, train__log_every=50)
    words = r"16 updates in a row up to step 20 were not finite and have been left out, and the finite checkpoint of st"
    for _ in range(2):
        with pytest.raises(stopping.DivergedError, match=words):
            train.train(skipping, tmp_path, source=TinySource(spoilt=spoilt))
        assert all_finite(tmp_path) == 18
    capsys.readouterr()
