"""Tests of stata_jax.kernels.matmul against NumPy loops in float64 and against JAX's own derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels import matmul


def normal(*shape, seed=0):
    return jnp.asarray(np.random.RandomState(seed).randn(*shape), jnp.float32)


def convolution_loop(x, weight, gradient):
    """The convolution, and both of its gradients, pixel by pixel."""
    batch, height, width, _ = x.shape
    out = np.zeros((batch, height, width, weight.shape[-1]))
    x_gradient, weight_gradient = np.zeros(x.shape), np.zeros(weight.shape)
    for b, row, column, i, j in np.ndindex(batch, height, width, 3, 3):
        at = (b, row + i - 1, column + j - 1)
        if 0 <= at[1] < height and 0 <= at[2] < width:
            out[b, row, column] += x[at] @ weight[i, j]
            x_gradient[at] += weight[i, j] @ gradient[b, row, column]
            weight_gradient[i, j] += np.outer(x[at], gradient[b, row, column])
    return out, x_gradient, weight_gradient


@jax.jit
def run(x, weight, gradient):
    out, pull = jax.vjp(matmul.convolve, x, weight)
    return out, *pull(gradient)


# The second and third are cut: into single images, and into groups of two.
@pytest.mark.parametrize(("shape", "pixels"), [((2, 4, 6, 3), 2048), ((3, 4, 6, 2), 1), ((6, 4, 4, 2), 40)])
def test_convolution_and_its_gradients_match_the_loop(shape, pixels, monkeypatch):
    monkeypatch.setattr(matmul, "PIXELS", pixels)
    jax.clear_caches()
    x, weight, gradient = normal(*shape), normal(3, 3, shape[-1], 5, seed=1), normal(*shape[:3], 5, seed=2)
    exact = convolution_loop(*(np.asarray(a, np.float64) for a in (x, weight, gradient)))
    for actual, expected in zip(run(x, weight, gradient), exact, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_weight_gradient_in_pieces_is_the_derived_one():
    x, gradient = normal(8, 32, 32, 5), normal(8, 32, 32, 7, seed=1)
    derived = matmul._derived(x, gradient)
    np.testing.assert_allclose(matmul.weight_gradient_in_pieces(x, gradient), derived, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("leading", [(7,), (2, 3, 5)])
def test_linear_is_the_plain_product(leading):
    x, weight, gradient = normal(*leading, 4), normal(4, 6, seed=1), normal(*leading, 6, seed=2)
    actual, pull = jax.vjp(matmul.linear, x, weight)
    expected, pull_plain = jax.vjp(lambda x, weight: jnp.einsum("...k,km->...m", x, weight), x, weight)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    for ours, plain in zip(pull(gradient), pull_plain(gradient), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-5)


def test_bfloat16_stays():
    x, weight = normal(2, 4, 4, 3).astype(jnp.bfloat16), normal(3, 3, 3, 5).astype(jnp.bfloat16)
    out, pull = jax.vjp(matmul.convolve, x, weight)
    assert {out.dtype, *(gradient.dtype for gradient in pull(out))} == {jnp.dtype(jnp.bfloat16)}
    out, pull = jax.vjp(matmul.linear, x, weight[0, 0])
    assert {out.dtype, *(gradient.dtype for gradient in pull(out))} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("product", [matmul.linear, matmul.convolve])
def test_lean_products_keep_bytes_and_lose_nothing(product):
    x = jnp.asarray(np.random.RandomState(0).randint(0, 256, (2, 4, 6, 3)), jnp.float32)
    weight = normal(3, 5) if product is matmul.linear else normal(3, 3, 3, 5)
    plain, lean = (jax.vjp(functools.partial(product, lean=lean), x, weight) for lean in (False, True))
    np.testing.assert_array_equal(plain[0], lean[0])
    gradient = normal(*plain[0].shape, seed=1)
    jax.tree.map(np.testing.assert_array_equal, plain[1](gradient), lean[1](gradient))
    assert {leaf.dtype for leaf in jax.tree.leaves(lean[1]) if leaf.shape == x.shape} == {jnp.dtype("uint8")}
