"""Tests of max-pooling, plain and kernels, against a loop over windows, ties included."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax import speed
from stata_jax.ops.conv import max_filter, max_pool

B, H, W, C = 2, 6, 8, 3


def loop(x, gradient):
    """The maximum of each window, and the gradient of the input: all to the first maximum in row-major order."""
    out, input_gradient = np.zeros(gradient.shape), np.zeros(x.shape)
    for b, row, column, c in np.ndindex(out.shape):
        places = [
            (b, i, j, c)
            for i in range(2 * row - 1, 2 * row + 2)
            for j in range(2 * column - 1, 2 * column + 2)
            if 0 <= i < x.shape[1] and 0 <= j < x.shape[2]
        ]
        first = max(places, key=lambda place: x[place])  # Python's max keeps the first of equal ones
        out[b, row, column, c] = x[first]
        input_gradient[first] += gradient[b, row, column, c]
    return out, input_gradient


def images(kind):
    random = np.random.RandomState(0)
    return {
        "distinct": random.randn(B, H, W, C),
        "negative": -1 - random.rand(B, H, W, C),  # padding must not win
        "spikes": random.randint(0, 2, (B, H, W, C)),
        "few spikes": random.rand(B, H, W, C) < 0.1,
        "zeros": np.zeros((B, H, W, C)),
        "ones": np.ones((B, H, W, C)),
    }[kind].astype(np.float32)


@functools.partial(jax.jit, static_argnames=("kernels", "spikes"))
def run(x, gradient, *, kernels="plain", spikes=False):
    """The pool and its gradient of images, each as one timestep."""
    pool = functools.partial(speed.operations(kernels).max_pool, spikes=spikes)
    out, pull = jax.vjp(lambda x: pool(x[None])[0], x)
    return out, pull(gradient)[0]


@pytest.mark.parametrize("kernels", ["plain", "cpu", "gpu"])
@pytest.mark.parametrize("kind", ["distinct", "negative", "spikes", "few spikes", "zeros", "ones"])
def test_values_and_gradient_match_the_loop(kind, kernels):
    x = images(kind)
    gradient = np.random.RandomState(1).randn(B, H // 2, W // 2, C).astype(np.float32)
    expected, expected_gradient = loop(x, gradient)
    actual, actual_gradient = run(jnp.asarray(x), jnp.asarray(gradient), kernels=kernels)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_allclose(actual_gradient, expected_gradient, rtol=1e-5, atol=1e-6)
    flax = nn.max_pool(jnp.asarray(x), (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
    np.testing.assert_array_equal(actual, flax)


@pytest.mark.parametrize("kernels", ["cpu", "gpu"])
@pytest.mark.parametrize("kind", ["spikes", "few spikes", "zeros", "ones"])
def test_that_they_are_spikes_changes_nothing(kind, kernels):
    x = jnp.asarray(images(kind))
    gradient = jnp.asarray(np.random.RandomState(1).randn(B, H // 2, W // 2, C), jnp.float32)
    found = run(x, gradient, kernels=kernels, spikes=True)
    jax.tree.map(np.testing.assert_array_equal, found, run(x, gradient, kernels=kernels))


def test_smallest_image():
    x = np.asarray([[1.0, 2.0], [2.0, 0.0]], np.float32).reshape(1, 2, 2, 1)
    out, gradient = run(jnp.asarray(x), jnp.full((1, 1, 1, 1), 5.0))
    assert out.tolist() == [[[[2.0]]]]
    assert gradient[0, :, :, 0].tolist() == [[0.0, 5.0], [0.0, 0.0]]


@pytest.mark.parametrize("kernels", ["plain", "cpu", "gpu"])
def test_bfloat16_stays(kernels):
    x = jnp.asarray(images("spikes"), jnp.bfloat16)
    out, gradient = run(x, jnp.ones((B, H // 2, W // 2, C), jnp.bfloat16), kernels=kernels, spikes=True)
    assert out.dtype == gradient.dtype == jnp.bfloat16
    _, expected = loop(images("spikes"), np.ones(out.shape))
    np.testing.assert_array_equal(gradient.astype(jnp.float32), expected)


@pytest.mark.parametrize("shape", [(1, 5, 4, 1), (1, 4, 5, 1)])
def test_odd_sizes(shape):
    with pytest.raises(ValueError, match=f"cannot halve images of {shape[1]}x{shape[2]} pixels"):
        max_pool(jnp.zeros(shape))


def filter_loop(x, gradient):
    """The maximum around each pixel, and the gradient of the input: all to the first maximum in row-major order."""
    out, input_gradient = np.zeros(x.shape), np.zeros(x.shape)
    for b, row, column, c in np.ndindex(x.shape):
        places = [
            (b, i, j, c)
            for i in range(row - 1, row + 2)
            for j in range(column - 1, column + 2)
            if 0 <= i < x.shape[1] and 0 <= j < x.shape[2]
        ]
        first = max(places, key=lambda place: x[place])
        out[b, row, column, c] = x[first]
        input_gradient[first] += gradient[b, row, column, c]
    return out, input_gradient


@pytest.mark.parametrize("kind", ["distinct", "negative", "spikes", "zeros"])
def test_max_filter_matches_the_loop(kind):
    x = images(kind)[:, :5]  # an odd height
    gradient = np.random.RandomState(1).randn(*x.shape).astype(np.float32)
    expected, expected_gradient = filter_loop(x, gradient)
    actual, pull = jax.vjp(max_filter, jnp.asarray(x))
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_allclose(pull(jnp.asarray(gradient))[0], expected_gradient, rtol=1e-5, atol=1e-6)
