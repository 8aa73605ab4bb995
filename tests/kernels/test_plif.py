"""Tests of stata_jax.kernels.plif against `lif` and against plain autodiff through a scan."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels.lif import lif
from stata_jax.kernels.plif import plif

CONSTANTS = [
    dict(threshold=1.0, reset=0.0, alpha=4.0),
    dict(threshold=0.4, reset=-0.5, alpha=8.0),
]


def currents(timesteps, seed=0):
    random = np.random.RandomState(seed)
    return jnp.asarray(1.5 * random.randn(timesteps, 3, 20) + 1, jnp.float32)


@jax.custom_jvp
def plain_spike(u, alpha):
    return jnp.where(u >= 0, 1.0, 0.0)


@plain_spike.defjvp
def _(primals, tangents):
    u, alpha = primals
    s = jax.nn.sigmoid(alpha * u)
    return plain_spike(u, alpha), alpha * s * (1 - s) * tangents[0]


def plain_plif(x, leak, *, threshold, reset, alpha):
    """The neuron as autodiff sees it, with the spike detached in the reset."""

    def step(v, current):
        h = v + (current - (v - reset)) * leak
        s = plain_spike(h - threshold, alpha)
        kept = jax.lax.stop_gradient(s)
        return h * (1 - kept) + reset * kept, s

    return jax.lax.scan(step, jnp.full(x.shape[1:], reset), x)[1]


@pytest.mark.parametrize("constants", CONSTANTS)
@pytest.mark.parametrize(("timesteps", "leak"), [(1, 0.5), (4, 0.5), (4, 0.8), (17, 0.31)])
def test_spikes_and_gradients_match_plain_autodiff(constants, timesteps, leak):
    x, leak = currents(timesteps), jnp.float32(leak)
    weight = jnp.asarray(np.random.RandomState(1).randn(*x.shape), jnp.float32)

    def total(neuron):
        return jax.jit(jax.value_and_grad(lambda x, leak: jnp.sum(weight * neuron(x, leak, **constants)), (0, 1)))

    value, (of_current, of_leak) = total(plif)(x, leak)
    expected, (current_gradient, leak_gradient) = total(plain_plif)(x, leak)
    np.testing.assert_array_equal(plif(x, leak, **constants), plain_plif(x, leak, **constants))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(of_current, current_gradient, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(of_leak, leak_gradient, rtol=1e-4)
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
