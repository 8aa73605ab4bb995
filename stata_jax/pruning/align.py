"""The dual alignment of attention maps: better maps teach worse ones (Eqs. 10-11)."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from stata_jax.registries import DISTANCES


def distance(student: jax.Array, teacher: jax.Array, *, kind: str, where: jax.Array | None = None) -> jax.Array:
    """How far a map is from its teacher, which receives no gradient.

        norm:  mean over maps of ||student - teacher||_2,    mse:  mean over entries of (student - teacher)^2

    The gradient of `mse` shrinks with the difference and with the number of entries, N^2. At the weights of the paper
    it is 1e-7 to 1e-5 of the cross entropy's, so that the alignment does nothing; that of `norm` is 1e-3 to 3e-3.

    Args:
      student: Maps, shape (..., N, N).
      teacher: Maps of the same shape.
      kind: `norm`, the l2 norm of the difference of two maps, or `mse`, the mean squared difference.
      where: Which entries are compared, bool, shape (..., N, N); None: all. The others count as equal in `norm`, and
        not at all in `mse`.

    Returns:
      A scalar, float32.

    Raises:
      ValueError: For another `kind`.

    Source: STATA, Eqs. 10 and 11, which print `||.||_2`; `mse` is another reading of its "l2 loss".
    """
    difference = student.astype(jnp.float32) - jax.lax.stop_gradient(teacher.astype(jnp.float32))
    square = jnp.square(difference if where is None else jnp.where(where, difference, 0.0))
    if kind == "mse":
        entries = square.size if where is None else jnp.sum(where, dtype=jnp.float32)
        return jnp.sum(square) / jnp.maximum(entries, 1.0)
    if kind == "norm":
        total = jnp.sum(square, axis=(-2, -1))
        # The root has no gradient at 0; equal maps shall give 0, not NaN.
        return jnp.mean(jnp.where(total > 0, jnp.sqrt(jnp.where(total > 0, total, 1.0)), 0.0))
    raise ValueError(f"unknown distance {kind!r}: use one of {', '.join(DISTANCES)}")


def better_teaches_worse(maps: jax.Array, *, kind: str, patches: jax.Array | None = None) -> jax.Array:
    """Distance between the worse half of some maps and the better half, paired by rank; a map's l2 norm is its rank.

    With an odd number of maps the middle one is left out; with one map the result is 0.

    Args:
      maps: M maps per sample, shape (M, B, N, N).
      kind: The distance.
      patches: The patch that each token of each map stands for, all different within a map, integers (M, B, N). Then
        only rows and columns of patches that both maps have are compared, wherever their slots are. None: slot by slot.

    Returns:
      A scalar, float32.

    Source: STATA, Section 4.3 (p = 2); `patches` is ours.
    """
    half = maps.shape[0] // 2
    if half == 0:
        return jnp.zeros((), jnp.float32)
    norm = jnp.sum(jnp.square(maps.astype(jnp.float32)), axis=(-2, -1))
    order = jnp.argsort(-jax.lax.stop_gradient(norm), axis=0, stable=True)[..., None]
    better = jnp.take_along_axis(maps, order[:half, ..., None], axis=0)
    worse = jnp.take_along_axis(maps, order[-half:, ..., None], axis=0)
    if patches is None:
        return distance(worse, better, kind=kind)
    theirs, ours = (jnp.take_along_axis(patches, ranks, axis=0) for ranks in (order[:half], order[-half:]))
    same = ours[..., :, None] == theirs[..., None, :]  # (half, B, slot of the worse map, slot of the better one)
    move = same.astype(jnp.float32)
    better = jax.lax.stop_gradient(better.astype(jnp.float32))
    moved = jnp.einsum("mbik,mbkl,mbjl->mbij", move, better, move, precision=jax.lax.Precision.HIGHEST)
    both = jnp.any(same, axis=-1)
    return distance(worse, moved, kind=kind, where=both[..., :, None] & both[..., None, :])


def intra_alignment(
    maps: Mapping[int, Mapping[str, jax.Array]], *, kind: str, patches: Mapping[int, jax.Array] | None = None
) -> jax.Array:
    """Alignment within layers: over timesteps plus over heads, averaged over the layers.

    Args:
      maps: For each layer of `P_a` what `maps_within` returns.
      kind: The distance.
      patches: For the layers whose timesteps are compared patch by patch, the patch of each token, (T, B, N).

    Returns:
      `L_intra`, a scalar, float32; 0 without layers.

    Source: STATA, Eq. 10.
    """
    terms = [
        better_teaches_worse(each, kind=kind, patches=(patches or {}).get(l) if over == "time" else None)
        for l, layer in maps.items()
        for over, each in layer.items()
    ]
    return sum(terms, jnp.zeros((), jnp.float32)) / max(len(maps), 1)


def inter_alignment(
    students: Mapping[tuple[int, int], jax.Array], teachers: Mapping[int, jax.Array], *, kind: str
) -> jax.Array:
    """Alignment between layers: every shallow map of `P_r` learns from every deeper one, averaged over the pairs.

    Args:
      students: For layers i < j, the map of layer i for the tokens of layer j, shape (T, B, h, N_j, N_j).
      teachers: The map of each layer j, shape (T, B, h, N_j, N_j).
      kind: The distance.

    Returns:
      `L_inter`, a scalar, float32; 0 with fewer than two layers.

    Source: STATA, Eq. 11.
    """
    terms = [distance(student, teachers[j], kind=kind) for (_, j), student in students.items()]
    return sum(terms, jnp.zeros((), jnp.float32)) / max(len(terms), 1)
