"""Runs whose numbers are no longer finite: stopped with a finite checkpoint, or such updates left out and counted."""

import json
import math

import jax
import numpy as np
import pytest
from small_runs import run, untimed
from tiny_source import TinySource, settings

from stata_jax import reuse, stopping, train


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
        assert f"the checkpoint of step {all_finite(tmp_path)}, which is, is kept" in error
    assert all_finite(tmp_path) in (1, 2)
    assert all(line["step"] < 3 for line in untimed(tmp_path))


def test_a_batch_that_is_not_finite_stops_a_run(tmp_path):
    """Its loss is finite: the neurons of a membrane that is NaN are silent."""
    with pytest.raises(stopping.DivergedError, match=r"at step 5, .*the checkpoint of step 3, which is, is kept"):
        train.train(settings(), tmp_path, source=TinySource(spoilt=(5,)))
    assert all_finite(tmp_path) == 3
    train.train(settings(train__on_nonfinite="skip"), tmp_path, source=TinySource(spoilt=(5,)))
    assert all_finite(tmp_path) == 6


def test_skipped_updates_are_counted(tmp_path):
    changes = dict(train__on_nonfinite="skip", train__ema_decay=0.5, train__epochs=3)
    summary = train.train(settings(**changes), tmp_path, source=TinySource(spoilt=(3, 4, 8)))
    assert summary["skipped"] == 3 and all_finite(tmp_path) == 9
    lines = [line for line in untimed(tmp_path) if "train/skipped" in line]
    assert {line["step"]: line["train/skipped"] for line in lines} == {2: 0, 3: 1, 4: 1, 6: 0, 8: 1, 9: 0}
    assert all(math.isfinite(value) for line in lines for value in line.values())
    alone = [line["step"] for line in lines if "train/loss" not in line]
    assert alone == [3, 4]  # nothing in them was finite
    # The schedule goes by updates: at step 9 the rate is that of the sixth.
    rates = {line["step"]: line["train/learning_rate"] for line in lines}
    assert rates[9] > rates[8] * 0.5 and json.loads((tmp_path / "summary.json").read_text())["skipped"] == 3
