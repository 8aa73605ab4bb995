"""What ranks the patch tokens: one function a metric, one score per token and timestep."""

import jax
import jax.numpy as jnp

from stata_jax.ops.lif import lif
from stata_jax.registries import METRICS


@jax.named_scope("scores")
def token_scores(metric: str, *, tokens: jax.Array, q: jax.Array, k: jax.Array, key: jax.Array) -> jax.Array:
    """Scores of the patch tokens by a metric.

    Args:
      metric: A name of `stata_jax.registries.METRICS`, or `module:function` of one of your own.
      tokens: Patch tokens after attention, without the anchor, shape (T, B, N, D).
      q: Queries of all tokens, shape (T, B, N, D), or (T, B, N + 1, D) with the anchor at index 0.
      k: Keys, in the shape of `q`.
      key: A JAX random key.

    Returns:
      Scores, shape (T, B, N), float32, higher for tokens to keep. No gradient flows through them.

    Raises:
      ValueError: For an unknown metric, for one that needs an anchor and has none, and for shapes that disagree.

    Source: STATA, Eq. 9 and Tables 1, 2 and 5.
    """
    timesteps, batch, n, width = tokens.shape
    anchors = q.shape[2] - n
    if q.shape != k.shape or q.shape != (timesteps, batch, n + anchors, width) or anchors not in (0, 1):
        raise ValueError(f"tokens {tokens.shape}, q {q.shape} and k {k.shape} do not belong together")
    if not METRICS.is_possible(metric):
        raise ValueError(f"unknown metric {metric!r}: use one of {', '.join(METRICS)}")
    scores: jax.Array = METRICS[metric](tokens=tokens, q=q, k=k, key=key)
    if scores.shape != (timesteps, batch, n):
        raise ValueError(
            f"metric {metric!r} returns shape {scores.shape}, but tokens {tokens.shape} need one score each"
        )
    return jax.lax.stop_gradient(scores.astype(jnp.float32))


def anchor(*, tokens: jax.Array, q: jax.Array, k: jax.Array, key: jax.Array) -> jax.Array:
    """Attention of the anchor, the token at index 0, to each patch token (Eq. 9); see `query_scores`."""
    if q.shape[2] == tokens.shape[2]:
        raise ValueError("metric 'anchor' ranks by the anchor token, and these tokens have none")
    return query_scores(q[:, :, 0], k[:, :, 1:])


def ssa(*, tokens: jax.Array, q: jax.Array, k: jax.Array, key: jax.Array) -> jax.Array:
    """Attention that each patch token receives from all of them and all heads; see `query_scores`."""
    # The sum, not the mean, in float32: whole numbers again.
    q, k = (x[:, :, q.shape[2] - tokens.shape[2] :].astype(jnp.float32) for x in (q, k))
    return query_scores(jnp.sum(q, axis=2), k)


def l1(*, tokens: jax.Array, q: jax.Array, k: jax.Array, key: jax.Array) -> jax.Array:
    """The l1 norm of each token."""
    return jnp.sum(jnp.abs(tokens.astype(jnp.float32)), axis=-1)


def firing(*, tokens: jax.Array, q: jax.Array, k: jax.Array, key: jax.Array) -> jax.Array:
    """The number of spikes that LIF neurons of the default constants fire at each timestep, fed with the tokens.

    Those of a network may have another threshold or time constant.
    """
    return jnp.sum(lif(tokens.astype(jnp.float32)), axis=-1)


def saliency(*, tokens: jax.Array, q: jax.Array, k: jax.Array, key: jax.Array) -> jax.Array:
    """How far a token is from the mean of its image, and from itself one timestep before.

        spatial[t, n] = ||x[t, n] - mean_m x[t, m]||,  temporal[t, n] = ||x[t, n] - x[t - 1, n]||, 0 at the first t

    Each is divided by its mean over the tokens, and the two are added. `n` is a slot: behind a pruning block,
    timesteps may have other patches in it. It needs no training, as the criterion of
    TP-Spikformer (Wei et al., ICLR 2026), whose idea this is and whose formulas are others.
    """
    x = tokens.astype(jnp.float32)
    spatial = jnp.linalg.norm(x - jnp.mean(x, axis=2, keepdims=True), axis=-1)
    temporal = jnp.linalg.norm(jnp.diff(x, axis=0, prepend=x[:1]), axis=-1)
    return sum(each / jnp.maximum(jnp.mean(each, axis=2, keepdims=True), 1e-12) for each in (spatial, temporal))


def random(*, tokens: jax.Array, q: jax.Array, k: jax.Array, key: jax.Array) -> jax.Array:
    """Uniform noise, other noise at each timestep; an image's noise depends on its place in the batch."""
    return jax.random.uniform(key, tokens.shape[:3])


def query_scores(query: jax.Array, keys: jax.Array) -> jax.Array:
    """Attention that one query pays to each token: `A[t] = mean_h(Q_0[t] K[t]^T s)`, up to the constant `s / h`.

    The heads are slices of the width, so that their sum is one matmul over the width. The constant changes no ranking;
    without it the scores of spikes are whole numbers, and tied scores are equal to the last bit.

    Args:
      query: `Q_0`, shape (T, B, D).
      keys: `K`, shape (T, B, N, D).

    Returns:
      `A h / s`, shape (T, B, N), float32.

    Source: STATA, Eq. 9.
    """
    return jnp.einsum("tbd,tbnd->tbn", query, keys, preferred_element_type=jnp.float32)
