"""From a batch of a source to what the network trains or is tested on: conversion, augmentation, targets."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from stata_jax.data.augment.crops import flip, pad_crop
from stata_jax.data.augment.erasing import random_erasing
from stata_jax.data.augment.event_augment import augment_events
from stata_jax.data.augment.mixing import mix
from stata_jax.data.augment.randaugment import rand_augment
from stata_jax.data.augment.targets import smooth_one_hot
from stata_jax.registries import AUGMENTATIONS


@dataclass(frozen=True, kw_only=True)
class AugmentOptions:
    """What is done to a batch: by default, nothing. Hashable, hence static under `jax.jit`.

    The others are named as in `stata_jax.config.options.augment`, which explains them.

    Attributes:
      num_classes: of the targets.
      mix_off_step: first step without mixing; 0: mixed to the end.
      mean: of each channel, by which to normalise; (): not normalised.
      std: standard deviation of each channel.
    """

    num_classes: int
    flip: bool = False
    crop_padding: int = 0
    randaugment_count: int = 0
    randaugment_operations: str = "fifteen"
    randaugment_magnitude: float = 9.0
    randaugment_std: float = 0.0
    randaugment_increasing: bool = True
    erasing: float = 0.0
    erasing_noise: bool = True
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0
    switch_probability: float = 0.5
    mix_off_step: int = 0
    label_smoothing: float = 0.0
    events: bool = False
    event_cutout: str = "side"
    extra: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Checks what no single operation sees.

        Raises:
          ValueError: `mean` and `std` that do not belong together.
        """
        if len(self.mean) != len(self.std):
            raise ValueError(f"data.mean and data.std must have one value per channel, got {self.mean} and {self.std}")
        if not all(math.isfinite(value) for value in self.mean):
            raise ValueError(f"data.mean must be finite, got {self.mean}")
        if not all(0 < value < math.inf for value in self.std):
            raise ValueError(f"data.std must be above 0 and finite, got {self.std}")


def prepare(images: jax.Array, *, options: AugmentOptions) -> jax.Array:
    """Converts a batch for evaluation.

    Args:
      images: uint8 images `(B, H, W, C)`, which are divided by 255; uint8 recordings `(B, T, H, W, 2)`, whose counts
        stay; or floating point, which stays as it is.
      options: `mean` and `std`, by which the result is normalised, channel by channel.

    Returns:
      Of the same shape, float32.

    Raises:
      ValueError: another shape or dtype, or another number of channels than `mean` has.
    """
    if images.ndim not in (4, 5):
        raise ValueError(f"a batch must be images (B, H, W, C) or recordings (B, T, H, W, 2), got {images.shape}")
    if images.dtype != jnp.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be uint8 or floating point, got {images.dtype}")
    values = images.astype(jnp.float32)
    if images.ndim == 4 and images.dtype == jnp.uint8:
        values = values / 255
    if options.mean:
        if images.shape[-1] != len(options.mean):
            raise ValueError(
                f"data.mean has {len(options.mean)} values but the images have {images.shape[-1]} channels: "
                "give one for each channel, or none"
            )
        values = (values - jnp.asarray(options.mean, jnp.float32)) / jnp.asarray(options.std, jnp.float32)
    return values


def augment(
    key: jax.Array, images: jax.Array, labels: jax.Array, step: jax.Array | int, *, options: AugmentOptions
) -> tuple[jax.Array, jax.Array]:
    """Makes a training batch: crop, flip, RandAugment, mixing, normalisation and erasing.

    That is the order of timm with its prefetcher, by which the published models were trained: bytes are mixed, and a
    rectangle is erased from the mixture. Each operation has a key of its own, so that switching one changes no other.
    RandAugment works on 8 bit images: floating point ones, in [0, 1], are rounded for it.

    Args:
      key: PRNG key of the step.
      images: as for `prepare`.
      labels: `(B,)` integer classes.
      step: of the run, from 0; may be traced.
      options: what to do.

    Returns:
      Images `(B, ...)` float32 and targets `(B, num_classes)` float32.

    Raises:
      ValueError: an option out of its range, or one that does not suit the images.
    """
    crop_key, flip_key, random_key, erase_key, mix_key = jax.random.split(key, 5)
    if images.ndim == 5:
        only_images = ("flip", "crop_padding", "randaugment_count", "erasing")
        for name in only_images:
            if getattr(options, name):
                raise ValueError(f"augment.{name} is for images, not for recordings: turn it off or use augment.events")
    if options.events:
        images = augment_events(flip_key, images, cutout=options.event_cutout)
    if options.crop_padding:
        images = pad_crop(crop_key, images, padding=options.crop_padding)
    if options.flip:
        images = flip(flip_key, images)
    if options.randaugment_count:
        images = rand_augment(
            random_key,
            _to_bytes(images),
            count=options.randaugment_count,
            magnitude=options.randaugment_magnitude,
            std=options.randaugment_std,
            increasing=options.randaugment_increasing,
            operations=options.randaugment_operations,
            # The data set's mean colour, which becomes 0 when normalised; timm's grey where no mean is given.
            fill=tuple(max(0, min(255, round(255 * value))) for value in options.mean) or (128,),
        )
    for place, name in enumerate(filter(None, options.extra.split(","))):
        images = AUGMENTATIONS[name](jax.random.fold_in(random_key, place), images)
    if images.ndim == 5 and images.dtype == jnp.uint8:
        images = images.astype(jnp.float32)  # counts are not rounded where they are mixed
    targets = smooth_one_hot(labels, num_classes=options.num_classes, smoothing=options.label_smoothing)
    images, targets = mix(
        mix_key,
        images,
        targets,
        step,
        mixup=options.mixup,
        cutmix=options.cutmix,
        probability=options.mix_probability,
        switch_probability=options.switch_probability,
        off_step=options.mix_off_step,
    )
    images = prepare(images, options=options)
    return random_erasing(erase_key, images, probability=options.erasing, noise=options.erasing_noise), targets


def _to_bytes(images: jax.Array) -> jax.Array:
    if images.dtype == jnp.uint8:
        return images
    return jnp.clip(jnp.round(images.astype(jnp.float32) * 255), 0, 255).astype(jnp.uint8)
