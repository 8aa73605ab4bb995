"""Every kernel against its plain twin in stata_jax.ops: values and gradients, on either target."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from operation_cases import CASES

from stata_jax.kernels import operations as kernels
from stata_jax.kernels import tiles
from stata_jax.ops.operations import PLAIN, Operations

IN_BFLOAT16 = ["lif, T 4", "plif", "normalize", "linear", "convolve, of counts", "max_pool, of spikes"]
MANY_TILES = 24  # values of a tile, so that small arrays are cut as large ones are


@functools.cache
def value_and_gradients(name, ops, dtype):
    """The result of a case, and the gradients of all its operands for a random gradient of the result."""
    function, operands, _ = CASES[name]
    # Scale and bias of a normalisation, and a leak, are float32 whatever the type of the others.
    wide = (1 if "norm" in name or name == "plif" else 0) * (dtype != "float32")
    given = [jnp.asarray(x, "float32" if wide and np.ndim(x) < 2 else dtype) for x in operands]
    shape = jax.eval_shape(lambda *given: function(ops, None, *given), *given).shape
    weight = jnp.asarray(np.random.RandomState(99).randn(*shape), dtype)

    @jax.jit
    def program(weight, *given):
        y, pull = jax.vjp(lambda *given: function(ops, None, *given), *given)
        return y, pull(weight)

    return jax.device_get(program(weight, *given))


def check(name, ops, dtype="float32"):
    (y, gradients), (expected, expected_gradients) = (value_and_gradients(name, each, dtype) for each in (ops, PLAIN))
    assert y.dtype == expected.dtype == dtype
    assert np.any(expected) and any(np.any(gradient) for gradient in expected_gradients)
    bound = 1e-5 if dtype == "float32" else 0.03
    if "lif" in name or "pool" in name:
        np.testing.assert_array_equal(y, expected)
    else:
        np.testing.assert_allclose(*as_float32(y, expected), rtol=bound, atol=bound)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        assert ours.dtype == theirs.dtype
        ours, theirs = as_float32(ours, theirs)
        np.testing.assert_allclose(ours, theirs, rtol=bound, atol=bound * max(1.0, float(np.abs(theirs).max())))


def as_float32(*arrays):
    return [np.asarray(x, np.float32) for x in arrays]


@pytest.mark.parametrize("target", kernels.TARGETS)
@pytest.mark.parametrize("name", CASES)
def test_with_all_that_saves_memory(name, target, monkeypatch):
    if target == "cpu":
        monkeypatch.setattr(tiles, "TILE", MANY_TILES)
    check(name, kernels.operations(target, in_bytes=True, remat=True))


@pytest.mark.parametrize("target", kernels.TARGETS)
@pytest.mark.parametrize("name", [name for name in CASES if "lif" in name or "of" in name or "read" in name])
def test_without_what_saves_memory(name, target):
    check(name, kernels.operations(target, in_bytes=False))


@pytest.mark.parametrize("target", kernels.TARGETS)
@pytest.mark.parametrize(
    "name", ["lif, T 4", "plif", "normalize", "linear", "convolve, of counts", "max_pool, of spikes"]
)
def test_in_bfloat16(name, target):
    check(name, kernels.operations(target), "bfloat16")


@pytest.mark.parametrize("target", kernels.TARGETS)
def test_no_timesteps_are_refused(target):
    with pytest.raises(ValueError, match=r"T >= 1, got \(0, 3\)"):
        kernels.operations(target).lif(jnp.zeros((0, 3)))


def test_equal_choices_are_one_value():
    assert kernels.operations("cpu") is kernels.operations("cpu")
    assert kernels.operations("auto") == kernels.operations("cpu") != kernels.operations("cpu", in_bytes=False)
    assert hash(PLAIN) == hash(Operations()) and Operations() == PLAIN
    with pytest.raises(ValueError, match="no kernels for 'tpu': use auto, cpu, gpu or plain"):
        kernels.operations("tpu")
