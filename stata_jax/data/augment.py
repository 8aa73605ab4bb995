"""Augmentation of a batch: label smoothing and mixup (Zhang et al., 2018, arXiv:1710.09412)."""

import math

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


def mixup(key: jax.Array, images: jax.Array, targets: jax.Array, *, alpha: float) -> tuple[jax.Array, jax.Array]:
    """Mixes each image and its target with those at the mirrored place of the batch.

    `mixed[b] = lam * x[b] + (1 - lam) * x[B - 1 - b]`, with one `lam ~ Beta(alpha, alpha)` for the whole batch, as in
    timm's batch mode, which the reference models were trained with.

    Args:
      key: PRNG key.
      images: `(B, H, W, C)` floating point.
      targets: `(B, num_classes)` floating point.
      alpha: both parameters of the Beta distribution, static; 0 returns the arguments unchanged.

    Returns:
      Mixed images and targets, shapes and dtypes as given.

    Raises:
      ValueError: `alpha` negative or not finite, integer images or targets, or batches of two sizes.
    """
    if not 0 <= alpha < math.inf:
        raise ValueError(f"augment.mixup must be 0 or more and finite, got {alpha}: 0 turns mixup off")
    for name, array in (("images", images), ("targets", targets)):
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(f"{name} must be floating point, got {array.dtype}: convert before mixing")
    if images.shape[0] != targets.shape[0]:
        raise ValueError(f"one target per image is needed, got {targets.shape[0]} for {images.shape[0]} images")
    if alpha == 0:
        return images, targets
    lam = jax.random.beta(key, alpha, alpha, dtype=jnp.float32)
    return mix_with_mirror(lam, images), mix_with_mirror(lam, targets)


def mix_with_mirror(share: jax.Array, batch: jax.Array) -> jax.Array:
    """`share * x[b] + (1 - share) * x[B - 1 - b]`.

    Args:
      share: float32 from 0 to 1, to be broadcast to an entry of the batch.
      batch: `(B, ...)` floating point.

    Returns:
      As `batch`.
    """
    # The two shares are rounded after the subtraction, so that both keep their precision in bfloat16.
    return share.astype(batch.dtype) * batch + (1 - share).astype(batch.dtype) * batch[::-1]
