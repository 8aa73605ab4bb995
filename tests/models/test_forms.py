"""What runs on accelerators is the same as what runs on a processor: values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels import hardware, winograd
from stata_jax.kernels.fire import Constants, normalize_and_fire, product_and_fire
from stata_jax.kernels.lif import Neuron, lif
from stata_jax.kernels.matmul import convolve
from stata_jax.kernels.norm import normalize
from stata_jax.kernels.plif import plif
from stata_jax.kernels.pool import max_pool


def normal(*shape, seed=0):
    return jnp.asarray(1.5 * np.random.RandomState(seed).randn(*shape) + 0.5, jnp.float32)


CASES = {
    "lif": (lif, [normal(4, 3, 5, 6)]),
    "lif, more steps than are unrolled": (lif, [normal(17, 3, 6)]),
    "plif": (plif, [normal(4, 3, 5, 6), jnp.asarray(0.4, jnp.float32)]),
    "normalize": (lambda *x: normalize(*x, 1e-5, None)[0], [normal(2, 3, 4, 5), normal(5), normal(5, seed=1)]),
    "normalize_and_fire": (
        lambda *x: normalize_and_fire(*x, Constants(Neuron(2.0, 1.0, 0.0, 4.0, True), 1e-5))[0],
        [normal(4, 3, 5, 6), normal(6), normal(6, seed=1)],
    ),
    "normalize_and_fire, one timestep for several": (
        lambda *x: normalize_and_fire(*x, Constants(Neuron(2.0, 1.0, 0.0, 4.0, True), 1e-5, repeats=4))[0],
        [normal(1, 3, 5, 6), normal(6), normal(6, seed=1)],
    ),
    "normalize_and_fire, one timestep": (
        lambda *x: normalize_and_fire(*x, Constants(Neuron(2.0, 1.0, 0.0, 4.0, False), 1e-5))[0],
        [normal(1, 3, 5, 6), normal(6), normal(6, seed=1)],
    ),
    "normalize_and_fire, number of spikes": (
        lambda *x: normalize_and_fire(*x, Constants(Neuron(2.0, 1.0, 0.0, 4.0, True), 1e-5))[1],
        [normal(4, 3, 5, 6), normal(6), normal(6, seed=1)],
    ),
    "product_and_fire": (
        lambda x, weight, *norm: product_and_fire(
            jnp.dot, False, x, weight, *norm, Constants(Neuron(2.0, 1.0, 0.0, 4.0, True), 1e-5)
        )[0],
        [normal(4, 3, 5, 2), normal(2, 6, seed=3), normal(6), normal(6, seed=1)],
    ),
    "max_pool": (max_pool, [jnp.round(normal(3, 4, 6, 2))]),
    "max_pool, lean": (lambda x: max_pool(x, True), [(normal(3, 4, 6, 2) > 0).astype(jnp.float32)]),
    "convolve": (convolve, [normal(3, 4, 6, 2), normal(3, 3, 2, 5)]),
    "convolve, many channels": (convolve, [0.05 * normal(8, 8, 8, 32), 0.05 * normal(3, 3, 32, 32)]),
    "convolve, lean": (lambda *x: convolve(*x, True), [jnp.round(normal(3, 4, 6, 2) ** 2), normal(3, 3, 2, 5)]),
}


@pytest.mark.parametrize("name", CASES)
def test_forms_agree(name, monkeypatch):
    function, inputs = CASES[name]

    def both():
        y, pull = jax.vjp(function, *inputs)
        return y, pull(normal(*y.shape, seed=2))

    processor = both()
    taken = []

    def accelerator():
        taken.append(True)
        return "gpu"

    def chosen(*arrays, cpu, default):
        taken.append(cpu)
        return default(*arrays)

    monkeypatch.setattr(hardware, "platform", accelerator)
    monkeypatch.setattr(jax.lax, "platform_dependent", chosen)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), both(), processor)
    assert True in taken
    for form in (winograd.convolve, winograd.input_gradient):
        assert (form in taken) == (name == "convolve, many channels")
