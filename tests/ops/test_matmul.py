"""Tests of matmul and convolution, plain and kernels, against NumPy loops in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from convolution_loop import convolution_loop, normal

from stata_jax.kernels import matmul
from stata_jax.kernels import operations as kernels
from stata_jax.ops.conv import fold_time
from stata_jax.ops.operations import PLAIN

OPS = [PLAIN, *(kernels.operations(target) for target in kernels.TARGETS)]
NAMES = ["plain", *kernels.TARGETS]


# The second and third are cut: into single images, and into groups of two.
@pytest.mark.parametrize("ops", OPS, ids=NAMES)
@pytest.mark.parametrize(("shape", "pixels"), [((2, 4, 6, 3), 2048), ((3, 4, 6, 2), 1), ((6, 4, 4, 2), 40)])
def test_convolution_and_its_gradients_match_the_loop(shape, pixels, ops, monkeypatch):
    monkeypatch.setattr(matmul, "PIXELS", pixels)
    x, weight, gradient = normal(*shape), normal(3, 3, shape[-1], 5, seed=1), normal(*shape[:3], 5, seed=2)
    exact = convolution_loop(*(np.asarray(a, np.float64) for a in (x, weight, gradient)))
    out, pull = jax.vjp(lambda x, weight: ops.convolve(x[None], weight)[0], x, weight)
    for actual, expected in zip((out, *pull(gradient)), exact, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ops", OPS, ids=NAMES)
@pytest.mark.parametrize("leading", [(7,), (2, 3, 5)])
def test_linear_is_a_sum_over_the_last_axis(leading, ops):
    x, weight, gradient = normal(*leading, 4), normal(4, 6, seed=1), normal(*leading, 6, seed=2)
    actual, pull = jax.vjp(ops.linear, x, weight)
    expected, pull_plain = jax.vjp(lambda x, weight: jnp.einsum("...k,km->...m", x, weight), x, weight)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    for ours, plain in zip(pull(gradient), pull_plain(gradient), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ops", OPS, ids=NAMES)
def test_bfloat16_stays(ops):
    x, weight = normal(1, 2, 4, 4, 3).astype(jnp.bfloat16), normal(3, 3, 3, 5).astype(jnp.bfloat16)
    for function, kernel in ((ops.convolve, weight), (ops.linear, weight[0, 0])):
        out, pull = jax.vjp(function, x, kernel)
        assert {out.dtype, *(gradient.dtype for gradient in pull(out))} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("target", kernels.TARGETS)
@pytest.mark.parametrize("kind", ["linear", "convolve"])
def test_counts_are_kept_as_bytes_and_lose_nothing(kind, target):
    x = jnp.asarray(np.random.RandomState(0).randint(0, 256, (1, 2, 4, 6, 3)), jnp.float32)
    weight = normal(3, 5) if kind == "linear" else normal(3, 3, 3, 5)
    function = getattr(kernels.operations(target), kind)
    whole, small = (jax.vjp(functools.partial(function, counts=counts), x, weight) for counts in (False, True))
    np.testing.assert_array_equal(whole[0], small[0])
    gradient = normal(*whole[0].shape, seed=1)
    jax.tree.map(np.testing.assert_array_equal, whole[1](gradient), small[1](gradient))
    assert {leaf.dtype for leaf in jax.tree.leaves(small[1]) if leaf.size == x.size} == {jnp.dtype("uint8")}


def test_fold_time_is_a_loop_over_timesteps():
    x = normal(3, 2, 4, 5)
    seen = []

    def function(batch):
        seen.append(batch.shape)
        return jnp.sum(batch, axis=1)[:, :2]

    y = fold_time(function, x)
    assert seen == [(6, 4, 5)]
    np.testing.assert_allclose(y, [np.sum(x[t], axis=1)[:, :2] for t in range(3)], rtol=1e-6)
