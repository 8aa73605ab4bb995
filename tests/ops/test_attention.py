"""Tests of stata_jax.ops.attention against a loop over heads, in exact integers."""

import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.ops.attention import spiking_attention

T, B, D = 2, 3, 12


def spikes(n, seed):
    return np.random.RandomState(seed).randint(0, 2, (T, B, n, D))


def loop(q, k, v, heads):
    """(Q K^T) V in integers, head by head."""
    out, d = np.zeros(q.shape, np.int64), D // heads
    for t, b, h in np.ndindex(T, B, heads):
        part = slice(h * d, (h + 1) * d)
        out[t, b, :, part] = (q[t, b, :, part] @ k[t, b, :, part].T) @ v[t, b, :, part]
    return out


# With 3 heads of width 4: more tokens than head channels, as many, fewer.
@pytest.mark.parametrize("n", [1, 3, 4, 5, 17])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_both_orders_are_exact(n, dtype):
    q, k, v = (spikes(n, seed) for seed in range(3))
    expected = loop(q, k, v, heads=3)
    out = spiking_attention(*(jnp.asarray(x, dtype) for x in (q, k, v)), heads=3, scale=0.125)
    assert out.dtype == dtype and out.shape == (T, B, n, D)
    np.testing.assert_array_equal(8 * out.astype(jnp.float32), expected)


@pytest.mark.parametrize(("heads", "n"), [(1, 5), (2, 7), (12, 2)])
def test_heads(heads, n):
    q, k, v = (spikes(n, seed) for seed in range(3, 6))
    out = spiking_attention(*(jnp.asarray(x, jnp.float32) for x in (q, k, v)), heads=heads, scale=0.5)
    np.testing.assert_array_equal(2 * out, loop(q, k, v, heads))
