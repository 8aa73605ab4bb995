"""Tests of stata_jax.kernels.bits: bit-packed spikes and timesteps apart are what they stand for."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels import bits
from stata_jax.kernels.lif import charge_and_fire, fire, fire_packed
from stata_jax.kernels.neuron import GPU, Neuron


@hypothesis.given(st.integers(1, bits.MOST), st.integers(0, 2**32 - 1))
def test_there_is_a_bit_for_each_timestep(timesteps, seed):
    spikes = np.random.RandomState(seed).randint(0, 2, (timesteps, 3, 2))
    packed = sum(spikes[t].astype(np.int64) << t for t in range(timesteps))
    packed = jnp.asarray(packed, bits.packed_type(timesteps))
    read = bits.unpack(packed, timesteps, jnp.float32)
    np.testing.assert_array_equal(read, spikes)
    assert read.dtype == jnp.float32
    again = bits.pack(read)
    np.testing.assert_array_equal(again, packed)
    assert again.dtype == packed.dtype


@pytest.mark.parametrize("timesteps", [1, 2, 8, 9, 16])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("reset", "in_bytes"), [(0.0, True), (0.0, False), (-0.5, True)])
def test_neurons_fire_bit_packed_as_they_do_in_steps(timesteps, dtype, reset, in_bytes):
    neuron = Neuron(2.0, 1.0, reset, 4.0, GPU, in_bytes)
    current = jnp.asarray(3 * np.random.RandomState(0).randn(timesteps, 4, 5) + 1, dtype)
    spikes = charge_and_fire(neuron, current, unroll=1)[0]
    packed = fire_packed(neuron, current)
    assert packed.shape == (4, 5) and packed.dtype == bits.packed_type(timesteps)
    read = fire(neuron, current, unroll=1)
    np.testing.assert_array_equal(read, spikes)
    assert read.dtype == spikes.dtype == (jnp.uint8 if in_bytes else dtype)
    assert 0 < np.sum(spikes) < spikes.size


def test_many_timesteps_are_not_packed():
    neuron = Neuron(2.0, 1.0, 0.0, 4.0, GPU, False)
    current = jnp.asarray(np.random.RandomState(0).randn(bits.MOST + 1, 20), jnp.float32)
    jaxpr = str(jax.make_jaxpr(lambda x: fire(neuron, x, unroll=1))(current))
    assert "uint" not in jaxpr and "u16" not in jaxpr and "u8" not in jaxpr


def test_timesteps_apart_are_the_same_array():
    x = jnp.arange(24.0).reshape(4, 3, 2)
    for target, barriers in (("gpu", True), ("cpu", False)):
        apart = functools.partial(bits.apart, target=target)
        np.testing.assert_array_equal(apart(x), x)
        assert ("optimization_barrier" in str(jax.make_jaxpr(apart)(x))) == barriers


def test_parts_of_the_last_axis_and_their_gradients():
    x = jnp.arange(24.0).reshape(4, 6)
    parts, pull = jax.vjp(lambda x: bits.split(x, 3), x)
    np.testing.assert_array_equal(parts, np.split(x, 3, axis=1))
    np.testing.assert_array_equal(pull(parts)[0], x)
