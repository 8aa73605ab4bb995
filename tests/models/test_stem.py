"""Tests of stata_jax.models.stem: which form of the pool a stage takes."""

import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels import bit_pool
from stata_jax.models.layers import Parts
from stata_jax.models.stem import PatchEmbedding


@pytest.mark.parametrize(
    ("timesteps", "lean", "of_spikes", "in_words"),
    [(8, True, True, True), (9, True, True, False), (4, False, True, False), (4, True, False, False)],
)
def test_an_accelerator_pools_lean_spikes_of_few_timesteps_in_words(
    timesteps, lean, of_spikes, in_words, accelerator, monkeypatch
):
    taken = []
    form = bit_pool.pool_in_words
    monkeypatch.setattr(bit_pool, "pool_in_words", lambda x: taken.append(x.shape) or form(x))
    constants = dict(tau=2.0, threshold=1.0, attention_threshold=0.5, alpha=4.0, learn_tau=False, axis_name=None)
    parts = Parts(**constants, small_conv=False, small_linear=False, dtype=jnp.float32, lean=lean, recompute=False)
    stem = PatchEmbedding(parts, 8, timesteps, "0010", parent=None)
    x = jnp.asarray(np.random.RandomState(0).randint(0, 2, (timesteps, 2, 4, 6, 3)), jnp.float32)
    assert stem.pool(x, 1, of_spikes=of_spikes) is x
    pooled = stem.pool(x, 2, of_spikes=of_spikes)
    assert taken == [x.shape] * in_words
    np.testing.assert_array_equal(pooled[:, :, 1, 1], np.max(x[:, :, 1:4, 1:4], axis=(2, 3)))
