"""Mirrored images and crops from a padded image, drawn for each image of a batch."""

import jax
import jax.numpy as jnp

from stata_jax.data import draws


def flip(key: jax.Array, images: jax.Array, *, probability: float = 0.5) -> jax.Array:
    """Mirrors some images of a batch left to right.

    Args:
      key: PRNG key.
      images: `(B, H, W, C)`, any dtype.
      probability: of each image's being mirrored.

    Returns:
      As `images`.
    """
    mirrored = jax.random.bernoulli(key, probability, images.shape[:1])
    return jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def pad_crop(key: jax.Array, images: jax.Array, *, padding: int) -> jax.Array:
    """Cuts each image, at its old size, from somewhere in the image with a black border.

    `out[y, x] = in[y + dy, x + dx]`, 0 outside, with `dy` and `dx` uniform in `-padding .. padding`: torchvision's
    `RandomCrop(size, padding)`, which pads with zeros before the image is normalised.

    Args:
      key: PRNG key.
      images: `(B, H, W, C)`, any dtype, not normalised: 0 is black.
      padding: width of the border in pixels, static; 0 returns the images unchanged.

    Returns:
      As `images`.

    Raises:
      ValueError: `padding` negative.
    """
    if padding < 0:
        raise ValueError(f"augment.crop_padding must be 0 or more, got {padding}: 0 turns crops off")
    if padding == 0:
        return images
    border = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    corners = draws.whole(jax.random.uniform(key, (images.shape[0], 2)), 2 * padding + 1)
    shape = images.shape[1:]

    def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], jnp.int32(0)), shape)

    return jax.vmap(crop)(jnp.pad(images, border), corners)
