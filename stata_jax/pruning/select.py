"""Which tokens stay: a ranking with fair ties, a static number of kept tokens, and the gather."""

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from stata_jax.pruning.placement import kept_tokens
from stata_jax.registries import SLOTS


@dataclasses.dataclass(frozen=True)
class Sparsity:
    """Which tokens the blocks drop.

    Attributes:
      anchor: Whether there is an anchor token, the first one, which is never dropped.
      keep_rate: gamma, the share of the patch tokens that a pruning block keeps; 1 prunes nothing.
      prune_at: `P_I`, the blocks that prune.
      metric: What ranks the tokens, see `token_scores`.
      timestep_wise: Whether each timestep keeps its own tokens.
      slots: `sorted` or `stable`, the order of the kept tokens, see `stable_slots`.

    Raises:
      ValueError: If `slots` is unknown.
    """

    anchor: bool = False
    keep_rate: float = 1.0
    prune_at: tuple[int, ...] = ()
    metric: str = "anchor"
    timestep_wise: bool = True
    slots: str = "sorted"

    def __post_init__(self) -> None:
        """Checks `slots`."""
        if self.slots not in SLOTS:
            raise ValueError(f"unknown slots {self.slots!r}: use one of {', '.join(SLOTS)}")


def all_positions(tokens: jax.Array, *, anchor: bool) -> jax.Array:
    """The patch index of each token of (T, B, N, D) before the first pruning, shape (T, B, N - anchor), int32."""
    timesteps, batch, n, _ = tokens.shape
    return jnp.broadcast_to(jnp.arange(n - anchor, dtype=jnp.int32), (timesteps, batch, n - anchor))


@jax.named_scope("prune")
def prune(
    tokens: jax.Array, scores: jax.Array, positions: jax.Array, sparsity: Sparsity, *, patches: int
) -> tuple[jax.Array, jax.Array, jax.Array | None, jax.Array]:
    """Drops the tokens with the lowest scores (Algorithm 1, lines of `l in P_I`).

    Args:
      tokens: Shape (T, B, N + anchor, D).
      scores: Shape (T, B, N).
      positions: Patch index of each token, shape (T, B, N).
      sparsity: How many are kept, and in which order.
      patches: Number of patches in the image.

    Returns:
      The kept tokens (T, B, K + anchor, D), their patch indices (T, B, K), the indices that put them into the order of
      the patches (T, B, K + anchor) or None where they are in it, and their indices among `tokens`, of that shape too.
    """
    keep = kept_tokens(positions.shape[2], sparsity.keep_rate)
    index = top_tokens(scores, positions, keep=keep, total=patches, timestep_wise=sparsity.timestep_wise)
    if sparsity.slots == "stable":
        index = stable_slots(index, gather_tokens(positions, index))
    positions = gather_tokens(positions, index)
    order = jnp.argsort(positions, axis=-1) if sparsity.slots == "stable" else None
    if sparsity.anchor:
        index, order = _beside_anchor(index), None if order is None else _beside_anchor(order)
    return gather_tokens(tokens, index), positions, order, index


def _beside_anchor(index: jax.Array) -> jax.Array:
    """Turns indices of patch tokens into indices of all tokens, the anchor's first: (T, B, K) to (T, B, K + 1)."""
    return jnp.concatenate([jnp.zeros_like(index[..., :1]), index + 1], axis=-1)


def scattered_order(n: int) -> np.ndarray:
    """A fixed order of the patches of a square image that scatters any first few over rows and columns.

    Taking tied tokens in the order of their index would keep the top rows of every image. Patches are ordered by the
    fractional part of `row / p + column / p^2`, with p the plastic number: a lattice without clumps.

    Args:
      n: Number of patches, in row-major order.

    Returns:
      The rank of each patch, shape (n,), int32.
    """
    row, column = np.divmod(np.arange(n), math.isqrt(n - 1) + 1)
    plastic = 1.324717957244746  # the real root of p^3 = p + 1
    fraction = (row / plastic + column / plastic**2) % 1.0
    return np.argsort(np.argsort(fraction, kind="stable"), kind="stable").astype(np.int32)


def top_tokens(scores: jax.Array, positions: jax.Array, *, keep: int, total: int, timestep_wise: bool) -> jax.Array:
    """Picks the `keep` tokens with the highest scores, at each timestep by itself or the same for all.

    Equal scores are common, since they are sums of few binary products. Ties go to the token with the higher score
    averaged over timesteps, then to the one that comes first in `scattered_order`.

    Args:
      scores: One score per token and timestep, shape (T, B, N).
      positions: Patch index of each token, shape (T, B, N), values below `total`.
      keep: K, the number of tokens to keep.
      total: Number of patches in the image.
      timestep_wise: True ranks the tokens of each timestep by their own scores (TAT); False ranks by the mean over
        timesteps and keeps the same slots at every timestep (AT).

    Returns:
      Indices into N, shape (T, B, K), int32, in the order of the patches.

    Raises:
      ValueError: If `keep` is not between 1 and N.

    Source: STATA, Section 4.2; the rule for ties is ours.
    """
    n = scores.shape[2]
    if not 1 <= keep <= n:
        raise ValueError(f"cannot keep {keep} of {n} tokens")
    # The sum orders as the mean does, and a sum of whole numbers is exact.
    total_score = jnp.broadcast_to(jnp.sum(scores, axis=0, keepdims=True), scores.shape)
    first = scores if timestep_wise else total_score
    scattered = jnp.asarray(scattered_order(total))[positions]
    index = jax.lax.broadcasted_iota(jnp.int32, scores.shape, 2)
    *_, ranked, ranked_positions = jax.lax.sort((-first, -total_score, scattered, index, positions), num_keys=3)
    kept, kept_positions = ranked[..., :keep], ranked_positions[..., :keep]
    return jnp.take_along_axis(kept, jnp.argsort(kept_positions, axis=-1), axis=-1)


def stable_slots(index: jax.Array, positions: jax.Array) -> jax.Array:
    """Reorders kept tokens so that a token kept at both `t` and `t + 1` stays in its slot.

    A neuron after the gather carries its membrane by slot. Newcomers take the freed slots in the order of the patches.

    Args:
      index: Indices of the kept tokens, shape (T, B, K).
      positions: Their patch indices, shape (T, B, K), distinct within a timestep.

    Returns:
      `index` with the last axis reordered, shape (T, B, K).
    """

    def step(previous: jax.Array, at_t: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        kept, place = at_t
        same = previous[:, :, None] == place[:, None, :]  # (B, slot at t - 1, token at t)
        stays = jnp.any(same, axis=2)
        # Newcomers first, in their order; slot s that is freed takes the newcomer with the rank of s among the freed.
        newcomers = jnp.argsort(jnp.any(same, axis=1), axis=-1, stable=True)
        freed_rank = jnp.cumsum(~stays, axis=-1) - 1
        taken = jnp.take_along_axis(newcomers, jnp.maximum(freed_rank, 0), axis=-1)
        source = jnp.where(stays, jnp.argmax(same, axis=2), taken)
        return jnp.take_along_axis(place, source, axis=-1), jnp.take_along_axis(kept, source, axis=-1)

    _, reordered = jax.lax.scan(step, positions[0], (index, positions))
    return reordered


def gather_tokens(values: jax.Array, index: jax.Array) -> jax.Array:
    """Takes tokens along axis 2 by an index per timestep and image.

    Args:
      values: Shape (T, B, N) or (T, B, N, D).
      index: Indices into N, shape (T, B, K).

    Returns:
      Shape (T, B, K) or (T, B, K, D).
    """
    return jnp.take_along_axis(values, index if values.ndim == 3 else index[..., None], axis=2)


def surviving_tokens(kept: Mapping[int, jax.Array], shallow: int, deep: int) -> jax.Array | None:
    """Indices of the tokens that enter block `deep` among those that enter block `shallow`.

    Args:
      kept: Per pruning block the indices of its kept tokens, shape (T, B, K + anchor).
      shallow: A block.
      deep: A deeper block.

    Returns:
      Shape (T, B, N_deep), or None if no block from `shallow` up to `deep` prunes.
    """
    index = None
    for l in range(shallow, deep):
        if l in kept:
            index = kept[l] if index is None else gather_tokens(index, kept[l])
    return index
