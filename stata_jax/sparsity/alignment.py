"""The dual alignment of attention maps: better maps teach worse ones (Eqs. 10-11)."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from einops import rearrange

from stata_jax.sparsity.select import gather_tokens
from stata_jax.spiking.bytes import keeping_bytes

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


def match_tokens(x: jax.Array, *, tokens: int, match: str, index: jax.Array | None) -> jax.Array:
    """Brings the queries or keys of a shallow layer to the tokens of a deep one, from which some have been pruned.

    The map of a shallow layer is so brought to the size of a deep one without being made: bilinear resizing of a map
    resizes its rows and its columns, `R (Q K^T) R^T = (R Q) (R K)^T`, and so does taking rows and columns.
    Interpolation takes neighbours in a map for neighbours in the image: tokens are in the order of the patches.

    Args:
      x: Shape (T, B, N, D).
      tokens: M, the tokens of the deep layer.
      match: `interpolate` resizes the map bilinearly; `gather` takes the rows and columns of the surviving tokens.
      index: For `gather`, the surviving tokens in the shallow layer, shape (T, B, M); None where none was pruned.

    Returns:
      Shape (T, B, M, D); float32 where it is resized.

    Raises:
      ValueError: For another `match`.

    Source: STATA, Section 4.4 (interpolation); `gather` is ours and compares the same tokens.
    """
    if match not in MATCHES:
        raise ValueError(f"unknown match {match!r}: use one of {', '.join(MATCHES)}")
    if match == "gather":
        return x if index is None else gather_tokens(x, index)
    if x.shape[2] == tokens:
        return x
    # As a product for each timestep and image, which needs no transpose of `x`, nor of its gradient.
    unit = jnp.eye(x.shape[2], dtype=jnp.float32)
    resize = jax.image.resize(unit, (tokens, x.shape[2]), "bilinear", antialias=False)
    resize = jnp.broadcast_to(resize, (*x.shape[:2], *resize.shape))
    return jnp.matmul(resize, x.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST)


def inter_alignment(
    spikes: Mapping[int, tuple[jax.Array, ...]],
    surviving: Mapping[tuple[int, int], jax.Array | None],
    *,
    heads: int,
    scale: float,
    at: Sequence[int],
    match: str,
    kind: str,
    lean: bool = False,
) -> jax.Array:
    """Alignment between layers: every shallow map of `P_r` learns from every deeper one, averaged over the pairs.

    Args:
      spikes: Queries and keys of each layer of `at`, both of shape (T, B, N_l, D).
      surviving: For layers i < j, the tokens of layer j as indices into those of layer i, shape (T, B, N_j); None
        where both have the same tokens.
      heads: h.
      scale: The attention scale s.
      at: `P_r`, the layers to compare.
      match: How maps of two sizes are compared, see `match_tokens`.
      kind: The distance.
      lean: Whether queries and keys are kept in bytes for the gradient.

    Returns:
      `L_inter`, a scalar, float32; 0 with fewer than two layers.

    Source: STATA, Eq. 11.
    """
    pairs = [(i, j) for i in at for j in at if i < j]
    students: dict[tuple[int, int, int], jax.Array] = {}  # a map that learns from several is resized once

    def term(i: int, j: int) -> jax.Array:
        (q, k), index = spikes[j], None if match == "interpolate" else surviving[i, j]
        tokens = q.shape[2]

        def shallow_map(*spikes: jax.Array) -> jax.Array:
            matched = (match_tokens(x, tokens=tokens, match=match, index=index) for x in spikes)
            return attention_map(*matched, heads=heads, scale=scale)

        student = (i, tokens, id(index))
        if student not in students:
            students[student] = keeping_bytes(shallow_map, lean=lean)(*spikes[i])
        return distance(students[student], attention_map(q, k, heads=heads, scale=scale), kind=kind)

    return sum((term(i, j) for i, j in pairs), jnp.zeros((), jnp.float32)) / max(len(pairs), 1)
