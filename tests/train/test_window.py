"""Means over the steps between two lines, in parts or in one, and steps that are not finite."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.train.window import NonFiniteError, Window


def metrics(loss, finite=1.0):
    values = {"loss": loss, "accuracy": 0.5, "rates": {"stem": loss / 3}, "finite": finite}
    return {
        name: {k: jnp.full(2, v, jnp.float32) for k, v in value.items()}
        if isinstance(value, dict)
        else jnp.full(2, value, jnp.float32)
        for name, value in values.items()
    }


def test_means_are_those_of_numpy():
    losses = np.random.default_rng(0).normal(size=5).astype(np.float32)
    window = Window(batch_size=8, skips=False)
    for step, loss in enumerate(losses, start=1):
        window.add(step, metrics(loss))
    assert window.glance()["loss"] == losses[-1]
    mean = window.close()
    assert mean.pop("images_per_second") > 0
    assert mean["loss"] == pytest.approx(np.mean(losses, dtype=np.float64))
    assert mean["rates"]["stem"] == pytest.approx(np.mean(losses, dtype=np.float64) / 3)
    assert mean.keys() == {"loss", "accuracy", "rates"} and window.median_step() > 0


def test_a_window_goes_on_after_a_checkpoint():
    losses = np.random.default_rng(1).normal(size=6)
    whole, first = (Window(batch_size=8, skips=True) for _ in range(2))
    for step, loss in enumerate(losses, start=1):
        whole.add(step, metrics(loss, finite=float(step != 2)))
        if step <= 4:
            first.add(step, metrics(loss, finite=float(step != 2)))
    first.settle()
    second = Window(batch_size=8, skips=True, carried=json.loads(json.dumps(first.carry())))
    for step in (5, 6):
        second.add(step, metrics(losses[step - 1]))
    ours, theirs = second.close(), whole.close()
    assert ours.pop("images_per_second") != theirs.pop("images_per_second")
    assert ours == theirs and ours["skipped"] == 1
    assert first.median_step() is None


def test_the_first_step_that_is_not_finite_is_named():
    window = Window(batch_size=8, skips=False)
    for step in range(1, 6):
        window.add(step, metrics(1.0, finite=float(step < 3)))
    with pytest.raises(NonFiniteError, match="step 3 ") as caught:
        window.glance()
    assert caught.value.step == 3


def test_too_many_skipped_in_a_row_are_an_error():
    """Across windows and checkpoints; one finite step in between, and they are counted anew."""
    window = Window(batch_size=8, skips=True)
    for step in range(1, 16):
        window.add(step, metrics(1.0, finite=0.0))
    window.add(16, metrics(1.0))
    assert window.close()["skipped"] == 15 and not window.last_was_skipped()
    for step in range(17, 27):
        window.add(step, metrics(1.0, finite=0.0))
    window.settle()
    assert window.close()["skipped"] == 10 and window.last_was_skipped()
    window = Window(batch_size=8, skips=True, carried=json.loads(json.dumps(window.carry())))
    for step in range(27, 40):
        window.add(step, metrics(1.0, finite=0.0))
    with pytest.raises(NonFiniteError) as caught:
        window.glance()
    assert caught.value.step == 32
