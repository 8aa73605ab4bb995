"""Tests of stata_jax.ops.lif and of its kernels against NumPy loops in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax import speed
from stata_jax.ops.lif import lif, spike

CONSTANTS = [
    dict(tau=2.0, threshold=1.0, reset=0.0, alpha=4.0),
    dict(tau=2.0, threshold=0.5, reset=0.0, alpha=4.0),
    dict(tau=1.5, threshold=1.0, reset=0.25, alpha=2.0),
    dict(tau=3.0, threshold=0.4, reset=-0.5, alpha=8.0),
    dict(tau=1.0, threshold=1.0, reset=0.0, alpha=4.0),
]
# 17 steps are more than an accelerator unrolls.
CASES = [(4, constants) for constants in CONSTANTS] + [(1, CONSTANTS[3]), (16, CONSTANTS[0]), (17, CONSTANTS[2])]


def currents(timesteps, shape=(3, 20), seed=0):
    """Currents about the threshold: silence, single spikes and firing at every step all occur."""
    random = np.random.RandomState(seed)
    return (1.5 * random.randn(timesteps, *shape) + 1).astype(np.float32)


def loop(x, *, tau, threshold, reset, alpha):
    """Equations 1-3 in float64, neuron by neuron: spikes and potentials before the reset."""
    x = x.astype(np.float64)
    spikes, potentials = np.zeros_like(x), np.zeros_like(x)
    for place in np.ndindex(x.shape[1:]):
        v = reset
        for t in range(len(x)):
            h = v + (x[(t, *place)] - (v - reset)) / tau
            fires = h >= threshold
            spikes[(t, *place)], potentials[(t, *place)] = fires, h
            v = reset if fires else h
    return spikes, potentials


def loop_gradient(gradient, spikes, potentials, *, tau, threshold, reset, alpha):
    """The chain rule in float64: each current reaches its own spike and, while the neuron is silent, later ones."""
    timesteps = len(gradient)
    current_gradient = np.zeros(gradient.shape)
    for place in np.ndindex(gradient.shape[1:]):
        for t in range(timesteps):
            reach = 1 / tau  # dH[later] / dX[t]
            for later in range(t, timesteps):
                sigmoid = 1 / (1 + np.exp(-alpha * (potentials[(later, *place)] - threshold)))
                slope = alpha * sigmoid * (1 - sigmoid)
                current_gradient[(t, *place)] += gradient[(later, *place)] * slope * reach
                if spikes[(later, *place)]:
                    break
                reach *= 1 - 1 / tau
    return current_gradient


@functools.partial(jax.jit, static_argnames=("function", "tau", "threshold", "reset", "alpha"))
def run(function, x, gradient, **constants):
    """Spikes, and the gradient of the currents for a gradient of the spikes, in one compiled program."""
    spikes, pull = jax.vjp(functools.partial(function, **constants), x)
    return spikes, pull(gradient)[0]


@pytest.mark.parametrize("kernels", ["plain", "cpu", "gpu"])
@pytest.mark.parametrize(("timesteps", "constants"), CASES)
def test_spikes_and_gradient_match_the_loops(timesteps, constants, kernels):
    x = currents(timesteps)
    expected, potentials = loop(x, **constants)
    # No potential is so near the threshold that rounding decides; both outcomes are common.
    assert np.abs(potentials - constants["threshold"]).min() > 1e-5
    assert 0.1 < expected.mean() < 0.9
    gradient = np.random.RandomState(1).randn(*x.shape).astype(np.float32)
    expected_gradient = loop_gradient(gradient, expected, potentials, **constants)
    spikes, actual_gradient = run(speed.operations(kernels).lif, jnp.asarray(x), jnp.asarray(gradient), **constants)
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_allclose(actual_gradient, expected_gradient, rtol=1e-4, atol=1e-5)


def test_the_surrogate_is_the_slope_of_a_sigmoid():
    potential = np.linspace(-3, 3, 25)
    alpha, step = 3.0, 1e-6
    sigmoid = lambda u: 1 / (1 + np.exp(-alpha * u))  # noqa: E731
    slope = (sigmoid(potential + step) - sigmoid(potential - step)) / (2 * step)
    spikes, tangent = jax.jvp(lambda u: spike(u, alpha), (jnp.asarray(potential, jnp.float32),), (jnp.ones(25),))
    np.testing.assert_array_equal(spikes, potential >= 0)
    np.testing.assert_allclose(tangent, slope, rtol=1e-4, atol=1e-6)


def test_equality_fires():
    x = jnp.asarray([[2.0, np.nextafter(np.float32(2), np.float32(0)), 2.5, 2.4999998]], jnp.float32)
    assert lif(x[:, :2]).tolist() == [[1, 0]]  # H = X / 2
    assert lif(x[:, 2:], threshold=0.75, reset=-0.5).tolist() == [[1, 0]]  # H = -0.5 + X / 2


def test_membrane_integrates_leaks_and_resets():
    x = jnp.asarray([1.0, 1.5, 0.5, 1.875, 1.0], jnp.float32)  # H = 0.5, 1 (spike), 0.25, 1.0625 (spike), 0.5
    assert lif(x).tolist() == [0, 1, 0, 1, 0]


def test_a_chain_of_neurons_fires_at_every_step():
    x = jnp.full((4, 3), 10.0)
    for _ in range(8):
        spikes = lif(x)
        np.testing.assert_array_equal(spikes, np.ones((4, 3)))  # no layer delays the next
        x = 3.0 * spikes


@pytest.mark.parametrize("k", [1, 3, 5])
def test_spikes_do_not_depend_on_the_future(k):
    x = jnp.asarray(currents(6, seed=4))
    first = (jnp.arange(6) < k).astype(jnp.float32)[:, None, None]
    spikes, gradient = run(lif, x, jnp.broadcast_to(first, x.shape))
    np.testing.assert_array_equal(spikes[:k], lif(x[:k]))
    assert not np.any(gradient[k:]) and np.all(gradient[k - 1] > 0)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_membrane_is_float32_whatever_the_input(dtype):
    x = jnp.asarray(currents(6, shape=(20000,), seed=5), dtype)
    spikes, gradient = run(lif, x, jnp.ones_like(x), tau=1.5)
    assert spikes.dtype == gradient.dtype == dtype
    wide = x.astype(jnp.float32)
    wide_spikes, wide_gradient = run(lif, wide, jnp.ones_like(wide), tau=1.5)
    np.testing.assert_array_equal(spikes.astype(jnp.float32), wide_spikes)
    np.testing.assert_allclose(gradient.astype(jnp.float32), wide_gradient, rtol=0.01, atol=1e-6)

    narrow = np.dtype(dtype).type
    v, flipped = np.zeros(x.shape[1:], dtype), 0
    for current, fired in zip(np.asarray(x), np.asarray(spikes), strict=True):
        h = v + (current - v) / narrow(1.5)
        flipped += np.sum((h >= 1) != (fired == 1))
        v = np.where(h >= 1, narrow(0), h)
    assert v.dtype == dtype and flipped > 0  # a narrow membrane would show


def test_jit_and_vmap_agree():
    x, gradient = (jnp.asarray(currents(4, seed=seed)) for seed in (6, 7))
    both = functools.partial(run.__wrapped__, lif, tau=1.5)
    spikes, input_gradient = both(x, gradient)
    for other in (jax.jit(both), jax.jit(jax.vmap(both, in_axes=1, out_axes=1))):
        np.testing.assert_array_equal(other(x, gradient)[0], spikes)
        np.testing.assert_allclose(other(x, gradient)[1], input_gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("current", "constants", "message"),
    [
        (jnp.zeros(()), {}, r"T >= 1, got \(\)"),
        (jnp.zeros((0, 3)), {}, r"T >= 1, got \(0, 3\)"),
        (jnp.zeros((2, 3), jnp.int32), {}, "floating-point currents, got int32"),
        (jnp.zeros((2, 3), jnp.bool_), {}, "floating-point currents, got bool"),
        (jnp.zeros((2, 3)), {"tau": 0.99}, "tau is 0.99"),
        (jnp.zeros((2, 3)), {"tau": -2.0}, "tau is -2.0"),
        (jnp.zeros((2, 3)), {"threshold": 0.0}, "threshold is 0.0, which is not above the reset potential 0.0"),
        (jnp.zeros((2, 3)), {"threshold": 0.5, "reset": 0.75}, "not above the reset potential 0.75"),
    ],
)
def test_bad_input(current, constants, message):
    with pytest.raises(ValueError, match=message):
        lif(current, **constants)
