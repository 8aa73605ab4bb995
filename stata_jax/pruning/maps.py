"""Attention maps from queries and keys: those of every head, and the smaller ones that are enough to align them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange

from stata_jax.pruning.select import gather_tokens
from stata_jax.registries import MATCHES


class Aligned(NamedTuple):
    """Which maps are aligned.

    Attributes:
      intra_at: `P_a`, the layers aligned within themselves.
      inter_at: `P_r`, the layers aligned with each other.
      intra_time: Whether timesteps of a layer are aligned.
      intra_heads: Whether heads of a layer are aligned.
      match: How maps of two sizes are compared, see `match_tokens`.
      intra_tokens: How timesteps that kept different tokens are compared: `patches`, by the rows and columns of the
        patches that both kept, or `slots`, slot by slot, whichever patches are in them.
    """

    intra_at: tuple[int, ...] = ()
    inter_at: tuple[int, ...] = ()
    intra_time: bool = True
    intra_heads: bool = True
    match: str = "interpolate"
    intra_tokens: str = "patches"


@jax.named_scope("map")
def attention_map(q: jax.Array, k: jax.Array, *, heads: int, scale: float) -> jax.Array:
    """The attention map of every head: `phi = Q K^T s`.

    Args:
      q: Queries, shape (T, B, N, D).
      k: Keys, shape (T, B, N, D).
      heads: h, a divisor of D.
      scale: The attention scale s.

    Returns:
      `phi`, shape (T, B, h, N, N), in the type of `q`.
    """
    q, k = (rearrange(x, "t b n (h d) -> t b n h d", h=heads) for x in (q, k))
    return jnp.einsum("tbqhd,tbkhd->tbhqk", q, k) * jnp.asarray(scale, q.dtype)


def head_mean_map(q: jax.Array, k: jax.Array, *, heads: int, scale: float) -> jax.Array:
    """The attention map averaged over heads, `mean_h phi`: one matmul over the whole width.

    Args:
      q: Queries, shape (T, B, N, D).
      k: Keys, shape (T, B, N, D).
      heads: h, a divisor of D.
      scale: The attention scale s.

    Returns:
      Shape (T, B, N, N), float32.
    """
    return jnp.einsum("tbqd,tbkd->tbqk", q, k, preferred_element_type=jnp.float32) * (scale / heads)


def time_mean_map(q: jax.Array, k: jax.Array, *, heads: int, scale: float) -> jax.Array:
    """The attention map averaged over timesteps, `mean_t phi`: one matmul over time and head channels.

    Args:
      q: Queries, shape (T, B, N, D).
      k: Keys, shape (T, B, N, D).
      heads: h, a divisor of D.
      scale: The attention scale s.

    Returns:
      Shape (h, B, N, N), float32.
    """
    timesteps = q.shape[0]
    q, k = (rearrange(x, "t b n (h d) -> t b n h d", h=heads) for x in (q, k))
    return jnp.einsum("tbqhd,tbkhd->hbqk", q, k, preferred_element_type=jnp.float32) * (scale / timesteps)


def maps_within(
    q: jax.Array, k: jax.Array, *, heads: int, scale: float, intra_time: bool, intra_heads: bool
) -> dict[str, jax.Array]:
    """The maps that a layer is aligned by within itself (Eq. 10).

    The averages come straight from the spikes; the maps of single heads and timesteps are never made.

    Args:
      q: The layer's queries, shape (T, B, N, D).
      k: Its keys, shape (T, B, N, D).
      heads: h.
      scale: The attention scale s.
      intra_time: Whether timesteps are aligned.
      intra_heads: Whether heads are aligned.

    Returns:
      Those asked for of `time`, the map of each timestep, (T, B, N, N), and `heads`, that of each head, (h, B, N, N),
      unless there is only one, which nothing can teach.
    """
    maps = {}
    if intra_time and q.shape[0] > 1:
        maps["time"] = head_mean_map(q, k, heads=heads, scale=scale)
    if intra_heads and heads > 1:
        maps["heads"] = time_mean_map(q, k, heads=heads, scale=scale)
    return maps


def match_tokens(x: jax.Array, index: jax.Array | None, *, tokens: int, match: str, anchor: bool) -> jax.Array:
    """Brings the queries or keys of a shallow layer to the tokens of a deep one, from which some have been pruned.

    The map of a shallow layer is so brought to the size of a deep one without being made: bilinear resizing of a map
    resizes its rows and its columns, `R (Q K^T) R^T = (R Q) (R K)^T`, and so does taking rows and columns.
    Interpolation takes neighbours in a map for neighbours in the image: tokens are in the order of the patches. The
    anchor has no place among them and stays as it is, so that its row, which ranks the tokens, learns from its own.

    Args:
      x: Shape (T, B, N, D).
      index: Indices into N that come first. For `interpolate`, those that put the tokens into the order of the patches,
        shape (T, B, N); for `gather`, those of the surviving tokens, shape (T, B, M). None: all, as they are.
      tokens: M, the tokens of the deep layer.
      match: `interpolate` resizes the map of the patches bilinearly, with antialiasing; `gather` takes the rows and
        columns of the surviving tokens.
      anchor: Whether the first of the N tokens, and of the M, is the anchor.

    Returns:
      Shape (T, B, M, D); float32 where it is resized.

    Raises:
      ValueError: For another `match`.

    Source: STATA, Section 4.4 (interpolation); `gather` is ours and compares the same tokens.
    """
    if match not in MATCHES:
        raise ValueError(f"unknown match {match!r}: use one of {', '.join(MATCHES)}")
    if index is not None:
        x = gather_tokens(x, index)
    if match == "gather" or x.shape[2] == tokens:
        return x
    # As a matmul for each timestep and image, which needs no transpose of `x`, nor of its gradient.
    resize = _resizing(x.shape[2], tokens, anchor=anchor)
    resize = jnp.broadcast_to(resize, (*x.shape[:2], *resize.shape))
    return jnp.matmul(resize, x.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST)


def _resizing(old: int, new: int, *, anchor: bool) -> jax.Array:
    """The matrix (new, old) that resizes a row of patches bilinearly with antialiasing and leaves the anchor alone."""
    unit = jnp.eye(old - anchor, dtype=jnp.float32)
    patches = jax.image.resize(unit, (new - anchor, old - anchor), "bilinear", antialias=True)
    return jnp.zeros((new, old), jnp.float32).at[0, 0].set(1.0).at[1:, 1:].set(patches) if anchor else patches


def matched_map(
    q: jax.Array,
    k: jax.Array,
    index: jax.Array | None,
    *,
    tokens: int,
    match: str,
    anchor: bool,
    heads: int,
    scale: float,
) -> jax.Array:
    """The map of a shallow layer for the tokens of a deep one: `attention_map` of what `match_tokens` returns.

    Args:
      q: Queries, shape (T, B, N, D).
      k: Keys, shape (T, B, N, D).
      index: See `match_tokens`.
      tokens: M, likewise.
      match: Likewise.
      anchor: Likewise.
      heads: h.
      scale: The attention scale s.

    Returns:
      Shape (T, B, h, M, M).
    """
    q, k = (match_tokens(x, index, tokens=tokens, match=match, anchor=anchor) for x in (q, k))
    return attention_map(q, k, heads=heads, scale=scale)
