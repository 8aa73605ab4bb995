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
from operation_cases import BATCH, CASES, Case, numbers

from stata_jax import speed
from stata_jax.kernels import tiles
from stata_jax.pruning.select import stable_slots


def slots(_, __, x, values):
    """No gradient passes the order itself: tokens in their slots."""
    places = jnp.argsort(x, axis=-1)[..., :5]
    index = stable_slots(jnp.broadcast_to(jnp.arange(5), places.shape), places)
    return jnp.take_along_axis(values, index, axis=-1)


OPERATIONS = CASES | {"stable_slots": Case(slots, [numbers(4, BATCH, 9), numbers(4, BATCH, 5)], [1, 1])}


def value_and_gradients(name, ops, axis_name, weight, *operands, summed):
    """The result, and the gradients of its weighted sum over the whole batch."""
    function, _, axes = OPERATIONS[name]

    def total(*operands):
        y = function(ops, axis_name, *operands)
        return jnp.sum(y * weight), y

    gradients, y = jax.grad(total, argnums=tuple(range(len(operands))), has_aux=True)(*operands)
    if summed:  # else JAX has done it
        pairs = zip(gradients, axes, strict=True)
        gradients = tuple(jax.lax.psum(x, axis_name) if axis is None else x for x, axis in pairs)
    return y, *gradients


def weight_of(name):
    function, operands, _ = OPERATIONS[name]
    shape = jax.eval_shape(lambda *given: function(speed.operations("plain"), None, *given), *operands).shape
    return np.random.RandomState(99).randn(*shape).astype(np.float32)  # unlike any operand


def run(engine, name, ops):
    _, operands, axes = OPERATIONS[name]
    summed = engine in ("pmap", "shard_map_unchecked")
    function = functools.partial(value_and_gradients, name, ops, summed=summed)
    return engines.run(engine, function, [weight_of(name), *operands], (axes[0], *axes), (axes[0], *axes))


def save(path, kernels):
    """What a process with several devices runs, with many tiles."""
    tiles.TILE = 24
    ops = speed.operations(kernels, remat=True)
    found, failures = {"devices": jax.device_count()}, {}
    for name in OPERATIONS:
        for engine in engines.ENGINES:
            try:
                arrays = run(engine, name, ops)
            except Exception as error:
                failures[f"{name}/{engine}/failure"] = f"{type(error).__name__}: {error}"[:400]
                continue
            found |= {f"{name}/{engine}/{i}": array for i, array in enumerate(arrays)}
    np.savez(path, **found, **failures)


@pytest.fixture(scope="module", params=[(2, "plain"), (4, "cpu"), (2, "gpu")], ids=str)
def on_devices(request, tmp_path_factory):
    """Values and gradients of all operations, from a process with several devices."""
    count, kernels = request.param
    out, here = tmp_path_factory.mktemp("sharded") / "found.npz", pathlib.Path(__file__)
    folders = [str(here.parent), str(here.parents[1] / "helpers")]
    code = f"import sys; sys.path[:0] = {folders!r}; import {here.stem} as t; t.save({str(out)!r}, {kernels!r})"
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(count)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=600)
    found = dict(np.load(out))
    assert found["devices"] == count
    return found


@pytest.fixture(scope="module")
def on_one_device():
    plain = speed.operations("plain")

    @functools.cache
    def found(name):
        function = functools.partial(value_and_gradients, name, plain, None, summed=False)
        return jax.jit(function)(weight_of(name), *OPERATIONS[name].operands)

    return found


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
