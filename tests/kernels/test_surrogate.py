"""Tests of stata_jax.ops.surrogate: the step, and the slope against differences of a NumPy sigmoid."""

import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.ops.surrogate import sigmoid_slope, spike


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_spike_is_a_step_that_includes_zero(dtype):
    potential = jnp.asarray([-np.inf, -1.0, -1e-30, -0.0, 0.0, 1e-30, 1.0, np.inf], dtype)
    spikes = spike(potential)
    assert spikes.dtype == dtype
    assert spikes.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("alpha", [1.0, 4.0, 7.5])
def test_slope_is_the_derivative_of_a_sigmoid(alpha):
    u, h = np.linspace(-3, 3, 61), 1e-5
    expected = (1 / (1 + np.exp(-alpha * (u + h))) - 1 / (1 + np.exp(-alpha * (u - h)))) / (2 * h)
    slope = sigmoid_slope(jnp.asarray(u, jnp.float32), alpha=alpha)
    np.testing.assert_allclose(slope, expected, rtol=2e-4, atol=2e-6)
    assert float(slope[30]) == alpha / 4  # u = 0
    assert int(jnp.argmax(slope)) == 30


def test_slope_has_unit_area_and_vanishes_far_away():
    u = np.arange(-10, 10, 0.01)
    assert abs(float(jnp.sum(sigmoid_slope(jnp.asarray(u, jnp.float32), alpha=4.0))) * 0.01 - 1) < 1e-4
    np.testing.assert_array_equal(sigmoid_slope(jnp.asarray([-1e30, 1e30], jnp.float32), alpha=4.0), [0, 0])


def test_slope_keeps_the_type():
    slope = sigmoid_slope(jnp.asarray([0.0], jnp.bfloat16), alpha=4.0)
    assert slope.dtype == jnp.bfloat16 and slope.tolist() == [1]
