"""Tests of stata_jax.kernels.bits: words and timesteps apart are what they stand for."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels import bits, hardware
from stata_jax.kernels.lif import Neuron, charge_and_fire, fire_and_count, fire_in_words


@pytest.mark.parametrize(("platform", "timesteps", "suits"), [("cpu", 4, False), ("gpu", 16, True), ("tpu", 17, False)])
def test_few_timesteps_suit_an_accelerator(platform, timesteps, suits, monkeypatch):
    monkeypatch.setattr(hardware, "platform", lambda: platform)
    assert bits.suits(timesteps) == suits


@hypothesis.given(st.integers(1, bits.MOST), st.integers(0, 2**32 - 1))
def test_words_hold_a_bit_for_each_timestep(timesteps, seed):
    spikes = np.random.RandomState(seed).randint(0, 2, (timesteps, 3, 2))
    words = sum(spikes[t].astype(np.int64) << t for t in range(timesteps))
    words = jnp.asarray(words, bits.word_type(timesteps))
    read, count = bits.read_words(words, timesteps, jnp.float32)
    np.testing.assert_array_equal(read, spikes)
    assert read.dtype == jnp.float32 and int(count) == spikes.sum()
    written = bits.write_words(read)
    np.testing.assert_array_equal(written, words)
    assert written.dtype == words.dtype


@pytest.mark.parametrize("timesteps", [1, 2, 8, 9, 16])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("reset", "lean"), [(0.0, True), (0.0, False), (-0.5, True)])
def test_neurons_fire_in_words_as_they_do_in_steps(timesteps, dtype, reset, lean, accelerator):
    neuron = Neuron(2.0, 1.0, reset, 4.0, lean)
    current = jnp.asarray(3 * np.random.RandomState(0).randn(timesteps, 4, 5) + 1, dtype)
    spikes = charge_and_fire(neuron, current, unroll=1)[0]
    words = fire_in_words(neuron, current)
    assert words.shape == (4, 5) and words.dtype == bits.word_type(timesteps)
    read, count = fire_and_count(neuron, current, unroll=1)
    np.testing.assert_array_equal(read, spikes)
    assert read.dtype == spikes.dtype == (jnp.uint8 if lean else dtype)
    assert 0 < int(count) == np.sum(spikes) < spikes.size


def test_many_timesteps_are_not_put_into_words(accelerator):
    neuron = Neuron(2.0, 1.0, 0.0, 4.0, False)
    current = jnp.asarray(np.random.RandomState(0).randn(bits.MOST + 1, 20), jnp.float32)
    jaxpr = str(jax.make_jaxpr(lambda x: fire_and_count(neuron, x, unroll=1))(current))
    assert "uint" not in jaxpr and "u16" not in jaxpr and "u8" not in jaxpr


def test_timesteps_apart_are_the_same_array(accelerator):
    x = jnp.arange(24.0).reshape(4, 3, 2)
    np.testing.assert_array_equal(bits.apart(x), x)
    assert "optimization_barrier" in str(jax.make_jaxpr(bits.apart)(x))


def test_a_processor_keeps_timesteps_together():
    assert "optimization_barrier" not in str(jax.make_jaxpr(bits.apart)(jnp.ones((4, 3))))


def test_parts_of_the_last_axis_and_their_gradients():
    x = jnp.arange(24.0).reshape(4, 6)
    parts, pull = jax.vjp(lambda x: bits.split(x, 3), x)
    np.testing.assert_array_equal(parts, np.split(x, 3, axis=1))
    np.testing.assert_array_equal(pull(parts)[0], x)
