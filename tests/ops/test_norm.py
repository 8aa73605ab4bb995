"""Tests of stata_jax.ops.norm and of its kernels: statistics against float64, gradients over devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels import operations as kernels
from stata_jax.kernels.norm import batch_statistics as by_target
from stata_jax.ops.norm import batch_statistics
from stata_jax.ops.operations import PLAIN

EPSILON = 1e-5


STATISTICS = {"plain": batch_statistics} | {
    target: functools.partial(by_target, target=target) for target in kernels.TARGETS
}


def test_normalises_as_the_equation_says():
    random = np.random.RandomState(0)
    x = (3 * random.randn(3, 4, 2, 5) + 2).astype(np.float32)
    scale, bias = (random.rand(5).astype(np.float32) + 0.5 for _ in range(2))
    y, mean, var = PLAIN.normalize(jnp.asarray(x), jnp.asarray(scale), jnp.asarray(bias))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(var, exact.var((0, 1, 2)), rtol=1e-5)
    expected = (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + EPSILON) * scale + bias
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ops", [PLAIN, kernels.operations("cpu")], ids=["plain", "cpu"])
def test_gradient_over_devices_is_that_of_the_whole_batch(ops):
    random = np.random.RandomState(1)
    x, gradient = (jnp.asarray(random.randn(4, 6, 5) * np.arange(1, 5)[:, None, None], jnp.float32) for _ in range(2))
    scale, bias = (jnp.asarray(random.rand(5) + 0.5, jnp.float32) for _ in range(2))

    def pulled(x, gradient, *, axis_name):
        _, pull = jax.vjp(lambda *given: ops.normalize(*given, axis_name=axis_name)[0], x, scale, bias)
        return pull(gradient)

    parts = jax.vmap(lambda *given: pulled(*given, axis_name="device"), axis_name="device")(x, gradient)
    whole = pulled(x, gradient, axis_name=None)
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-4, atol=1e-5)
    for part, expected in zip(parts[1:], whole[1:], strict=True):  # each device has its share of the sum
        np.testing.assert_allclose(part.sum(0), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("statistics", STATISTICS.values(), ids=STATISTICS)
@pytest.mark.parametrize("shape", [(3, 64, 4, 2, 5), (4, 7, 5), (600, 5)])
def test_statistics_keep_their_digits_at_a_large_mean(shape, statistics):
    x = np.random.RandomState(2).randn(*shape).astype(np.float32) + np.float32([0, 1000, -3000, 0.01, 30])
    mean, var = statistics(jnp.asarray(x))
    exact = x.astype(np.float64).reshape(-1, 5)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(var, exact.var(0), rtol=1e-3)


@pytest.mark.parametrize("statistics", STATISTICS.values(), ids=STATISTICS)
def test_statistics_over_devices_are_those_of_the_whole_batch(statistics):
    scale = np.arange(1, 5)[:, None, None, None]  # the devices' own statistics differ
    x = (np.random.RandomState(3).randn(4, 2, 6, 5) * scale + 10 * scale).astype(np.float32)
    mean, var = jax.vmap(lambda x: statistics(x, axis_name="device"), axis_name="device")(jnp.asarray(x))
    exact = x.astype(np.float64).reshape(-1, 5)
    for of_device in zip(mean, var, strict=True):
        np.testing.assert_allclose(of_device[0], exact.mean(0), rtol=1e-5)
        np.testing.assert_allclose(of_device[1], exact.var(0), rtol=1e-4)


def test_one_pass_is_right_after_a_first_image_unlike_the_others():
    x = np.random.RandomState(4).randn(3, 8, 4, 4, 5).astype(np.float32) + np.float32(10)
    x[0, 0] = 0
    mean, var = by_target(jnp.asarray(x), target="gpu")
    exact = x.astype(np.float64).reshape(-1, 5)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-5)
    np.testing.assert_allclose(var, exact.var(0), rtol=1e-4)


def test_one_pass_has_no_negative_variance():
    mean, var = by_target(jnp.full((2, 3, 4), 0.1), target="gpu")
    np.testing.assert_allclose(mean, np.full(4, 0.1), rtol=1e-6)
    assert np.all(np.asarray(var) >= 0) and np.max(var) < 1e-12
