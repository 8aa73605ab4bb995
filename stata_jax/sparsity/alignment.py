"""The dual alignment of attention maps: better maps teach worse ones (Eqs. 10-11)."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

DISTANCES = ("mse", "norm")


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


def intra_alignment(maps: Mapping[int, Mapping[str, jax.Array]], *, kind: str) -> jax.Array:
    """Alignment within layers: over timesteps plus over heads, averaged over the layers.

    Args:
      maps: For each layer of `P_a` what `maps_within` returns.
      kind: The distance.

    Returns:
      `L_intra`, a scalar, float32; 0 without layers.

    Source: STATA, Eq. 10.
    """
    terms = [better_teaches_worse(each, kind=kind) for layer in maps.values() for each in layer.values()]
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
