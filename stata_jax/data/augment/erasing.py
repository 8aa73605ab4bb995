"""Random erasing (Zhong et al., 2020, arXiv:1708.04896) as timm does it, on normalised images."""

import math

import jax
import jax.numpy as jnp

from stata_jax.data import draws

AREA = (0.02, 1 / 3)  # of the image
ASPECT = (0.3, 1 / 0.3)  # height over width
_ATTEMPTS = 10  # at a rectangle that fits
_NUMBERS = 2 * _ATTEMPTS + 2  # that a rectangle is made of


def draw_box(uniform: jax.Array, *, height: int, width: int) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Draws a rectangle: its share of the area uniform in `AREA`, the logarithm of its aspect uniform in `ASPECT`.

    The first of ten that is smaller than the image in both directions counts, at a uniform place within the image.

    Args:
      uniform: `(22,)` uniform random numbers in [0, 1): ten areas, ten aspects, and the place.
      height: of the image.
      width: of the image.

    Returns:
      Top row, left column, height and width, int32; without extent if none of the ten fits.
    """
    area = height * width * draws.between(uniform[:_ATTEMPTS], *AREA)
    aspect = jnp.exp(draws.between(uniform[_ATTEMPTS : 2 * _ATTEMPTS], math.log(ASPECT[0]), math.log(ASPECT[1])))
    tall = jnp.round(jnp.sqrt(area * aspect)).astype(jnp.int32)
    wide = jnp.round(jnp.sqrt(area / aspect)).astype(jnp.int32)
    fits = (tall < height) & (wide < width)
    first = jnp.argmax(fits)
    tall, wide = (jnp.where(jnp.any(fits), side[first], 0) for side in (tall, wide))
    return draws.whole(uniform[-2], height - tall + 1), draws.whole(uniform[-1], width - wide + 1), tall, wide


def random_erasing(key: jax.Array, images: jax.Array, *, probability: float, noise: bool = True) -> jax.Array:
    """Replaces a rectangle of some images, as large as `draw_box` says.

    Args:
      key: PRNG key.
      images: `(B, H, W, C)` floating point, normalised to mean 0 and deviation 1.
      probability: of an image's losing a rectangle, static; 0 returns the images unchanged.
      noise: whether the rectangle is filled with standard normal noise, timm's mode `pixel`; otherwise with 0, the mean
        colour, timm's mode `const`.

    Returns:
      As `images`.

    Raises:
      ValueError: a probability outside [0, 1], or integer images.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"augment.erasing must be a probability from 0 to 1, got {probability}: 0 turns erasing off")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be floating point, got {images.dtype}: convert before erasing")
    if probability == 0:
        return images
    batch, height, width = images.shape[:3]
    box_key, noise_key = jax.random.split(key)
    rows, columns = jnp.arange(height)[:, None], jnp.arange(width)

    def erased_part(uniform: jax.Array) -> jax.Array:
        top, left, tall, wide = draw_box(uniform[1:], height=height, width=width)
        inside = (rows >= top) & (rows < top + tall) & (columns >= left) & (columns < left + wide)
        return inside & (uniform[0] < probability)

    erased = jax.vmap(erased_part)(jax.random.uniform(box_key, (batch, 1 + _NUMBERS)))
    filling = jax.random.normal(noise_key, images.shape, images.dtype) if noise else jnp.zeros_like(images)
    return jnp.where(erased[..., None], filling, images)
