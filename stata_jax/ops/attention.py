"""Spiking self-attention on arrays (Eq. 8, before the neuron)."""

import chex
import jax
import jax.numpy as jnp
from einops import rearrange


def spiking_attention(q: jax.Array, k: jax.Array, v: jax.Array, *, heads: int, scale: float) -> jax.Array:
    """Attention of spikes without a softmax: `(Q K^T) V s = Q (K^T V) s`.

    Spikes are 0 or 1, so both orders give the same integers; the cheaper one is taken: `2 N^2 D` against
    `2 N D^2 / h` multiply-accumulates.

    Args:
      q: Query spikes, shape (T, B, N, D).
      k: Key spikes, shape (T, B, N, D).
      v: Value spikes, shape (T, B, N, D).
      heads: h, a divisor of D.
      scale: The attention scale s.

    Returns:
      Input currents for the neuron after attention, shape (T, B, N, D).

    Source: STATA, Eq. 8.
    """
    chex.assert_rank(q, 4)
    chex.assert_equal_shape([q, k, v])
    _, _, n, width = q.shape
    q, k, v = (rearrange(x, "t b n (h d) -> t b n h d", h=heads) for x in (q, k, v))
    if n <= width // heads:
        with jax.named_scope("map"):
            phi = jnp.einsum("tbqhd,tbkhd->tbhqk", q, k)
        with jax.named_scope("value"):
            out = jnp.einsum("tbhqk,tbkhd->tbqhd", phi, v)
    else:
        with jax.named_scope("map"):
            summed = jnp.einsum("tbkhd,tbkhe->tbhde", k, v)
        with jax.named_scope("value"):
            out = jnp.einsum("tbqhd,tbhde->tbqhe", q, summed)
    return rearrange(out, "t b n h d -> t b n (h d)") * jnp.asarray(scale, out.dtype)
