"""Tests of stata_jax.kernels.fire: one function against the normalisation and the neurons that it is made of."""

import as_users
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels import hardware, tiles
from stata_jax.kernels.fire import Constants, normalize_and_fire, product_and_fire
from stata_jax.kernels.lif import Neuron, lif
from stata_jax.kernels.norm import normalize

EPSILON = 1e-5


def inputs(*shape, dtype=jnp.float32):
    random = np.random.RandomState(0)
    x, gradient = (jnp.asarray(2 * random.randn(*shape) + 1, dtype) for _ in range(2))
    scale, bias = (jnp.asarray(random.rand(shape[-1]) + 0.5, jnp.float32) for _ in range(2))
    return x, scale, bias, gradient


def one_by_one(x, scale, bias, neuron, axis_name=None):
    y, mean, var = normalize(x, scale, bias, EPSILON, axis_name)
    spikes = lif(y, tau=neuron.tau, threshold=neuron.threshold, alpha=neuron.alpha)
    return spikes, jnp.sum(spikes.astype(jnp.float32)), mean, var


def both(function, x, scale, bias, gradient):
    """Spikes and statistics, and the gradients of a function of the spikes and of their number."""

    def given_and_seen(*given):
        spikes, number, *statistics = function(*given)
        return (spikes, number), statistics

    def program(x, scale, bias, gradient):
        (spikes, number), pull, statistics = jax.vjp(given_and_seen, x, scale, bias, has_aux=True)
        return spikes, [number, *statistics], pull((gradient, jnp.float32(0.7)))

    return as_users.jit(program)(x, scale, bias, gradient)


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("piece", [4, 10**6])
@pytest.mark.parametrize("shape", [(4, 3, 2, 2, 5), (3, 6, 5), (1, 2, 3)])
def test_matches_the_two_functions(shape, piece, lean, monkeypatch):
    neuron = Neuron(tau=1.5, threshold=0.8, reset=0.0, alpha=3.0, lean=lean)
    x, scale, bias, gradient = inputs(*shape)
    expected = both(lambda *given: one_by_one(*given, neuron), x, scale, bias, gradient)
    monkeypatch.setattr(tiles, "PIECE", piece)
    spikes, statistics, gradients = both(
        lambda *given: normalize_and_fire(*given, Constants(neuron, EPSILON)), x, scale, bias, gradient
    )
    np.testing.assert_array_equal(spikes, expected[0])
    assert 0 < float(spikes.mean()) < 1
    jax.tree.map(np.testing.assert_array_equal, statistics, expected[1])
    for ours, theirs in zip(gradients, expected[2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("piece", [4, 10**6])
def test_one_timestep_that_stands_for_several(piece, monkeypatch):
    neuron = Neuron(tau=1.5, threshold=0.8, reset=0.0, alpha=3.0, lean=True)
    x, scale, bias, _ = inputs(1, 3, 6, 5)
    gradient = inputs(4, 3, 6, 5)[-1]

    def repeated(*given):
        y, *statistics = normalize(*given, EPSILON, None)
        spikes = lif(jnp.broadcast_to(y, (4, 3, 6, 5)), tau=neuron.tau, threshold=neuron.threshold, alpha=neuron.alpha)
        return spikes, jnp.sum(spikes.astype(jnp.float32)), *statistics

    expected = both(repeated, x, scale, bias, gradient)
    monkeypatch.setattr(tiles, "PIECE", piece)
    constants = Constants(neuron, EPSILON, repeats=4)
    spikes, statistics, gradients = both(lambda *given: normalize_and_fire(*given, constants), x, scale, bias, gradient)
    np.testing.assert_array_equal(spikes, expected[0])
    assert 0 < float(spikes.mean()) < 1 and (spikes[0] != spikes[1]).any()
    jax.tree.map(np.testing.assert_array_equal, statistics, expected[1])
    for ours, theirs in zip(gradients, expected[2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    pull = jax.vjp(lambda *given: normalize_and_fire(*given, constants)[0], x, scale, bias)[1]
    assert max(leaf.size for leaf in jax.tree.leaves(pull)) == x.size


def test_types_are_those_of_the_product():
    x, scale, bias, gradient = inputs(2, 3, 4, dtype=jnp.bfloat16)
    neuron = Neuron(tau=2.0, threshold=1.0, reset=0.0, alpha=4.0, lean=True)
    spikes, statistics, gradients = both(
        lambda *given: normalize_and_fire(*given, Constants(neuron, EPSILON)), x, scale, bias, gradient
    )
    assert spikes.dtype == gradients[0].dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in (*statistics, *gradients[1:])} == {jnp.dtype("float32")}


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_gradient_over_devices_is_that_of_the_whole_batch(platform, monkeypatch):
    monkeypatch.setattr(hardware, "platform", lambda: platform)
    x, scale, bias, gradient = inputs(3, 8, 5)
    neuron = Neuron(tau=2.0, threshold=1.0, reset=0.0, alpha=4.0, lean=False)

    def pulled(x, gradient, axis_name):
        fire = lambda *given: normalize_and_fire(*given, Constants(neuron, EPSILON, axis_name))  # noqa: E731
        return both(fire, x, scale, bias, gradient)[2]

    split = [array.reshape(3, 4, 2, 5).swapaxes(0, 1) for array in (x, gradient)]
    parts = jax.vmap(lambda *given: pulled(*given, "device"), axis_name="device")(*split)
    whole = pulled(x, gradient, None)
    np.testing.assert_allclose(parts[0].swapaxes(0, 1).reshape(x.shape), whole[0], rtol=1e-4, atol=1e-5)
    for part, expected in zip(parts[1:], whole[1:], strict=True):
        np.testing.assert_allclose(part.sum(0), expected, rtol=1e-4, atol=1e-5)


def test_backward_pass_keeps_the_product_alone():
    x, scale, bias, _ = inputs(4, 3, 8)
    neuron = Neuron(tau=2.0, threshold=1.0, reset=0.0, alpha=4.0, lean=False)
    pull = jax.vjp(lambda *given: normalize_and_fire(*given, Constants(neuron, EPSILON))[0], x, scale, bias)[1]
    assert [leaf.shape for leaf in jax.tree.leaves(pull) if leaf.size > 8] == [x.shape]


@pytest.mark.parametrize("in_bytes", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_product_computed_again_changes_nothing_and_is_not_kept(dtype, in_bytes):
    random = np.random.RandomState(0)
    neuron = Neuron(tau=2.0, threshold=1.0, reset=0.0, alpha=4.0, lean=True)
    x = jnp.asarray(random.rand(4, 3, 8) < 0.4 if in_bytes else random.rand(4, 3, 8), dtype)
    weight = jnp.asarray(random.randn(8, 16), dtype)
    _, scale, bias, gradient = inputs(4, 3, 16, dtype=dtype)

    def product(x, weights):
        return x @ weights[0]

    def kept(x, weight, scale, bias):
        return normalize_and_fire(product(x, (weight,)), scale, bias, Constants(neuron, EPSILON))

    def again(x, weight, scale, bias):
        return product_and_fire(product, in_bytes, x, (weight,), scale, bias, Constants(neuron, EPSILON))

    results = []
    for function in (kept, again):
        (spikes, *rest), pull = jax.vjp(function, x, weight, scale, bias)
        zeros = [jnp.zeros_like(each) for each in rest[1:]]
        results.append((spikes, rest, pull((gradient, jnp.float32(0.7), *zeros))))
    jax.tree.map(np.testing.assert_array_equal, *results)
    assert 0 < float(results[0][0].mean()) < 1
    sizes = [leaf.size for leaf in jax.tree.leaves(pull)]
    assert max(sizes) == max(x.size, weight.size) < gradient.size
    assert (jnp.dtype("uint8") in {leaf.dtype for leaf in jax.tree.leaves(pull)}) == in_bytes


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_product_of_one_timestep_computed_again_over_devices(dtype):
    """As the first convolution of a static image: the gradients of the whole batch, each time from its own timestep."""
    random = np.random.RandomState(0)
    neuron = Neuron(tau=2.0, threshold=1.0, reset=0.0, alpha=4.0, lean=True)
    x, weight = (jnp.asarray(random.rand(*shape), dtype) for shape in [(1, 8, 3), (3, 5)])
    _, scale, bias, gradient = inputs(4, 8, 5, dtype=dtype)

    def product(x, weights):
        return x @ weights[0]

    def pulled(function, x, gradient):
        (spikes, number, *statistics), pull = jax.vjp(function, x, weight, scale, bias)
        assert spikes.dtype == dtype
        return spikes, *pull((gradient, jnp.zeros_like(number), *map(jnp.zeros_like, statistics)))

    def once(x, weight, scale, bias):
        constants = Constants(neuron, EPSILON, "device", repeats=4)
        return product_and_fire(product, False, x, (weight,), scale, bias, constants)

    def repeated(x, weight, scale, bias):
        x = jnp.broadcast_to(x, (4, 8, 3))
        return normalize_and_fire(product(x, (weight,)), scale, bias, Constants(neuron, EPSILON))

    split = [array.reshape(-1, 2, 4, array.shape[-1]).swapaxes(0, 1) for array in (x, gradient)]
    parts = jax.vmap(lambda *given: pulled(once, *given), axis_name="device")(*split)
    whole = pulled(repeated, x, gradient)
    room = dict(rtol=1e-4, atol=1e-5) if dtype == jnp.float32 else dict(rtol=0.05, atol=0.1)
    joined = [each.swapaxes(0, 1).reshape(-1, 8, each.shape[-1]) for each in parts[:2]]
    for part, expected in zip(joined, whole[:2], strict=True):
        np.testing.assert_allclose(part.astype(jnp.float32), expected.astype(jnp.float32), **room)
    assert 0 < float(parts[0].astype(jnp.float32).mean()) < 1
    for part, expected in zip(parts[2:], whole[2:], strict=True):
        np.testing.assert_allclose(part.astype(jnp.float32).sum(0), expected.astype(jnp.float32), **room)
