"""Tests of matmul, normalisation and neurons as one operation: its parts, many devices, and what training keeps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels import fire
from stata_jax.kernels import operations as kernels
from stata_jax.ops.lif import lif
from stata_jax.ops.norm import normalize
from stata_jax.ops.operations import PLAIN

OPS = {"plain": PLAIN} | {target: kernels.operations(target, remat=True) for target in kernels.TARGETS}


def inputs(*shape, features=16, dtype=jnp.float32, counts=False):
    """x, kernel, scale and bias, and a gradient of the spikes."""
    random = np.random.RandomState(0)
    x = random.rand(*shape) < 0.4 if counts else random.randn(*shape)
    kernel, gradient = random.randn(shape[-1], features) / 2, random.randn(*shape[:-1], features)
    scale, bias = random.rand(features) + 0.5, random.randn(features)
    wide = [jnp.asarray(array, jnp.float32) for array in (scale, bias)]
    x, kernel, gradient = (jnp.asarray(array, dtype) for array in (x, kernel, gradient))
    return x, kernel, *wide, gradient


def fired(ops, x, kernel, scale, bias, **options):
    return ops.matmul_norm_lif(ops.linear, x, [(kernel, scale, bias)], **options)[0]


def test_it_is_made_of_its_parts():
    *given, _ = inputs(4, 3, 2, 8)
    x, kernel, scale, bias = given
    y, mean, var = normalize(x @ kernel, scale, bias, epsilon=1e-3)
    spikes, *statistics = fired(PLAIN, *given, epsilon=1e-3, tau=1.5, threshold=0.8, alpha=3.0)
    np.testing.assert_array_equal(spikes, lif(y, tau=1.5, threshold=0.8, alpha=3.0))
    jax.tree.map(np.testing.assert_array_equal, statistics, [mean, var])
    assert 0 < float(spikes.mean()) < 1


@pytest.mark.parametrize("ops", OPS.values(), ids=OPS)
def test_types_are_those_of_the_matmul(ops):
    *given, gradient = inputs(2, 3, 8, dtype=jnp.bfloat16)
    (spikes, *statistics), pull = jax.vjp(functools.partial(fired, ops), *given)
    gradients = pull((gradient, *map(jnp.zeros_like, statistics)))
    assert spikes.dtype == gradients[0].dtype == gradients[1].dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in (*statistics, *gradients[2:])} == {jnp.dtype("float32")}


@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("ops", OPS.values(), ids=OPS)
def test_gradient_over_devices_is_that_of_the_whole_batch(ops, still):
    x, kernel, scale, bias, gradient = inputs(4, 8, 3)
    options, whole_options = {"axis_name": "device", "repeats": 4 if still else 1}, {}
    if still:  # one timestep stands for four
        x, whole_options = x[:1], {"repeats": 4}

    def pulled(x, gradient, **options):
        spikes, pull = jax.vjp(lambda *given: fired(ops, *given, **options)[0], x, kernel, scale, bias)
        return spikes, *pull(gradient)

    split = [array.reshape(-1, 2, 4, array.shape[-1]).swapaxes(0, 1) for array in (x, gradient)]
    parts = jax.vmap(functools.partial(pulled, **options), axis_name="device")(*split)
    whole = pulled(x, gradient, **whole_options)
    for part, expected in zip(parts[:2], whole[:2], strict=True):
        np.testing.assert_allclose(part.swapaxes(0, 1).reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
    for part, expected in zip(parts[2:], whole[2:], strict=True):  # each device has its share of the sum
        np.testing.assert_allclose(part.sum(0), expected, rtol=1e-4, atol=1e-4)
    assert 0 < float(whole[0].mean()) < 1


def residuals(ops, *given, **options):
    """The sizes and types of what the backward pass keeps for each token and timestep."""
    pull = jax.vjp(lambda *given: fired(ops, *given, **options)[0], *given)[1]
    return sorted((leaf.size, str(leaf.dtype)) for leaf in jax.tree.leaves(pull) if leaf.size > 1024)


@pytest.mark.parametrize("target", kernels.TARGETS)
def test_training_keeps_the_input_and_the_result_of_the_matmul(target, monkeypatch):
    monkeypatch.setattr(fire, "NEXT_TO_NOTHING", 0)
    *given, gradient = inputs(4, 64, 8)
    kept = residuals(kernels.operations(target), *given)
    assert kept == [(given[0].size, "float32"), (gradient.size, "float32")]
    *given, gradient = inputs(4, 64, 8, counts=True)
    kept = residuals(kernels.operations(target), *given, counts=True)
    assert kept == [(given[0].size, "uint8"), (gradient.size, "float32")]
    assert max(size for size, _ in residuals(PLAIN, *given)) == gradient.size  # which keeps more of them
    assert len(residuals(PLAIN, *given)) > 2


@pytest.mark.parametrize("target", kernels.TARGETS)
@pytest.mark.parametrize(
    ("limit", "features", "remat", "rematerialised"),
    [(8, 8, True, True), (8, 8, False, False), (8, 7, True, False), (7, 8, True, False)],
)
def test_a_cheap_matmul_no_narrower_than_its_input_is_rematerialised(
    limit, features, remat, rematerialised, target, monkeypatch
):
    monkeypatch.setattr(fire, "NEXT_TO_NOTHING", 0)
    monkeypatch.setattr(fire, "CHEAP", limit)
    *given, gradient = inputs(4, 64, 8, features=features, counts=True)
    kept = residuals(kernels.operations(target, remat=remat), *given, counts=True)
    assert ((gradient.size, "float32") in kept) != rematerialised and (given[0].size, "uint8") in kept


@pytest.mark.parametrize("target", kernels.TARGETS)
def test_a_matmul_of_next_to_nothing_is_always_rematerialised(target):
    *given, _ = inputs(4, 64, 8)
    assert residuals(kernels.operations(target, in_bytes=False), *given) == [(given[0].size, "float32")]


def test_an_accelerator_takes_layers_of_one_input_as_one_matmul():
    x, *layer, _ = inputs(4, 3, 8)

    def three(ops):
        return str(jax.make_jaxpr(lambda x: ops.matmul_norm_lif(ops.linear, x, [tuple(layer)] * 3)[0][0])(x))

    assert [three(ops).count("dot_general[") for ops in OPS.values()] == [3, 3, 1]
