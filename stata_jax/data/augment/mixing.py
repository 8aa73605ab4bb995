"""Mixup (Zhang et al., 2018, arXiv:1710.09412) or CutMix (Yun et al., 2019, arXiv:1905.04899), as timm's batch mode.

A whole batch is mixed with its mirror image: `w * x[b] + (1 - w) * x[B - 1 - b]`, with one weight for all pixels in
mixup, and with weights 1 outside and 0 inside a rectangle in CutMix. Targets are mixed by the mean weight.
"""

import math

import jax
import jax.numpy as jnp

from stata_jax.data import draws
from stata_jax.varying import alike


def cutmix_weights(uniform: jax.Array, share: jax.Array, *, height: int, width: int) -> jax.Array:
    """The weights of CutMix: 0 in a rectangle with the image's aspect and `1 - share` of its area, 1 elsewhere.

    The centre is uniform over the image, and what lies outside is cut off.

    Args:
      uniform: `(2,)` uniform random numbers in [0, 1).
      share: scalar from 0 to 1.
      height: of the images.
      width: of the images.

    Returns:
      `(H, W)` float32.
    """
    ratio = jnp.sqrt(1 - share)
    inside = []
    for number, side in zip(uniform, (height, width), strict=True):
        half = jnp.floor(side * ratio).astype(jnp.int32) // 2
        centre = draws.whole(number, side)
        places = jnp.arange(side)
        inside.append((places >= centre - half) & (places < centre + half))
    return 1 - (inside[0][:, None] & inside[1]).astype(jnp.float32)


def mix_with_mirror(share: jax.Array, batch: jax.Array) -> jax.Array:
    """`share * x[b] + (1 - share) * x[B - 1 - b]`; bytes are rounded to the nearest, halves to the even one.

    Args:
      share: float32 from 0 to 1, to be broadcast to an entry of the batch.
      batch: `(B, ...)` floating point or uint8.

    Returns:
      As `batch`.
    """
    if batch.dtype == jnp.uint8:
        return jnp.round(mix_with_mirror(share, batch.astype(jnp.float32))).astype(jnp.uint8)
    # The two shares are rounded after the subtraction, so that both keep their precision in bfloat16.
    return share.astype(batch.dtype) * batch + (1 - share).astype(batch.dtype) * batch[::-1]


def mix(
    key: jax.Array,
    images: jax.Array,
    targets: jax.Array,
    step: jax.Array | int,
    *,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    probability: float = 1.0,
    switch_probability: float = 0.5,
    off_step: int = 0,
) -> tuple[jax.Array, jax.Array]:
    """Mixes a batch by mixup or CutMix, by one draw for all its images.

    Args:
      key: PRNG key.
      images: `(B, ..., H, W, C)` images or recordings, floating point or uint8. Mixed uint8 is rounded, as in timm,
        which mixes images before it normalises them.
      targets: `(B, num_classes)` floating point.
      step: of the run, from 0; may be traced.
      mixup: both parameters of the Beta distribution of mixup's weight; 0: no mixup.
      cutmix: the same of the area that CutMix leaves; 0: no CutMix.
      probability: of mixing a batch at all.
      switch_probability: of CutMix, where both are on.
      off_step: first step that mixes no more; 0: always mixed.

    Returns:
      Mixed images and targets, shapes and dtypes as given.

    Raises:
      ValueError: an option out of its range, other integers than uint8, or batches of two sizes.
    """
    for name, alpha in (("mixup", mixup), ("cutmix", cutmix)):
        if not 0 <= alpha < math.inf:
            raise ValueError(f"augment.{name} must be 0 or more and finite, got {alpha}: 0 turns it off")
    for name, value in (("mix_probability", probability), ("switch_probability", switch_probability)):
        if not 0 <= value <= 1:
            raise ValueError(f"augment.{name} must be from 0 to 1, got {value}")
    if off_step < 0:
        raise ValueError(f"off_step must be 0 or more, got {off_step}: 0 mixes to the end")
    if images.dtype != jnp.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be uint8 or floating point, got {images.dtype}: convert before mixing")
    if not jnp.issubdtype(targets.dtype, jnp.floating):
        raise ValueError(f"targets must be floating point, got {targets.dtype}: convert before mixing")
    if images.shape[0] != targets.shape[0]:
        raise ValueError(f"one target per image is needed, got {targets.shape[0]} for {images.shape[0]} images")
    if not (mixup or cutmix):
        return images, targets

    choice_key, mixup_key, cutmix_key = jax.random.split(key, 3)
    choices = jax.random.uniform(choice_key, (4,))
    mixed = choices[0] < probability
    if off_step:
        mixed &= jnp.asarray(step) < off_step
    cut = choices[1] < (switch_probability if mixup and cutmix else 1.0)
    height, width = images.shape[-3:-1]
    weights, mean = jnp.ones((height, width), jnp.float32), jnp.float32(1)
    if mixup:
        mean = jax.random.beta(mixup_key, mixup, mixup, dtype=jnp.float32)
        weights = mean * weights
    if cutmix:
        share = jax.random.beta(cutmix_key, cutmix, cutmix, dtype=jnp.float32)
        uncut = cutmix_weights(choices[2:], share, height=height, width=width)
        weights, mean = jnp.where(cut, uncut, weights), jnp.where(cut, jnp.mean(uncut), mean)
    images, targets, weights, mean = alike(images, targets, weights, mean)
    # A condition rather than a weight of 1: what is not mixed stays bit for bit, and XLA makes no image twice.
    return jax.lax.cond(
        mixed,
        lambda: (mix_with_mirror(weights[..., None], images), mix_with_mirror(mean, targets)),
        lambda: (images, targets),
    )
