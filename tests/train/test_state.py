"""The state: what it starts from, and what is evaluated."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from stata_jax.train.compilation import Once
from stata_jax.train.state import count_parameters, create_state, initializer, time_major, weights


class Product(nn.Module):
    """Insists on one recording of 5 timesteps."""

    @nn.compact
    def __call__(self, images):
        assert images.shape == (5, 1, 2, 3, 2)
        self.variable("batch_stats", "mean", jnp.zeros, (2,))
        return nn.Dense(4)(images)


def fresh(**options):
    recordings = jax.ShapeDtypeStruct((7, 5, 2, 3, 2), jnp.float32)
    return create_state(Product(), optax.sgd(0.1), recordings, key=jax.random.key(0), **options)


def test_recordings_are_batch_first_and_the_model_sees_them_time_first():
    state = fresh()
    assert count_parameters(state.params) == 2 * 4 + 4
    assert int(state.step) == 0


@pytest.mark.parametrize("ema", [False, True])
def test_a_state_made_in_a_thread_is_the_same(ema):
    recordings = jax.ShapeDtypeStruct((7, 5, 2, 3, 2), jnp.float32)
    once = Once(initializer(Product(), optax.adam(0.1), recordings, ema=ema), jax.random.key(0))
    state = create_state(Product(), optax.adam(0.1), recordings, key=jax.random.key(0), ema=ema)
    assert once.shapes == jax.eval_shape(lambda: state)
    assert count_parameters(once.shapes.params) == count_parameters(state.params)
    once.start()
    jax.tree.map(np.testing.assert_array_equal, once.take(), state)


def test_images_stay_as_they_are():
    images = jnp.arange(24.0).reshape(2, 3, 4, 1)
    np.testing.assert_array_equal(time_major(images), images)
    recordings = np.arange(24).reshape(2, 3, 4, 1, 1)
    expected = np.stack([recordings[:, t] for t in range(3)])
    np.testing.assert_array_equal(time_major(jnp.asarray(recordings)), expected)


def test_averages_start_from_the_weights_and_are_what_is_evaluated():
    plain, averaged = fresh(), fresh(ema=True)
    assert plain.ema is None
    jax.tree.map(np.testing.assert_array_equal, averaged.ema["params"], plain.params)
    jax.tree.map(np.testing.assert_array_equal, averaged.ema["batch_stats"], plain.batch_stats)
    moved = averaged.replace(params=jax.tree.map(lambda p: p + 1, averaged.params))
    jax.tree.map(np.testing.assert_array_equal, weights(moved)["params"], plain.params)
    assert weights(plain) == {"params": plain.params, "batch_stats": plain.batch_stats}
