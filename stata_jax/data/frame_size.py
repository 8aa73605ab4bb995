"""Frames of events in another size than the sensor's: shrunk by whole blocks, or a little cut or padded at the border.

Frames are stored at the sensor's size and changed where they are used, on the device, because means of counts are no
whole numbers, and so that all sizes share what is stored.
"""

import jax
import jax.numpy as jnp

BORDER = 2  # pixels that may be cut off or added on each side


def is_possible(sensor: int, size: int) -> bool:
    """Whether `resize` can make frames of `size` pixels of those of a sensor, height and width."""
    return size >= 1 and (sensor % size == 0 or _border(sensor, size) in range(-BORDER, BORDER + 1))


def _border(sensor: int, size: int) -> float:
    return (sensor - size) / 2


def resize(frames: jax.Array, *, size: int) -> jax.Array:
    """Gives square frames another height and width.

    A divisor of theirs shrinks them, see `downscale`. A size that is 2 or 4 pixels (twice `BORDER`) off cuts as many
    from the border, half on each side, or adds pixels without events: sensors such as the 34x34 of N-MNIST have a size
    that patches do not divide, and next to nothing at their border.

    Args:
      frames: `(..., S, S, C)`, counts of any dtype.
      size: the new height and width in pixels.

    Returns:
      `(..., size, size, C)`; float32 where shrunk, otherwise of the dtype of `frames`.

    Raises:
      ValueError: frames that are not square, or a size that is not possible.
    """
    height, width = frames.shape[-3:-1]
    if height != width or not is_possible(height, size):
        raise ValueError(
            f"data.image_size is {size}, but frames are {height}x{width} pixels: set it to {height}, a divisor of it, "
            f"or 2 or {2 * BORDER} pixels more or less"
        )
    if height % size == 0:
        return downscale(frames, block=height // size)
    border = int(_border(height, size))
    if border > 0:
        return frames[..., border:-border, border:-border, :]
    return jnp.pad(frames, [(0, 0)] * (frames.ndim - 3) + [(-border, -border)] * 2 + [(0, 0)])


def downscale(frames: jax.Array, *, block: int) -> jax.Array:
    """Shrinks frames by the mean over blocks of `block x block` pixels.

    Args:
      frames: `(..., H, W, C)`, counts of any dtype.
      block: a divisor of height and width.

    Returns:
      `(..., H / block, W / block, C)` float32.
    """
    *lead, height, width, channels = frames.shape
    blocks = frames.astype(jnp.float32).reshape(*lead, height // block, block, width // block, block, channels)
    return jnp.mean(blocks, axis=(-4, -2))
