"""Tests of stata_jax.models.initial: bounds and spread of the initial weights."""

import jax
import numpy as np

from stata_jax.models.initial import normal_002, torch_bias, torch_uniform

KEY = jax.random.key(0)


def test_initial_values_are_those_of_torch():
    fan_in = 3 * 3 * 16
    kernel = np.asarray(torch_uniform(KEY, (3, 3, 16, 32)))
    bias = np.asarray(torch_bias(fan_in)(KEY, (4000,)))
    for values in (kernel, bias):
        bound = fan_in**-0.5
        assert np.abs(values).max() <= bound
        assert values.max() > 0.99 * bound and values.min() < -0.99 * bound
        np.testing.assert_allclose(values.std(), bound / 3**0.5, rtol=0.03)
    weights = np.asarray(normal_002(KEY, (100, 100)))
    np.testing.assert_allclose(weights.std(), 0.02, rtol=0.03)
    assert abs(weights.mean()) < 1e-3
