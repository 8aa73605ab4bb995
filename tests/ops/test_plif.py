"""Tests of stata_jax.ops.lif.plif against differences in float64, and against `lif`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.ops.lif import lif, plif

CONSTANTS = [
    dict(threshold=1.0, reset=0.0, alpha=4.0),
    dict(threshold=0.4, reset=-0.5, alpha=8.0),
]


def currents(timesteps, seed=0):
    random = np.random.RandomState(seed)
    return jnp.asarray(1.5 * random.randn(timesteps, 3, 20) + 1, jnp.float32)


def loop(x, leak, gradient, *, threshold, reset, alpha):
    """Spikes of the equations in float64, and by the chain rule the gradients of the currents and of the leak.

    The membrane of each neuron carries its derivatives by all currents and by the leak; a spike resets them.
    """
    x, timesteps = x.astype(np.float64), len(x)
    spikes, of_current, of_leak = np.zeros_like(x), np.zeros_like(x), 0.0
    for place in np.ndindex(x.shape[1:]):
        v, by_current, by_leak = reset, np.zeros(timesteps), 0.0
        for t in range(timesteps):
            current = x[(t, *place)]
            by_current, by_leak = by_current * (1 - leak), by_leak * (1 - leak) + current - (v - reset)
            by_current[t] += leak
            h = v + (current - (v - reset)) * leak
            sigmoid = 1 / (1 + np.exp(-alpha * (h - threshold)))
            weight = gradient[(t, *place)] * alpha * sigmoid * (1 - sigmoid)
            of_current[(slice(None), *place)] += weight * by_current
            of_leak += weight * by_leak
            if h >= threshold:
                spikes[(t, *place)] = 1
                v, by_current, by_leak = reset, np.zeros(timesteps), 0.0
            else:
                v = h
    return spikes, of_current, of_leak


@pytest.mark.parametrize("constants", CONSTANTS)
@pytest.mark.parametrize(("timesteps", "leak"), [(1, 0.5), (4, 0.5), (4, 0.8), (17, 0.31)])
def test_spikes_and_gradients_match_the_loop(constants, timesteps, leak):
    x = currents(timesteps)
    gradient = np.random.RandomState(1).randn(*x.shape).astype(np.float32)
    spikes, pull = jax.vjp(lambda x, leak: plif(x, leak, **constants), x, jnp.float32(leak))
    of_current, of_leak = pull(jnp.asarray(gradient))
    expected, expected_current, expected_leak = loop(np.asarray(x), leak, gradient, **constants)
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_allclose(of_current, expected_current, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(of_leak, expected_leak, rtol=1e-4, atol=1e-4)
    assert abs(float(of_leak)) > 1e-2


def test_it_is_lif_where_the_time_constant_is_fixed():
    x = currents(4)
    np.testing.assert_array_equal(plif(x, jnp.float32(0.5)), lif(x, tau=2.0))


def test_bfloat16_currents_keep_a_float32_membrane():
    x = currents(4).astype(jnp.bfloat16)
    spikes = plif(x, jnp.float32(0.7))
    assert spikes.dtype == jnp.bfloat16
    np.testing.assert_array_equal(spikes.astype(jnp.float32), plif(x.astype(jnp.float32), jnp.float32(0.7)))


@pytest.mark.parametrize(
    ("arguments", "constants", "message"),
    [
        ((jnp.zeros(()), 0.5), {}, r"shape \(T, ...\)"),
        ((jnp.zeros((2, 3), jnp.int32), 0.5), {}, "int32: convert"),
        ((jnp.zeros((2, 3)), jnp.ones(3)), {}, r"one for all neurons of a layer, got shape \(3,\)"),
        ((jnp.zeros((2, 3)), 0.5), {"alpha": 0.0}, "alpha is 0.0"),
        ((jnp.zeros((2, 3)), 0.5), {"threshold": 0.0}, "threshold is 0.0"),
    ],
)
def test_bad_arguments(arguments, constants, message):
    with pytest.raises(ValueError, match=message):
        plif(*arguments, **constants)
