"""What ranks the patch tokens: one score per token and timestep."""

import jax
import jax.numpy as jnp

from stata_jax.registries import METRICS


def query_scores(query: jax.Array, keys: jax.Array) -> jax.Array:
    """Attention that one query pays to each token: `A[t] = mean_h(Q_0[t] K[t]^T s)`, up to the constant `s / h`.

    The heads are slices of the width, so that their sum is one product over the width. The constant changes no
    ranking; without it the scores of spikes are whole numbers, and tied scores are equal to the last bit.

    Args:
      query: `Q_0`, shape (T, B, D).
      keys: `K`, shape (T, B, N, D).

    Returns:
      `A h / s`, shape (T, B, N), float32.

    Source: STATA, Eq. 9.
    """
    return jnp.einsum("tbd,tbnd->tbn", query, keys, preferred_element_type=jnp.float32)


def token_scores(metric: str, *, tokens: jax.Array, q: jax.Array, k: jax.Array, key: jax.Array) -> jax.Array:
    """Scores of the patch tokens by one of the metrics that the paper compares.

    - `anchor`: attention of the anchor, the token at index 0, to each patch token (Eq. 9).
    - `ssa`: attention that each patch token receives, averaged over the patch tokens and heads.
    - `l1`: l1 norm of the token.
    - `random`: uniform noise, other noise at each timestep; an image's noise depends on its place in the batch.

    `anchor` and `ssa` leave out constant factors, see `query_scores`.

    Args:
      metric: One of `METRICS`.
      tokens: Patch tokens after attention, without the anchor, shape (T, B, N, D).
      q: Queries of all tokens, shape (T, B, N, D), or (T, B, N + 1, D) with the anchor at index 0.
      k: Keys, in the shape of `q`.
      key: A JAX random key, which only `random` uses.

    Returns:
      Scores, shape (T, B, N), float32, higher for tokens to keep. No gradient flows through them.

    Raises:
      ValueError: For an unknown metric, for `anchor` without an anchor, and for shapes that disagree.

    Source: STATA, Eq. 9 and Tables 1, 2 and 5.
    """
    timesteps, batch, n, width = tokens.shape
    anchors = q.shape[2] - n
    if q.shape != k.shape or q.shape != (timesteps, batch, n + anchors, width) or anchors not in (0, 1):
        raise ValueError(f"tokens {tokens.shape}, q {q.shape} and k {k.shape} do not belong together")
    if metric == "random":
        return jax.random.uniform(key, (timesteps, batch, n))
    if metric == "l1":
        return jax.lax.stop_gradient(jnp.sum(jnp.abs(tokens.astype(jnp.float32)), axis=-1))
    if metric == "anchor":
        if anchors == 0:
            raise ValueError("metric 'anchor' ranks by the anchor token, and these tokens have none")
        query = q[:, :, 0]
    elif metric == "ssa":
        # The sum, not the mean, in float32: whole numbers again.
        q, k = q.astype(jnp.float32), k.astype(jnp.float32)
        query = jnp.sum(q[:, :, anchors:], axis=2)
    else:
        raise ValueError(f"unknown metric {metric!r}: use one of {', '.join(METRICS)}")
    return jax.lax.stop_gradient(query_scores(query, k[:, :, anchors:]))
