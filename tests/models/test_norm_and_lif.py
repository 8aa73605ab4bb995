"""Tests of the layers `BatchNorm` and `LIF` against NumPy in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from norms import normal, normalise, run, statistics

from stata_jax.models.layers import LIF, BatchNorm, LayerConfig
from stata_jax.ops.lif import lif

KEY = jax.random.key(0)


@pytest.mark.parametrize(("shape", "repeats"), [((3, 4, 2, 2, 5), 1), ((6, 5), 1), ((6, 5), 4)])
def test_batch_norm_in_training(shape, repeats):
    x, variables = 3 * normal(*shape) + 2, statistics(5)
    y, updates = run(BatchNorm(repeats=repeats), variables, jnp.asarray(x), train=True)
    rows = np.repeat(x.reshape(-1, 5).astype(np.float64), repeats, axis=0)
    np.testing.assert_allclose(y, normalise(x, variables["params"], rows.mean(0), rows.var(0)), rtol=1e-4, atol=1e-5)
    running = variables["batch_stats"]
    expected_mean = 0.9 * running["mean"] + 0.1 * rows.mean(0)
    expected_var = 0.9 * running["var"] + 0.1 * rows.var(0, ddof=1)  # torch's: the unbiased one
    np.testing.assert_allclose(updates["batch_stats"]["mean"], expected_mean, rtol=1e-5)
    np.testing.assert_allclose(updates["batch_stats"]["var"], expected_var, rtol=1e-5)


def test_batch_norm_in_evaluation():
    x, variables = normal(6, 5), statistics(5)
    y, updates = run(BatchNorm(), variables, jnp.asarray(x), train=False)
    np.testing.assert_allclose(y, normalise(x, variables["params"], **variables["batch_stats"]), rtol=1e-4, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, updates["batch_stats"], variables["batch_stats"])


def test_batch_norm_keeps_its_digits_at_a_large_mean():
    x = normal(4096, 2) + np.asarray([1000, -3000], np.float32)
    variables = {
        "params": {"scale": np.ones(2, np.float32), "bias": np.zeros(2, np.float32)},
        "batch_stats": {"mean": np.zeros(2, np.float32), "var": np.zeros(2, np.float32)},
    }
    y, updates = run(BatchNorm(), variables, jnp.asarray(x), train=True)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(10 * updates["batch_stats"]["var"], exact.var(0, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(y, (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5), atol=2e-3)


def test_batch_norm_starts_as_torch_does():
    variables = BatchNorm().init(KEY, jnp.asarray(normal(6, 3) + 5), train=True)
    np.testing.assert_array_equal(variables["params"]["scale"], np.ones(3))
    np.testing.assert_array_equal(variables["params"]["bias"], np.zeros(3))
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], np.zeros(3))  # initialising is no training step
    np.testing.assert_array_equal(variables["batch_stats"]["var"], np.ones(3))


def test_batch_norm_over_devices_is_that_of_the_whole_batch():
    x, variables = jnp.asarray(normal(4, 6, 5) * np.arange(1, 5, dtype=np.float32)[:, None, None]), statistics(5)
    whole, whole_updates = run(BatchNorm(), variables, x, train=True)
    layer = BatchNorm(LayerConfig(axis_name="batch"))
    part = functools.partial(run.__wrapped__, layer, variables, train=True)
    parts, updates = jax.jit(jax.vmap(part, out_axes=(0, None), axis_name="batch"))(x)
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), updates, whole_updates)


def test_batch_norm_of_one_value_is_finite():
    y, updates = run(BatchNorm(), statistics(5), jnp.asarray(normal(1, 5)), train=True)
    np.testing.assert_allclose(y, statistics(5)["params"]["bias"][None], rtol=1e-6)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(updates))


def test_batch_norm_statistics_of_bfloat16_are_float32():
    x, variables = jnp.asarray(normal(64, 5), jnp.bfloat16), statistics(5)
    y, updates = run(BatchNorm(), variables, x, train=True)
    wide, wide_updates = run(BatchNorm(), variables, x.astype(jnp.float32), train=True)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), wide, rtol=0.01, atol=1e-3)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), updates, wide_updates)


def test_lif_layer_returns_spikes_and_leaves_their_rate():
    current = jnp.asarray(2 * normal(4, 2, 5) + 1, jnp.bfloat16)
    layer = LIF(LayerConfig(tau=1.5, alpha=2.0), threshold=0.5)
    spikes, seen = layer.apply({}, current, mutable=["intermediates"])
    (rate,) = seen["intermediates"]["rate"]
    assert spikes.dtype == jnp.bfloat16 and rate.dtype == jnp.float32 and rate.shape == ()
    np.testing.assert_array_equal(spikes, lif(current, tau=1.5, threshold=0.5, alpha=2.0))
    np.testing.assert_allclose(rate, np.mean(np.asarray(spikes, np.float64)), rtol=1e-6)
    assert 0 < rate < 1

    def gradient(function):
        return jax.grad(lambda x: jnp.sum(function(x)))(current.astype(jnp.float32))

    expected = gradient(functools.partial(lif, tau=1.5, threshold=0.5, alpha=2.0))
    np.testing.assert_array_equal(gradient(lambda x: layer.apply({}, x)), expected)
