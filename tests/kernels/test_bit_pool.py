"""Tests of stata_jax.kernels.bit_pool: the pool of spikes as `max_pool` has it, which is tested against a loop."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels import bit_pool
from stata_jax.kernels.pool import max_pool


def spikes(timesteps, height=4, width=6, *, rate=0.2, seed=0, dtype="float32"):
    return jnp.asarray(np.random.RandomState(seed).rand(timesteps, 2, height, width, 3) < rate, dtype)


def one_by_one(x):
    """The pool of each timestep, in floating numbers."""
    return max_pool(x, in_bytes=False, target="gpu")


def check(x, *, gradient_seed=1):
    y, pull = jax.vjp(bit_pool.pool, x)
    expected, expected_pull = jax.vjp(one_by_one, x)
    gradient = jnp.asarray(np.random.RandomState(gradient_seed).randn(*y.shape), x.dtype)
    assert y.dtype == x.dtype
    for actual, right in ((y, expected), (pull(gradient)[0], expected_pull(gradient)[0])):
        np.testing.assert_array_equal(np.asarray(actual, np.float32), np.asarray(right, np.float32))


@pytest.mark.parametrize("timesteps", range(1, bit_pool.MOST + 1))
def test_any_timesteps_that_fit_are_pooled_as_they_are_one_by_one(timesteps):
    check(spikes(timesteps))


@hypothesis.settings(max_examples=20)
@hypothesis.given(st.sampled_from([1, 4, 5]), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_any_spikes_are_pooled_as_they_are_one_by_one(timesteps, rate, seed):
    check(spikes(timesteps, rate=rate, seed=seed))


@pytest.mark.parametrize(("height", "width"), [(2, 2), (2, 8), (8, 2)])
@pytest.mark.parametrize("rate", [0.0, 0.1, 1.0])
def test_at_the_edges_ties_go_to_the_first_pixel_of_the_image(height, width, rate):
    check(spikes(4, height, width, rate=rate))


def test_bfloat16_stays():
    check(spikes(4, dtype="bfloat16"))


def test_without_a_gradient_places_are_not_made():
    program = functools.partial(jax.make_jaxpr, return_shape=False)
    assert "u16" in str(program(lambda x: jax.vjp(bit_pool.pool, x)[0])(spikes(4)))
    compiled = jax.jit(bit_pool.pool).lower(spikes(4)).compile().as_text()
    assert "u8[" in compiled and "u16[" not in compiled


@pytest.mark.parametrize(("shape", "message"), [((4, 1, 3, 2, 1), "images of 3x2"), ((9, 1, 2, 2, 1), "9 timesteps")])
def test_what_does_not_fit(shape, message):
    with pytest.raises(ValueError, match=message):
        bit_pool.pool(jnp.zeros(shape))
