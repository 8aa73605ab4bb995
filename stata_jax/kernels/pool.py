"""Max-pooling with a cheap gradient that gives ties to the first maximum."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from stata_jax.kernels import bit_pool
from stata_jax.kernels.bit_pool import shifted
from stata_jax.kernels.neuron import CPU, GPU
from stata_jax.ops.conv import check_sides, fold_time

_NOWHERE = 9  # beyond the nine places of a window


def max_pool(x: jax.Array, *, spikes: bool = False, in_bytes: bool, target: str) -> jax.Array:
    """`stata_jax.ops.conv.max_pool` of (T, B, H, W, C), see there.

    The backward pass keeps one byte per window, and is a few shifted sums where the compiler's own is a scatter.

    Args:
      x: As there.
      spikes: As there.
      in_bytes: Whether spikes are compared as bytes.
      target: As in `Neuron`. An accelerator pools spikes of few timesteps bit-packed.

    Returns:
      As there.
    """
    check_sides(x)
    as_bytes = spikes and in_bytes
    if as_bytes and target == GPU and x.shape[0] <= bit_pool.MOST:
        return bit_pool.pool(x)
    return fold_time(lambda images: _max_pool(images, as_bytes, target), x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _max_pool(x: jax.Array, as_bytes: bool, target: str) -> jax.Array:
    best: jax.Array = _by_image(lambda x: _windows(x)[0], x.astype(jnp.uint8) if as_bytes else x, target=target)
    return best.astype(x.dtype)


def _forward(x: jax.Array, as_bytes: bool, target: str) -> tuple[jax.Array, jax.Array]:
    """The pool, and what its backward pass keeps: the place of each maximum, twice that plus the spike as bytes."""
    if not as_bytes:
        pooled: tuple[jax.Array, jax.Array] = _by_image(_windows, x, target=target)
        return pooled
    # The spike can be told from the byte that is kept anyway, so that what comes next needs not keep it.
    residual = _by_image(_spike_and_place, x.astype(jnp.uint8) + 1, target=target)  # 0 is left for beyond the edge
    return (residual & 1).astype(x.dtype), residual


def _by_image(function: Callable[..., Any], *arrays: jax.Array, target: str) -> Any:
    """Applies a function of (B, ...) image by image on a processor, and whole elsewhere.

    Else a processor's compiler puts off the places to the backward pass, and keeps the input; and there it repeats what
    is received in each sum that reads it.
    """
    if target != CPU:
        return function(*arrays)
    mapped = jax.lax.map(lambda images: function(*(image[None] for image in images)), arrays)
    return jax.tree.map(lambda each: each[:, 0], mapped)


def _spike_and_place(x: jax.Array) -> jax.Array:
    """Of each window twice the place of its maximum, plus 1 where that is a spike, which is 2 here."""
    best, place = _windows(x)
    return 2 * place + (best - 1)


def _windows(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The maximum of each window, and which of its nine places had it first."""
    batch, height, width, channels = x.shape
    low = 0 if x.dtype == jnp.uint8 else jnp.finfo(x.dtype).min
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=low)
    best = jnp.full((batch, height // 2, width // 2, channels), low, x.dtype)
    place = jnp.zeros(best.shape, jnp.uint8)
    for i in range(9):
        row, column = divmod(i, 3)
        values = padded[:, row : row + height : 2, column : column + width : 2]
        place = jnp.where(values > best, jnp.uint8(i), place)
        best = jnp.maximum(best, values)
    return best, place


def _backward(as_bytes: bool, target: str, residual: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    place = residual >> 1 if as_bytes else residual
    return (_by_image(_received, place, gradient, target=target),)


def _received(place: jax.Array, gradient: jax.Array) -> jax.Array:
    """Adds up what each pixel receives from the windows that it lies in.

    The window of output row o covers input rows 2o - 1, 2o and 2o + 1: an even row 2o lies in the middle of one
    window, an odd row 2o + 1 in the last row of window o and in the first of window o + 1. Columns likewise.
    """
    _, height, width, _ = gradient.shape
    in_window = {0: (1, 2), 1: (_NOWHERE, 0)}  # place of an even and of an odd row in window o, and in window o + 1
    total = jnp.zeros((), gradient.dtype)
    for down, rows in in_window.items():
        for right, columns in in_window.items():
            row = jnp.tile(jnp.array(rows, jnp.uint8), height)[:, None, None]
            column = jnp.tile(jnp.array(columns, jnp.uint8), width)[:, None]
            chosen = jnp.where((row < _NOWHERE) & (column < _NOWHERE), 3 * row + column, jnp.uint8(_NOWHERE))
            given = _for_pixels(gradient, down, right)
            total = total + jnp.where(_for_pixels(place, down, right) == chosen, given, jnp.zeros_like(given))
    return total


def _for_pixels(windows: jax.Array, down: int, right: int) -> jax.Array:
    """For each pixel pair (2o, 2o + 1), rows and columns, the value of window o + down, o + right; zero beyond.

    A zero beyond the edge is the first place of a window that gives nothing.
    """
    return jnp.repeat(jnp.repeat(shifted(windows, down, right), 2, axis=1), 2, axis=2)


_max_pool.defvjp(_forward, _backward)
