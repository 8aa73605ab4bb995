"""Tests of stata_jax.kernels.norm: its closed gradient against the one that JAX derives."""

import as_users
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels import hardware, tiles
from stata_jax.kernels.norm import normalize, statistics

EPSILON = 1e-5


def plain(x, scale, bias):
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    return (x - mean) / jnp.sqrt(var + EPSILON) * scale + bias


@pytest.mark.parametrize("piece", [4, 10**6])
@pytest.mark.parametrize("shape", [(3, 4, 2, 2, 5), (6, 5), (70, 5), (5,)])
def test_gradient_is_the_derived_one(shape, piece, monkeypatch):
    monkeypatch.setattr(tiles, "PIECE", piece)
    random = np.random.RandomState(0)
    x, gradient = (jnp.asarray(3 * random.randn(*shape) + 2, jnp.float32) for _ in range(2))
    scale, bias = (jnp.asarray(random.rand(5) + 0.5, jnp.float32) for _ in range(2))

    @as_users.jit
    def program(gradient, *given):
        y, pull = jax.vjp(lambda *given: normalize(*given, EPSILON, None)[0], *given)
        return y, pull(gradient)

    y, gradients = program(gradient, x, scale, bias)
    expected, pull_plain = jax.vjp(plain, x, scale, bias)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    for ours, derived in zip(gradients, pull_plain(gradient), strict=True):
        assert ours.shape == derived.shape
        np.testing.assert_allclose(ours, derived, rtol=1e-4, atol=1e-4)


def test_gradient_over_devices_is_that_of_the_whole_batch():
    random = np.random.RandomState(1)
    x, gradient = (jnp.asarray(random.randn(4, 6, 5) * np.arange(1, 5)[:, None, None], jnp.float32) for _ in range(2))
    scale, bias = (jnp.asarray(random.rand(5) + 0.5, jnp.float32) for _ in range(2))

    def pulled(x, gradient, *, axis_name):
        _, pull = jax.vjp(lambda *given: normalize(*given, EPSILON, axis_name)[0], x, scale, bias)
        return pull(gradient)

    parts = jax.vmap(lambda *given: pulled(*given, axis_name="device"), axis_name="device")(x, gradient)
    whole = pulled(x, gradient, axis_name=None)
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-4, atol=1e-5)
    for part, expected in zip(parts[1:], whole[1:], strict=True):  # each device has its share of the sum
        np.testing.assert_allclose(part.sum(0), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("shape", [(3, 64, 4, 2, 5), (4, 7, 5), (600, 5)])
def test_statistics_keep_their_digits_at_a_large_mean(shape, platform, monkeypatch):
    monkeypatch.setattr(hardware, "platform", lambda: platform)
    x = np.random.RandomState(2).randn(*shape).astype(np.float32) + np.float32([0, 1000, -3000, 0.01, 30])
    mean, var = statistics(jnp.asarray(x))
    exact = x.astype(np.float64).reshape(-1, 5)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(var, exact.var(0), rtol=1e-3)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_statistics_over_devices_are_those_of_the_whole_batch(platform, monkeypatch):
    monkeypatch.setattr(hardware, "platform", lambda: platform)
    scale = np.arange(1, 5)[:, None, None, None]  # the devices' own statistics differ
    x = (np.random.RandomState(3).randn(4, 2, 6, 5) * scale + 10 * scale).astype(np.float32)
    mean, var = jax.vmap(lambda x: statistics(x, axis_name="device"), axis_name="device")(jnp.asarray(x))
    exact = x.astype(np.float64).reshape(-1, 5)
    for of_device in zip(mean, var, strict=True):
        np.testing.assert_allclose(of_device[0], exact.mean(0), rtol=1e-5)
        np.testing.assert_allclose(of_device[1], exact.var(0), rtol=1e-4)


def test_one_pass_is_right_after_a_first_image_unlike_the_others(accelerator):
    x = np.random.RandomState(4).randn(3, 8, 4, 4, 5).astype(np.float32) + np.float32(10)
    x[0, 0] = 0
    mean, var = statistics(jnp.asarray(x))
    exact = x.astype(np.float64).reshape(-1, 5)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-5)
    np.testing.assert_allclose(var, exact.var(0), rtol=1e-4)


def test_one_pass_has_no_negative_variance(accelerator):
    mean, var = statistics(jnp.full((2, 3, 4), 0.1))
    np.testing.assert_allclose(mean, np.full(4, 0.1), rtol=1e-6)
    assert np.all(np.asarray(var) >= 0) and np.max(var) < 1e-12
