"""Affine maps of images by one gather, with Pillow's conventions.

A map is the `(2, 3)` matrix of `(x, y) -> (a x + b y + c, d x + e y + f)` from the output to the input, in pixels:
pixel `i` covers `i .. i + 1`, so its centre is at `i + 1/2`. What comes from outside the input is filled.
"""

import jax
import jax.numpy as jnp

_ERROR = 2.0**-12  # of a sum of 16 bytes, about; that much below a whole number is the whole number


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


def cubic_weights(share: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Weights of four neighbours in a row for a point between the middle two.

    At a distance `x`: `(a + 2) x^3 - (a + 3) x^2 + 1` up to 1, `a x^3 - 5a x^2 + 8a x - 4a` from 1 to 2; Keys (1981,
    doi:10.1109/TASSP.1981.1163711) with `a = -1`, which is Pillow's where it maps images.

    Args:
      share: `(...)` float32, from 0 at the second neighbour to 1 at the third.

    Returns:
      Four arrays `(...)`, which sum to 1.
    """
    square, rest = share * share, 1 - share
    return -share * rest * rest, 1 - square - square * rest, share + square * rest, -square * rest


def bicubic(images: jax.Array, matrices: jax.Array, *, fill: jax.Array) -> jax.Array:
    """Maps each image by its own matrix, interpolating between the 16 nearest pixels, as Pillow's BICUBIC.

    Edge pixels are repeated outwards for the sum; the result is rounded down and cut to 0..255. Numbers are float32,
    Pillow's float64: where a value is nearly a whole number, the two may be 1 apart.

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
        # A point far outside, which is filled, must not overflow the whole numbers.
        x, y = jnp.clip(x, -1, width + 1) - 0.5, jnp.clip(y, -1, height + 1) - 0.5
        left, top = jnp.floor(x), jnp.floor(y)
        across, down = (cubic_weights((at - first)[..., None]) for at, first in ((x, left), (y, top)))
        pixels = image.reshape(height * width, channels)

        def pixel(row: int, column: int) -> jax.Array:
            at_row = jnp.clip(top.astype(jnp.int32) + row - 1, 0, height - 1)
            at_column = jnp.clip(left.astype(jnp.int32) + column - 1, 0, width - 1)
            return pixels.at[at_row * width + at_column].get(mode="promise_in_bounds").astype(jnp.float32)

        value = jnp.zeros(image.shape, jnp.float32)
        for row in range(4):
            value += down[row] * sum(across[column] * pixel(row, column) for column in range(4))
        return jnp.where(inside[..., None], jnp.clip(value + _ERROR, 0, 255).astype(jnp.uint8), fill)

    return jax.vmap(one)(images, matrices)
