"""What the Spike-driven Transformer has of its own: local maxima on a grid with holes, and masks by sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.models.block import BlockConfig
from stata_jax.models.layers import LayerConfig
from stata_jax.models.sdt import Attention, on_full_grid

T, B, GRID, HEADS, D = 2, 3, (4, 5), 2, 6
PATCHES = GRID[0] * GRID[1]


def positions(kept, seed=0):
    """Distinct patches in no order, others at each timestep, as stable slots have them."""
    random = np.random.RandomState(seed)
    return np.stack([[random.permutation(PATCHES)[:kept] for _ in range(B)] for _ in range(T)]).astype(np.int32)


def tokens(n, seed=1):
    return (np.random.RandomState(seed).rand(T, B, n, D) < 0.3).astype(np.float32)


def around(plane):
    """The maximum of each 3x3 neighbourhood of a plane."""
    rows, columns = plane.shape
    return np.array(
        [[plane[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].max() for j in range(columns)] for i in range(rows)]
    )


def loop(x, at, anchors, *, by_head):
    """The maxima of each timestep, image and channel or head, with zeros where tokens are missing."""
    out = x.copy()
    for t, b in np.ndindex(T, B):
        full = np.zeros((PATCHES, D))
        full[at[t, b]] = x[t, b, anchors:]
        if by_head:
            width = D // HEADS
            for h in range(HEADS):
                full[:, h * width : (h + 1) * width] = around(full[:, h * width : (h + 1) * width])
        else:
            for d in range(D):
                full[:, d] = around(full[:, d].reshape(GRID)).reshape(-1)
        out[t, b, anchors:] = full[at[t, b]]
    return out


def filtered(x, at, *, by_head):
    block = BlockConfig(dim=D, hidden=D, heads=HEADS, scale=1.0, qkv_bias=False, grid=GRID, dvs_mode=True)
    module = Attention(LayerConfig(), block)
    return module._filter(jnp.asarray(x), None if at is None else jnp.asarray(at), by_head=by_head)


@pytest.mark.parametrize("by_head", [False, True])
@pytest.mark.parametrize("anchors", [0, 1])
def test_maxima_with_tokens_removed(anchors, by_head):
    at = positions(7)
    x = tokens(7 + anchors)
    np.testing.assert_array_equal(filtered(x, at, by_head=by_head), loop(x, at, anchors, by_head=by_head))


@pytest.mark.parametrize("by_head", [False, True])
@pytest.mark.parametrize("anchors", [0, 1])
def test_maxima_with_all_tokens(anchors, by_head):
    x = tokens(PATCHES + anchors)
    at = np.broadcast_to(np.arange(PATCHES, dtype=np.int32), (T, B, PATCHES))
    expected = loop(x, at, anchors, by_head=by_head)
    np.testing.assert_array_equal(filtered(x, None, by_head=by_head), expected)
    np.testing.assert_array_equal(filtered(x, at, by_head=by_head), expected)
    assert (expected[:, :, anchors:] != x[:, :, anchors:]).any()


def test_full_grid():
    at, x = positions(4), tokens(4)
    full = np.asarray(on_full_grid(jnp.asarray(x), jnp.asarray(at), patches=PATCHES))
    np.testing.assert_array_equal(np.take_along_axis(full, at[..., None], axis=2), x)
    assert full.sum() == x.sum()
    dense = jnp.asarray(tokens(PATCHES))
    assert on_full_grid(dense, None, patches=PATCHES) is dense


def test_gradients_reach_what_is_kept():
    at = positions(5)

    def total(x):
        return jnp.sum(filtered(x, at, by_head=False))

    gradient = jax.grad(total)(jnp.asarray(tokens(6)))
    np.testing.assert_array_equal(gradient[:, :, 0], 1)  # the anchor passes unchanged
    assert gradient.shape == (T, B, 6, D)
