"""3x3 convolutions with 4 multiplications for each value instead of 9.

Each tile of 2x2 values of the result depends on 4x4 of the image. With three fixed matrices of few small numbers,

    Y = A^T [(G g G^T) * (B^T d B)] A

where d is such a 4x4 part, g the 3x3 weight of two channels, `*` goes entry by entry, and the sum over the channels of
the image turns the 16 entries into 16 matmuls. B and A hold 0, 1 and -1 alone and G halves as well, so that
float32 loses as little as in any other order of the sum; what enters the matmuls for spikes are whole numbers.

Source: S. Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin and S. Gray, Fast Algorithms for
Convolutional Neural Networks, CVPR 2016, Eqs. 8 and 9.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from stata_jax.kernels.tiles import buffer, largest_divisor

# Tiles that pass through the matmuls at once: few enough for their 16 entries to stay in a processor's cache, enough
# for long matmuls.
TILES = 256
# Below these, transforming costs more than the matmuls save.
LEAST_CHANNELS = 32
LEAST_TILES = 128

Entries = tuple[jax.Array, ...]
State = TypeVar("State")


def pays(shape: tuple[int, ...], weight: jax.Array) -> bool:
    """Whether this is the faster way on a processor: float32, even sides, and enough to multiply.

    Args:
      shape: Of the images, (B, H, W, C), or of the gradient of the result, (B, H, W, M).
      weight: Shape (3, 3, C, M).
    """
    batch, height, width, _ = shape
    even = height % 2 == 0 and width % 2 == 0
    enough = min(weight.shape[2:]) >= LEAST_CHANNELS and batch * height * width >= 4 * LEAST_TILES
    return even and enough and weight.dtype == jnp.float32


def convolve(x: jax.Array, weight: jax.Array) -> jax.Array:
    """A 3x3 convolution of stride 1 with zeros around the image.

    Args:
      x: Images with even sides, shape (B, H, W, C).
      weight: Shape (3, 3, C, M), float32.

    Returns:
      Shape (B, H, W, M).
    """
    return _convolve(x, _of_weight(weight), over=0)


def input_gradient(gradient: jax.Array, weight: jax.Array) -> jax.Array:
    """The gradient of the images: a convolution of that of the result with the weight turned round.

    The products sum over the weight's last axis as it lies. A transposed copy of its entries is slow to write where
    the length of a row is a power of two, since a column then falls into few places of a processor's cache.

    Args:
      gradient: Gradient of the result, with even sides, shape (B, H, W, M).
      weight: Shape (3, 3, C, M), float32.

    Returns:
      Shape (B, H, W, C).
    """
    return _convolve(gradient, _of_weight(jnp.flip(weight, (0, 1))), over=1)


def _convolve(x: jax.Array, entries: Entries, *, over: int) -> jax.Array:
    """A convolution with the weight's entries, matrices (C, M), summed over their first or second axis."""
    matrix_products = (((1,), (over,)), ((), ()))
    channels, dtype = entries[0].shape[1 - over], entries[0].dtype

    def put(results: jax.Array, part: jax.Array, origin: tuple[jax.Array, ...]) -> jax.Array:
        pairs = zip(_of_image(part), entries, strict=True)
        products = tuple(jax.lax.dot_general(tiles, matrix, matrix_products) for tiles, matrix in pairs)
        batch, height, width, _ = part.shape
        values = _to_image((batch, height - 2, width - 2), *products)
        return jax.lax.dynamic_update_slice(results, values, (*origin, 0, 0))

    return _over_tiles(x, put, buffer((*x.shape[:3], channels), dtype, beside=x))


def weight_gradient(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """The gradient of the weight: with D = A dY A^T in each tile, `dg = G^T [sum_tiles (B^T d B)^T D] G`.

    Args:
      x: Images with even sides, shape (B, H, W, C), floating or bytes.
      gradient: Gradient of the result, shape (B, H, W, M).

    Returns:
      Shape (3, 3, C, M).
    """
    sides = x.shape[-1], gradient.shape[-1]

    def add(total: Entries, part: jax.Array, origin: tuple[jax.Array, ...]) -> Entries:
        batch, height, width, _ = part.shape
        shape = batch, height - 2, width - 2
        there = jax.lax.dynamic_slice(gradient, (*origin, 0, 0), (*shape, sides[1]))
        products = jnp.zeros_like(gradient, shape=(math.prod(shape) // 4, sides[1]))
        spread = _transposed(functools.partial(_to_image, shape), *[products] * 16)(there)
        rows = (((0,), (0,)), ((), ()))
        return tuple(
            so_far + jax.lax.dot_general(tiles, there, rows)
            for so_far, tiles, there in zip(total, _of_image(part.astype(gradient.dtype)), spread, strict=True)
        )

    nothing: Entries = (jnp.zeros_like(gradient, shape=sides),) * 16
    total = _over_tiles(x, add, nothing)
    (weight_gradient,) = _transposed(_of_weight, jnp.zeros_like(gradient, shape=(3, 3, *sides)))(total)
    return weight_gradient


def _transposed(function: Callable[..., Any], *like: jax.Array) -> Callable[..., tuple[jax.Array, ...]]:
    """The transpose of a linear function.

    `jax.linear_transpose` takes shapes, which do not say what differs from device to device; these arrays do, and
    nothing is computed of them.
    """
    transposed: Callable[..., tuple[jax.Array, ...]] = jax.vjp(function, *like)[1]
    return transposed


def _over_tiles(x: jax.Array, take: Callable[[State, jax.Array, tuple[jax.Array, ...]], State], state: State) -> State:
    """Goes through images in bands: some images, or some rows of one, with a border of one pixel around them.

    `take(state, band, (first image, first row))` returns the next state.
    """
    batch, height, width, _ = x.shape
    images = largest_divisor(batch, at_most=TILES * 4 // (height * width))
    rows = 2 * largest_divisor(height // 2, at_most=TILES * 2 // width)

    def take_images(i: jax.Array, state: State) -> State:
        here = jax.lax.dynamic_slice_in_dim(x, i * images, images)
        here = jnp.pad(here, ((0, 0), (1, 1), (1, 1), (0, 0)))

        def take_rows(j: jax.Array, state: State) -> State:
            part = jax.lax.dynamic_slice_in_dim(here, j * rows, rows + 2, axis=1)
            return take(state, part, (i * images, j * rows))

        return jax.lax.fori_loop(0, height // rows, take_rows, state)

    return jax.lax.fori_loop(0, batch // images, take_images, state)


def _of_image(x: jax.Array) -> Entries:
    """`B^T d B` of each tile: images with their border, (B, H+2, W+2, C), to 16 times (tiles, C)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)

    def at(i: int, j: int) -> jax.Array:
        """Pixel (i, j) of each tile."""
        rows, columns = slice(i // 2, i // 2 + height // 2 - 1), slice(j // 2, j // 2 + width // 2 - 1)
        return x[:, rows, i % 2, columns, j % 2]

    def transform(a: list[jax.Array]) -> list[jax.Array]:
        return [a[0] - a[2], a[1] + a[2], a[2] - a[1], a[1] - a[3]]

    columns = [transform([at(i, j) for i in range(4)]) for j in range(4)]
    return tuple(entry.reshape(-1, channels) for row in zip(*columns, strict=True) for entry in transform(list(row)))


def _of_weight(weight: jax.Array) -> Entries:
    """`G g G^T`: (3, 3, C, M) to 16 times (C, M)."""

    def transform(g: list[jax.Array]) -> list[jax.Array]:
        return [g[0], 0.5 * (g[0] + g[1] + g[2]), 0.5 * (g[0] - g[1] + g[2]), g[2]]

    columns = [transform([weight[i, j] for i in range(3)]) for j in range(3)]
    return tuple(entry for row in zip(*columns, strict=True) for entry in transform(list(row)))


def _to_image(shape: tuple[int, int, int], *products: jax.Array) -> jax.Array:
    """`A^T m A` of each tile, put together: 16 times (tiles, M) to images (B, H, W, M)."""
    batch, height, width = shape

    def transform(m: list[jax.Array]) -> list[jax.Array]:
        return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]

    m = [product.reshape(batch, height // 2, width // 2, -1) for product in products]
    columns = [transform(m[j::4]) for j in range(4)]
    rows = [transform(list(row)) for row in zip(*columns, strict=True)]
    return jnp.stack([jnp.stack(row, axis=3) for row in rows], axis=2).reshape(batch, height, width, -1)
