"""The dual alignment of attention maps: better maps teach worse ones (Eqs. 10-11)."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from einops import rearrange

MATCHES = ("interpolate", "gather")
DISTANCES = ("mse", "norm")


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
    """The attention map averaged over heads, `mean_h phi`: one product over the whole width.

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
    """The attention map averaged over timesteps, `mean_t phi`: one product over time and head channels.

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


def distance(student: jax.Array, teacher: jax.Array, *, kind: str) -> jax.Array:
    """How far a map is from its teacher, which receives no gradient.

    `mse` is the mean of the squared differences, `norm` the l2 norm of the difference of two maps, averaged over all
    leading axes.

    Args:
      student: Maps, shape (..., N, N).
      teacher: Maps of the same shape.
      kind: `mse` or `norm`.

    Returns:
      A scalar, float32.

    Raises:
      ValueError: For another `kind`.
    """
    difference = student.astype(jnp.float32) - jax.lax.stop_gradient(teacher.astype(jnp.float32))
    if kind == "mse":
        return jnp.mean(jnp.square(difference))
    if kind == "norm":
        square = jnp.sum(jnp.square(difference), axis=(-2, -1))
        # The root has no gradient at 0; equal maps shall give 0, not NaN.
        return jnp.mean(jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0))
    raise ValueError(f"unknown distance {kind!r}: use one of {', '.join(DISTANCES)}")


def better_teaches_worse(maps: jax.Array, *, kind: str) -> jax.Array:
    """Distance between the worse half of some maps and the better half, paired by rank; a map's l2 norm is its rank.

    With an odd number of maps the middle one is left out; with one map the result is 0.

    Args:
      maps: M maps per sample, shape (M, B, N, N).
      kind: The distance.

    Returns:
      A scalar, float32.

    Source: STATA, Section 4.3 (p = 2).
    """
    half = maps.shape[0] // 2
    if half == 0:
        return jnp.zeros((), jnp.float32)
    norm = jnp.sum(jnp.square(maps.astype(jnp.float32)), axis=(-2, -1))
    order = jnp.argsort(-jax.lax.stop_gradient(norm), axis=0, stable=True)[..., None, None]
    better = jnp.take_along_axis(maps, order[:half], axis=0)
    worse = jnp.take_along_axis(maps, order[-half:], axis=0)
    return distance(worse, better, kind=kind)


def intra_alignment(
    q: jax.Array, k: jax.Array, *, heads: int, scale: float, over_time: bool, over_heads: bool, kind: str
) -> jax.Array:
    """Alignment within a layer: over timesteps (maps averaged over heads) plus over heads (averaged over time).

    The averages come straight from the spikes; the maps of single heads and timesteps are never made.

    Args:
      q: One layer's queries, shape (T, B, N, D).
      k: Its keys, shape (T, B, N, D).
      heads: h.
      scale: The attention scale s.
      over_time: Whether better timesteps teach worse ones.
      over_heads: Whether better heads teach worse ones.
      kind: The distance.

    Returns:
      The layer's term of `L_intra`, a scalar, float32.

    Source: STATA, Eq. 10.
    """
    loss = jnp.zeros((), jnp.float32)
    if over_time:
        loss += better_teaches_worse(head_mean_map(q, k, heads=heads, scale=scale), kind=kind)
    if over_heads:
        loss += better_teaches_worse(time_mean_map(q, k, heads=heads, scale=scale), kind=kind)
    return loss


def match_maps(shallow: jax.Array, deep: jax.Array, *, match: str, index: jax.Array | None) -> jax.Array:
    """Brings a shallow map to the size of a deep one, from which tokens have been pruned.

    Interpolation takes neighbours in a map for neighbours in the image: both maps are in the order of the patches.

    Args:
      shallow: Shape (T, B, h, N, N).
      deep: Shape (T, B, h, M, M).
      match: `interpolate` resizes bilinearly; `gather` takes the rows and columns of the surviving tokens.
      index: For `gather`, the surviving tokens in the shallow map, shape (T, B, M); None where none was pruned.

    Returns:
      Shape (T, B, h, M, M).

    Raises:
      ValueError: For another `match`.

    Source: STATA, Section 4.4 (interpolation); `gather` is ours and compares the same tokens.
    """
    if match not in MATCHES:
        raise ValueError(f"unknown match {match!r}: use one of {', '.join(MATCHES)}")
    if match == "gather":
        return shallow if index is None else reorder_map(shallow, index)
    if shallow.shape == deep.shape:
        return shallow
    return jax.image.resize(shallow, deep.shape, "bilinear", antialias=False)


def reorder_map(phi: jax.Array, order: jax.Array) -> jax.Array:
    """Takes rows and columns of a map in another order, or some of them.

    Args:
      phi: Shape (T, B, h, N, N).
      order: Indices into N, shape (T, B, M).

    Returns:
      Shape (T, B, h, M, M).
    """
    rows = jnp.take_along_axis(phi, order[:, :, None, :, None], axis=3)
    return jnp.take_along_axis(rows, order[:, :, None, None, :], axis=4)


def inter_alignment(
    maps: Mapping[int, jax.Array],
    surviving: Mapping[tuple[int, int], jax.Array | None],
    *,
    at: Sequence[int],
    match: str,
    kind: str,
) -> jax.Array:
    """Alignment between layers: every shallow map of `P_r` learns from every deeper one, averaged over the pairs.

    Args:
      maps: Attention maps by layer, each of shape (T, B, h, N_l, N_l).
      surviving: For layers i < j, the tokens of layer j as indices into those of layer i, shape (T, B, N_j); None
        where both have the same tokens.
      at: `P_r`, the layers to compare.
      match: How maps of two sizes are compared, see `match_maps`.
      kind: The distance.

    Returns:
      `L_inter`, a scalar, float32; 0 with fewer than two layers.

    Source: STATA, Eq. 11.
    """
    pairs = [(i, j) for i in at for j in at if i < j]
    terms = [
        distance(match_maps(maps[i], maps[j], match=match, index=surviving[i, j]), maps[j], kind=kind) for i, j in pairs
    ]
    return sum(terms, jnp.zeros((), jnp.float32)) / max(len(pairs), 1)
