"""Max-pooling with a cheap gradient that gives ties to the first maximum.

`max_pool` halves images in the stems; `max_filter` keeps their size.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from stata_jax.kernels.hardware import by_hardware

_NOWHERE = 9  # beyond the nine places of a window


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool(x: jax.Array, lean: bool = False) -> jax.Array:
    """Maximum over 3x3 windows, stride 2, padding 1.

    Spikes tie in almost every window; the gradient goes to the first maximum in row-major order, as in torch. The
    backward pass keeps one byte per window, and is a few shifted sums where the compiler's own is a scatter.

    Args:
      x: Images, shape (B, H, W, C), with even H and W.
      lean: Whether `x` are spikes, 0 or 1, which are compared as bytes.

    Returns:
      Shape (B, H/2, W/2, C).

    Raises:
      ValueError: If H or W is odd.
    """
    best: jax.Array = _halve(x.astype(jnp.uint8) if lean else x, lambda x: _windows(x, stride=2)[0])
    return best.astype(x.dtype)


def _forward(x: jax.Array, lean: bool) -> tuple[jax.Array, jax.Array]:
    """The pool, and what its backward pass keeps: the place of each maximum, twice that plus the spike if lean."""
    if not lean:
        return _halve(x, functools.partial(_windows, stride=2))
    # The spike can be told from the byte that is kept anyway, so that what comes next needs not keep it.
    kept = _halve(x.astype(jnp.uint8) + 1, _spike_and_place)  # with 0 left for what is beyond the edge
    return (kept & 1).astype(x.dtype), kept


def _halve(x: jax.Array, windows: Callable[[jax.Array], Any]) -> Any:
    check_sides(x)

    def by_image(x: jax.Array) -> Any:
        # In a loop, for else a processor's compiler puts off the places to the backward pass, and keeps the input.
        halved = jax.lax.map(lambda image: windows(image[None]), x)
        return jax.tree.map(lambda each: each[:, 0], halved)

    return by_hardware(x, cpu=by_image, default=windows)


def check_sides(x: jax.Array) -> None:
    """Raises ValueError where the sides of images (..., H, W, C) are not even."""
    height, width = x.shape[-3:-1]
    if height % 2 or width % 2:
        raise ValueError(f"cannot halve images of {height}x{width} pixels")


def _spike_and_place(x: jax.Array) -> jax.Array:
    """Of each window twice the place of its maximum, plus 1 where that is a spike, which is 2 here."""
    best, place = _windows(x, stride=2)
    return 2 * place + (best - 1)


def _windows(x: jax.Array, *, stride: int) -> tuple[jax.Array, jax.Array]:
    """The maximum of each window, and which of its nine places had it first."""
    batch, height, width, channels = x.shape
    low = 0 if x.dtype == jnp.uint8 else jnp.finfo(x.dtype).min
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=low)
    best = jnp.full((batch, height // stride, width // stride, channels), low, x.dtype)
    place = jnp.zeros(best.shape, jnp.uint8)
    for i in range(9):
        row, column = divmod(i, 3)
        values = padded[:, row : row + height : stride, column : column + width : stride]
        place = jnp.where(values > best, jnp.uint8(i), place)
        best = jnp.maximum(best, values)
    return best, place


def _backward(lean: bool, kept: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    place = kept >> 1 if lean else kept

    def by_image(place: jax.Array, gradient: jax.Array) -> jax.Array:
        # In a loop of its own, for else a processor's compiler repeats this in each sum that reads it.
        return jax.lax.map(lambda one: _received(one[0][None], one[1][None])[0], (place, gradient))

    return (by_hardware(place, gradient, cpu=by_image, default=_received),)


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


def shifted(windows: jax.Array, down: int, right: int) -> jax.Array:
    """For each window o of (..., H, W, C) the value of window o + down, o + right; zero beyond."""
    *others, height, width, _ = windows.shape
    padded = jnp.pad(windows, (*[(0, 0)] * len(others), (0, down), (0, right), (0, 0)))
    return padded[..., down : down + height, right : right + width, :]


max_pool.defvjp(_forward, _backward)


@jax.custom_vjp
def max_filter(x: jax.Array) -> jax.Array:
    """Maximum over 3x3 windows, stride 1, padding 1; ties as in `max_pool`.

    Args:
      x: Images, shape (B, H, W, C).

    Returns:
      Shape (B, H, W, C).
    """
    return _windows(x, stride=1)[0]


def _filter_backward(place: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    """Place (i, j) of the window at (r, c) is pixel (r + i - 1, c + j - 1)."""
    _, height, width, _ = gradient.shape
    received = jnp.pad(jnp.zeros_like(gradient), ((0, 0), (1, 1), (1, 1), (0, 0)))
    for i in range(9):
        row, column = divmod(i, 3)
        chosen = jnp.where(place == i, gradient, jnp.zeros_like(gradient))
        received = received.at[:, row : row + height, column : column + width].add(chosen)
    return (received[:, 1:-1, 1:-1],)


def _filter_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _windows(x, stride=1)


max_filter.defvjp(_filter_forward, _filter_backward)
