"""Every operation with a loop or a gradient of its own, on several devices, however JAX divides the batch over them."""

import functools
import os
import pathlib
import subprocess
import sys

import engines
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels import hardware, tiles
from stata_jax.kernels.bit_pool import pool_in_words
from stata_jax.kernels.bits import split
from stata_jax.kernels.fire import Constants, normalize_and_fire, product_and_fire
from stata_jax.kernels.lif import Neuron, lif
from stata_jax.kernels.matmul import convolve, linear
from stata_jax.kernels.norm import normalize
from stata_jax.kernels.plif import plif
from stata_jax.kernels.pool import max_filter, max_pool
from stata_jax.kernels.residuals import keeping_bytes, read_beside
from stata_jax.ops.attention import spiking_attention
from stata_jax.pruning.select import stable_slots

EPSILON = 1e-5
BATCH = 8


def numbers(*shape):
    """Currents about the threshold, the same for a shape."""
    return (1.5 * np.random.RandomState(sum(shape)).randn(*shape) + 0.7).astype(np.float32)


def spikes(*shape):
    return (np.random.RandomState(sum(shape) + 1).rand(*shape) < 0.4).astype(np.float32)


def fired(axis_name, x, scale, bias, *, lean=False, repeats=1):
    neuron = Neuron(2.0, 1.0, 0.0, 4.0, lean)
    return normalize_and_fire(x, scale, bias, Constants(neuron, EPSILON, axis_name, repeats))[0]


def multiplied_and_fired(axis_name, x, weight, scale, bias, *, lean):
    constants = Constants(Neuron(2.0, 1.0, 0.0, 4.0, lean), EPSILON, axis_name)
    return product_and_fire(lambda x, weights: linear(x, *weights, lean), lean, x, (weight,), scale, bias, constants)[0]


def attended(_, q, k, v):
    return keeping_bytes(functools.partial(spiking_attention, heads=2, scale=0.125), lean=True)(q, k, v)


def read(_, x, spikes, *, lean):
    def sums(spikes, factor):
        return jnp.sum(spikes * factor, axis=-1)

    factor = jnp.arange(3, dtype=jnp.float32)
    x, seen = read_beside(sums, x, (spikes,), factor, lean=lean)
    return x * seen[..., None]


def slots(_, x, values):
    """No gradient passes the order itself: tokens in their slots."""
    places = jnp.argsort(x, axis=-1)[..., :5]
    index = stable_slots(jnp.broadcast_to(jnp.arange(5), places.shape), places)
    return jnp.take_along_axis(values, index, axis=-1)


SCALE, BIAS = numbers(6) ** 2 + 0.5, numbers(6)
SEQUENCE = (4, BATCH, 3, 6)  # (T, B, N, C)
# By name: the operation, its operands, and the axis along which each operand is divided. The result is divided as the
# first one is.
OPERATIONS = {
    "lif": (lambda _, x: lif(x), [numbers(*SEQUENCE)], [1]),
    "lif_lean": (lambda _, x: lif(x, lean=True), [numbers(*SEQUENCE)], [1]),
    "lif_20": (lambda _, x: lif(x), [numbers(20, BATCH, 6)], [1]),
    "plif": (lambda _, x, leak: plif(x, leak), [numbers(*SEQUENCE), np.float32(0.6)], [1, None]),
    "normalize": (
        lambda axis_name, x, *given: normalize(x, *given, EPSILON, axis_name)[0],
        [numbers(*SEQUENCE), SCALE, BIAS],
        [1, None, None],
    ),
    "fire": (fired, [numbers(*SEQUENCE), SCALE, BIAS], [1, None, None]),
    "fire_lean": (functools.partial(fired, lean=True), [numbers(*SEQUENCE), SCALE, BIAS], [1, None, None]),
    "fire_still": (functools.partial(fired, repeats=4), [numbers(1, BATCH, 3, 6), SCALE, BIAS], [1, None, None]),
    "product_and_fire": (
        functools.partial(multiplied_and_fired, lean=False),
        [numbers(*SEQUENCE), numbers(6, 6) - 0.7, SCALE, BIAS],
        [1, None, None, None],
    ),
    "product_and_fire_lean": (
        functools.partial(multiplied_and_fired, lean=True),
        [spikes(*SEQUENCE), numbers(6, 6) - 0.7, SCALE, BIAS],
        [1, None, None, None],
    ),
    "linear": (lambda _, x, weight: linear(x, weight), [numbers(*SEQUENCE), numbers(6, 5)], [1, None]),
    "linear_lean": (lambda _, x, weight: linear(x, weight, True), [spikes(*SEQUENCE), numbers(6, 5)], [1, None]),
    "convolve": (lambda _, x, weight: convolve(x, weight), [numbers(BATCH, 4, 6, 5), numbers(3, 3, 5, 4)], [0, None]),
    "convolve_lean": (
        lambda _, x, weight: convolve(x, weight, True),
        [spikes(BATCH, 4, 6, 5), numbers(3, 3, 5, 4)],
        [0, None],
    ),
    "winograd": (
        lambda _, x, weight: convolve(x, weight),
        [numbers(BATCH, 16, 16, 32), numbers(3, 3, 32, 33)],
        [0, None],
    ),
    "max_pool": (lambda _, x: max_pool(x), [numbers(BATCH, 4, 6, 5)], [0]),
    "max_pool_lean": (lambda _, x: max_pool(x, True), [spikes(BATCH, 4, 6, 5)], [0]),
    "max_filter": (lambda _, x: max_filter(x), [spikes(BATCH, 4, 6, 5)], [0]),
    "pool_in_words": (lambda _, x: pool_in_words(x), [spikes(4, BATCH, 4, 6, 5)], [1]),
    "split": (lambda _, x: jnp.stack(split(x, 3)[::-1], -1), [spikes(*SEQUENCE)], [1]),
    "attention_by_map": (attended, [spikes(4, BATCH, 3, 8)] * 3, [1, 1, 1]),
    "attention_by_sum": (attended, [spikes(4, BATCH, 9, 8)] * 3, [1, 1, 1]),
    "multiply_lean": (
        lambda _, x, y: keeping_bytes(jnp.multiply, lean=True)(x, y),
        [spikes(*SEQUENCE), spikes(4, BATCH, 1, 6)],
        [1, 1],
    ),
    "read_beside": (functools.partial(read, lean=False), [numbers(4, BATCH, 3), spikes(4, BATCH, 3)], [1, 1]),
    "read_beside_lean": (functools.partial(read, lean=True), [numbers(4, BATCH, 3), spikes(4, BATCH, 3)], [1, 1]),
    "stable_slots": (slots, [numbers(4, BATCH, 9), numbers(4, BATCH, 5)], [1, 1]),
}


def value_and_gradients(name, axis_name, weight, *operands, summed):
    """The result, and the gradients of its weighted sum over the whole batch."""
    function, _, axes = OPERATIONS[name]

    def total(*operands):
        y = function(axis_name, *operands)
        return jnp.sum(y * weight), y

    gradients, y = jax.grad(total, argnums=tuple(range(len(operands))), has_aux=True)(*operands)
    if summed:  # else JAX has done it
        pairs = zip(gradients, axes, strict=True)
        gradients = tuple(jax.lax.psum(x, axis_name) if axis is None else x for x, axis in pairs)
    return y, *gradients


def weight_of(name):
    function, operands, _ = OPERATIONS[name]
    shape = jax.eval_shape(lambda *given: function(None, *given), *operands).shape
    return np.random.RandomState(99).randn(*shape).astype(np.float32)  # unlike any operand


def run(engine, name):
    _, operands, axes = OPERATIONS[name]
    summed = engine in ("pmap", "shard_map_unchecked")
    function = functools.partial(value_and_gradients, name, summed=summed)
    return engines.run(engine, function, [weight_of(name), *operands], (axes[0], *axes), (axes[0], *axes))


def save(path, platform):
    """What a process with several devices runs, with many pieces."""
    tiles.PIECE = 24
    hardware.platform = lambda: platform
    found, failures = {"devices": jax.device_count()}, {}
    for name in OPERATIONS:
        for engine in engines.ENGINES:
            try:
                arrays = run(engine, name)
            except Exception as error:
                failures[f"{name}/{engine}/failure"] = f"{type(error).__name__}: {error}"[:400]
                continue
            found |= {f"{name}/{engine}/{i}": array for i, array in enumerate(arrays)}
    np.savez(path, **found, **failures)


@pytest.fixture(scope="module", params=[(2, "cpu"), (4, "cpu"), (2, "gpu")], ids=str)
def on_devices(request, tmp_path_factory):
    """Values and gradients of all operations, from a process with several devices."""
    count, platform = request.param
    out, here = tmp_path_factory.mktemp("sharded") / "found.npz", pathlib.Path(__file__)
    folders = [str(here.parent), str(here.parents[1] / "helpers")]
    code = f"import sys; sys.path[:0] = {folders!r}; import {here.stem} as t; t.save({str(out)!r}, {platform!r})"
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(count)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=600)
    found = dict(np.load(out))
    assert found["devices"] == count
    return found


@pytest.fixture(scope="module")
def on_one_device():
    return functools.cache(
        lambda name: jax.jit(functools.partial(value_and_gradients, name, None, summed=False))(
            weight_of(name), *OPERATIONS[name][1]
        )
    )


@pytest.mark.parametrize("engine", engines.ENGINES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_are_those_of_one_device(name, engine, on_devices, on_one_device):
    assert f"{name}/{engine}/failure" not in on_devices, on_devices[f"{name}/{engine}/failure"]
    expected = on_one_device(name)
    for i, array in enumerate(expected):
        # Sums of thousands round in another order on each device: by their largest entries, not by those that cancel.
        atol = 1e-5 * max(1.0, float(np.max(np.abs(array))))
        np.testing.assert_allclose(on_devices[f"{name}/{engine}/{i}"], array, rtol=1e-4, atol=atol, err_msg=str(i))
    assert np.any(expected[0]) and any(np.any(gradient) for gradient in expected[1:])
