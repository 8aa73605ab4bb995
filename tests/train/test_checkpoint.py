"""Checkpoints: what is kept, what is passed over."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.train.checkpoint import CheckpointError, Checkpoints
from stata_jax.train.state import TrainState


def state(step):
    return TrainState(
        jnp.asarray(step, jnp.int32), {"w": jnp.full(3, float(step))}, {"m": jnp.zeros(2)}, (jnp.ones(1),)
    )


@pytest.fixture
def opened(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1)
    yield checkpoints
    checkpoints.close()


def save(checkpoints, bests):
    """Saves states by their step, each with the step that is the best by then."""
    for step, best in bests.items():
        checkpoints.save(state(step), {"note": f"step {step}"}, best=best)
    checkpoints.wait()


def steps(folder):
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())


def test_the_newest_and_the_best_are_kept(opened, tmp_path):
    save(opened, {1: 1, 2: 2, 3: 2, 4: 2, 5: 2})
    assert steps(tmp_path) == [2, 5]
    restored, record = opened.restore(state(0))
    assert int(restored.step) == 5
    np.testing.assert_array_equal(restored.params["w"], 5.0)
    assert record == {"note": "step 5"}


def test_the_best_outlives_a_restart(tmp_path):
    for bests in ({1: 1, 2: 2}, {3: 2}, {4: 2}):
        checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1)
        save(checkpoints, bests)
        checkpoints.close()
    assert steps(tmp_path) == [2, 4]


def test_variables_of_one_step(opened):
    save(opened, {1: 1, 2: 1})
    variables, step = opened.variables(step=1)
    assert step == 1
    np.testing.assert_array_equal(variables["params"]["w"], 1.0)
    assert opened.variables(step=7) is None
    assert opened.variables()[1] == 2


def test_averages_are_what_to_evaluate_with(opened):
    averaged = {"params": {"w": jnp.full(3, 0.5)}, "batch_stats": {"m": jnp.ones(2)}}
    opened.save(dataclasses.replace(state(1), ema=averaged), {}, best=1)  # the best, so it is kept
    save(opened, {2: 1})
    variables, _ = opened.variables(step=1)
    np.testing.assert_array_equal(variables["params"]["w"], 0.5)
    np.testing.assert_array_equal(variables["batch_stats"]["m"], 1.0)
    np.testing.assert_array_equal(opened.variables(step=2)[0]["params"]["w"], 2.0)


def test_averages_are_restored(opened):
    averaged = {"params": {"w": jnp.full(3, 0.5)}, "batch_stats": {"m": jnp.ones(2)}}
    with_averages = dataclasses.replace(state(1), ema=averaged)
    opened.save(with_averages, {}, best=None)
    opened.wait()
    restored, _ = opened.restore(jax.tree.map(jnp.zeros_like, with_averages))
    np.testing.assert_array_equal(restored.params["w"], 1.0)
    np.testing.assert_array_equal(restored.ema["params"]["w"], 0.5)


def test_a_state_without_averages_has_no_entry_for_them(opened, tmp_path):
    """As it was before there were any: what was saved then is read, and the reverse."""
    save(opened, {1: 1})
    kept = json.loads((tmp_path / "checkpoints" / "1" / "state" / "_METADATA").read_text())["tree_metadata"]
    assert {key.split("'")[1] for key in kept} == {"step", "params", "batch_stats", "opt_state"}


def test_a_run_goes_on_on_another_kind_of_device(opened, tmp_path):
    save(opened, {1: 1})
    path = tmp_path / "checkpoints" / "1" / "state" / "_sharding"
    here = str(jax.local_devices()[0])
    assert here in path.read_text()
    path.write_text(path.read_text().replace(here, "cuda:0"))
    restored, _ = opened.restore(jax.eval_shape(lambda: state(0)))
    np.testing.assert_array_equal(restored.params["w"], 1.0)
    assert restored.params["w"].devices() == {jax.local_devices()[0]}


def test_nothing_to_restore(opened):
    assert opened.restore(state(0)) is None


def test_a_damaged_checkpoint_is_passed_over(opened, tmp_path):
    save(opened, {1: 1, 2: 1})
    for path in (tmp_path / "checkpoints" / "2" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert opened.variables()[1] == 1
    assert steps(tmp_path) == [1, 2]  # who only reads leaves all in place
    restored, _ = opened.restore(state(0))
    assert int(restored.step) == 1
    save(opened, {2: 1})  # the training goes on, and saves that step again
    assert int(opened.restore(state(0))[0].step) == 2


def test_only_damaged_checkpoints_are_an_error(opened, tmp_path):
    save(opened, {1: 1})
    for path in (tmp_path / "checkpoints" / "1").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* can be read"):
        opened.restore(state(0))
