"""Targets of a batch: label smoothing (Szegedy et al., 2016, arXiv:1512.00567, Section 7)."""

import jax
import jax.numpy as jnp


def smooth_one_hot(labels: jax.Array, *, num_classes: int, smoothing: float) -> jax.Array:
    """Turns classes into targets: `(1 - smoothing) * one_hot + smoothing / num_classes`.

    Args:
      labels: `(...)` integer classes; one outside `0 .. num_classes - 1` gets no weight beyond the spread share.
      num_classes: number of classes.
      smoothing: share of the weight that is spread over all classes, the right one included; 0 gives plain one-hot.

    Returns:
      `(..., num_classes)` float32.

    Raises:
      ValueError: labels that are not integers, `num_classes` below 1, or `smoothing` outside [0, 1].
    """
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels must be integers, got {labels.dtype}: pass classes, not targets")
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"augment.label_smoothing must be from 0 to 1, got {smoothing}: 0 turns it off")
    one_hot = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)
    return (1 - smoothing) * one_hot + smoothing / num_classes
