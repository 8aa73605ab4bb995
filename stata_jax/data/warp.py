"""Affine maps of images by one gather, with Pillow's conventions.

A map is the `(2, 3)` matrix of `(x, y) -> (a x + b y + c, d x + e y + f)` from the output to the input, in pixels:
pixel `i` covers `i .. i + 1`, so its centre is at `i + 1/2`. What comes from outside the input is filled.
"""

import jax
import jax.numpy as jnp


def _matrix(*entries: jax.Array | float) -> jax.Array:
    arrays = jnp.broadcast_arrays(*(jnp.asarray(entry, jnp.float32) for entry in entries))
    return jnp.stack(arrays, axis=-1).reshape(*arrays[0].shape, 2, 3)


def rotation(degrees: jax.Array, *, height: int, width: int) -> jax.Array:
    """The map that turns an image about its centre, counter-clockwise: `(...)` degrees to `(..., 2, 3)`."""
    angle = jnp.deg2rad(degrees)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y = width / 2, height / 2
    return _matrix(cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y)


def shear_x(factor: jax.Array, *, about: float = 0.0) -> jax.Array:
    """The map `x + factor (y - about)`: `(...)` factors to `(..., 2, 3)`."""
    return _matrix(1.0, factor, -about * factor, 0.0, 1.0, 0.0)


def shear_y(factor: jax.Array) -> jax.Array:
    """The map `y + factor x`: `(...)` factors to `(..., 2, 3)`."""
    return _matrix(1.0, 0.0, 0.0, factor, 1.0, 0.0)


def translation(x: jax.Array | float, y: jax.Array | float) -> jax.Array:
    """The map `(x, y)` pixels further: `(...)` to `(..., 2, 3)`; with both above 0 the image moves left and up."""
    return _matrix(1.0, 0.0, x, 0.0, 1.0, y)


def source_points(matrix: jax.Array, *, height: int, width: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Where the centre of each output pixel comes from.

    Args:
      matrix: `(2, 3)` float32.
      height: of input and output.
      width: of input and output.

    Returns:
      `x` and `y` of the points, `(H, W)` float32, and whether they are inside the input, `(H, W)` bool.
    """
    x = jnp.arange(width, dtype=jnp.float32)[None, :] + 0.5
    y = jnp.arange(height, dtype=jnp.float32)[:, None] + 0.5
    from_x, from_y = (row[0] * x + row[1] * y + row[2] for row in matrix)
    return from_x, from_y, (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)


def bilinear(images: jax.Array, matrices: jax.Array, *, fill: jax.Array) -> jax.Array:
    """Maps each image by its own matrix, interpolating between the four nearest pixels, as Pillow's BILINEAR.

    Edge pixels reach half a pixel outwards; the result is rounded down. Coordinates are float32, Pillow's float64:
    where a value falls on a whole number, the two may be 1 apart.

    Args:
      images: `(B, H, W, C)` uint8.
      matrices: `(B, 2, 3)` float32.
      fill: `(C,)` or `(1,)` uint8, the colour of what comes from outside.

    Returns:
      `(B, H, W, C)` uint8.
    """
    height, width, channels = images.shape[1:]

    def one(image: jax.Array, matrix: jax.Array) -> jax.Array:
        x, y, inside = source_points(matrix, height=height, width=width)
        left, top = jnp.floor(x - 0.5), jnp.floor(y - 0.5)
        dx, dy = (x - 0.5 - left)[..., None], (y - 0.5 - top)[..., None]
        pixels = image.reshape(height * width, channels)

        def pixel(down: int, right: int) -> jax.Array:
            row = jnp.clip(top.astype(jnp.int32) + down, 0, height - 1)
            column = jnp.clip(left.astype(jnp.int32) + right, 0, width - 1)
            return pixels.at[row * width + column].get(mode="promise_in_bounds").astype(jnp.float32)

        upper = pixel(0, 0) + (pixel(0, 1) - pixel(0, 0)) * dx
        lower = pixel(1, 0) + (pixel(1, 1) - pixel(1, 0)) * dx
        value = jnp.clip(upper + (lower - upper) * dy, 0, 255)  # a point far outside has a huge dx and dy
        return jnp.where(inside[..., None], value.astype(jnp.uint8), fill)

    return jax.vmap(one)(images, matrices)
