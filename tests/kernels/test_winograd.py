"""Tests of stata_jax.kernels.winograd against a NumPy loop in float64 and the direct convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from convolution_loop import convolution_loop, normal

from stata_jax.kernels import operations as kernels
from stata_jax.kernels import winograd
from stata_jax.ops.conv import convolve_images


@pytest.fixture
def tiles(request, monkeypatch):
    """Few tiles at once, so that small images are cut as large ones are."""
    monkeypatch.setattr(winograd, "TILES", request.param)
    jax.clear_caches()
    yield
    jax.clear_caches()


# All at once; image by image; row of tiles by row of tiles.
@pytest.mark.parametrize("tiles", [256, 6, 1], indirect=True)
@pytest.mark.parametrize("shape", [(2, 4, 6, 3), (3, 2, 2, 5), (4, 8, 4, 2)])
def test_convolution_and_gradients_match_the_loop(shape, tiles):
    x, weight, gradient = normal(*shape), normal(3, 3, shape[-1], 5, seed=1), normal(*shape[:3], 5, seed=2)
    exact = convolution_loop(*(np.asarray(a, np.float64) for a in (x, weight, gradient)))
    np.testing.assert_allclose(jax.jit(winograd.convolve)(x, weight), exact[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.jit(winograd.input_gradient)(gradient, weight), exact[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.jit(winograd.weight_gradient)(x, gradient), exact[2], rtol=1e-5, atol=1e-5)


def test_input_gradient_writes_no_transposed_weight():
    program = jax.make_jaxpr(winograd.input_gradient)(normal(2, 4, 4, 5), normal(3, 3, 3, 5))
    assert "dot_general" in str(program) and "transpose" not in str(program)


@pytest.mark.parametrize("tiles", [256, 6, 1], indirect=True)
def test_bytes_give_the_weight_gradient_of_numbers(tiles):
    x = jnp.asarray(np.random.RandomState(0).randint(0, 256, (4, 4, 4, 3)), jnp.uint8)
    gradient = normal(4, 4, 4, 5)
    as_numbers = winograd.weight_gradient(x.astype(jnp.float32), gradient)
    np.testing.assert_array_equal(winograd.weight_gradient(x, gradient), as_numbers)


def test_convolution_of_spikes_with_whole_weights_is_exact():
    """Nothing is rounded where nothing needs to be: multiples of 4, whose quarters are whole numbers."""
    random = np.random.RandomState(0)
    spikes = jnp.asarray(random.rand(2, 8, 8, 16) < 0.3, jnp.float32)
    weight = jnp.asarray(4 * random.randint(-8, 9, (3, 3, 16, 7)), jnp.float32)
    np.testing.assert_array_equal(winograd.convolve(spikes, weight), convolve_images(spikes, weight))


def test_rounds_as_little_as_the_direct_way():
    """Against float64, the largest error over a wide layer is within twice that of the direct convolution."""
    x, weight = normal(1, 8, 8, 384), normal(3, 3, 384, 384, seed=1)
    exact = np.zeros(x.shape)
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    for i, j in np.ndindex(3, 3):
        exact += padded[:, i : i + 8, j : j + 8] @ np.asarray(weight[i, j], np.float64)
    errors = [np.abs(form(x, weight) - exact).max() for form in (winograd.convolve, convolve_images)]
    assert errors[0] < 2 * errors[1]
    assert errors[0] < 2e-6 * np.abs(exact).max()


@pytest.mark.parametrize(
    ("shape", "outputs", "dtype", "pays"),
    [
        ((64, 16, 16, 192), 384, jnp.float32, True),
        ((64, 16, 16, 192), 384, jnp.bfloat16, False),
        ((64, 15, 16, 192), 384, jnp.float32, False),  # an odd side
        ((64, 32, 32, 3), 48, jnp.float32, False),  # few channels
        ((64, 32, 32, 48), 16, jnp.float32, False),  # few channels of the result
        ((4, 8, 8, 384), 384, jnp.float32, False),  # few tiles
    ],
)
def test_pays_for_what_is_large_and_even(shape, outputs, dtype, pays):
    assert winograd.pays(shape, jax.ShapeDtypeStruct((3, 3, shape[-1], outputs), dtype)) is pays


def test_convolve_goes_this_way_where_it_pays(monkeypatch):
    """The product and both of its gradients, and a layer that does not pay goes the other."""
    calls = []

    def noted(name):
        form = getattr(winograd, name)
        return lambda *args: (calls.append(name), form(*args))[1]

    for name in ("convolve", "input_gradient", "weight_gradient"):
        monkeypatch.setattr(winograd, name, noted(name))
    for shape in ((8, 8, 8, 32), (2, 8, 8, 32)):
        x, weight = normal(*shape), normal(3, 3, 32, 32)
        out, pull = jax.vjp(lambda x, weight: kernels.operations("cpu").convolve(x[None], weight)[0], x, weight)
        gradients = pull(out)
        plain, pull_plain = jax.vjp(convolve_images, x, weight)
        np.testing.assert_allclose(out, plain, rtol=1e-5, atol=1e-4)
        for actual, expected in zip(gradients, pull_plain(out), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * float(jnp.abs(expected).max()))
    assert sorted(calls) == ["convolve", "input_gradient", "weight_gradient"]
