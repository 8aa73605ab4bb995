"""The max-pool of spikes on accelerators: bit-packed, all timesteps at once."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from stata_jax.kernels import bits
from stata_jax.ops.conv import check_sides

# Most timesteps: four bits of each fit into 32.
MOST = 8


@jax.custom_vjp
def pool(x: jax.Array) -> jax.Array:
    """`max_pool` of spikes, with its gradient: to the first spike of a window, and to its first pixel without one.

    One operation on packed bits does for all timesteps what would else be one for each.

    Args:
      x: Spikes, 0 or 1, shape (T, B, H, W, C), with at most `MOST` timesteps, and even H and W.

    Returns:
      Shape (T, B, H/2, W/2, C).

    Raises:
      ValueError: If H or W is odd, or there are too many timesteps.
    """
    return _read(_windows(x)[0], x)


def _read(packed: jax.Array, x: jax.Array) -> jax.Array:
    return bits.unpack(packed, x.shape[0], x.dtype)


def _forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    spikes, places = jax.lax.optimization_barrier(_windows(x))  # both now, for the backward pass does not have `x`
    return _read(spikes, x), places


def _windows(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of each window the spikes bit-packed, and the places of the first ones, as four bit sets in one.

    Their bits say at which timesteps the place is in the middle row, in the last row, in the middle column and in the
    last column. Both have the shape (B, H/2, W/2, C).
    """
    timesteps, _, height, width, _ = x.shape
    check_sides(x)
    if timesteps > MOST:
        raise ValueError(f"spikes of {timesteps} timesteps do not fit: at most {MOST}")
    packed = bits.pack(x)
    padded = jnp.pad(packed, ((0, 0), (1, 1), (1, 1), (0, 0)))
    seen = jnp.zeros_like(packed[:, ::2, ::2])
    rows, columns = [seen] * 3, [seen] * 3
    for i in range(3):
        for j in range(3):
            here = padded[:, i : i + height : 2, j : j + width : 2]
            first = here & ~seen
            seen, rows[i], columns[j] = seen | here, rows[i] | first, columns[j] | first
    # The first pixel of a window is in its middle row or column where that is the first of the image.
    silent = ~seen & seen.dtype.type(2**timesteps - 1)
    rows[1] |= jnp.where(_is_first(height // 2)[:, None, None], silent, jnp.zeros_like(silent))
    columns[1] |= jnp.where(_is_first(width // 2)[:, None], silent, jnp.zeros_like(silent))
    wide = jnp.uint8 if timesteps <= 2 else jnp.uint16 if timesteps <= 4 else jnp.uint32
    parts = (part.astype(wide) << wide(i * timesteps) for i, part in enumerate((*rows[1:], *columns[1:])))
    return seen, functools.reduce(jnp.bitwise_or, parts)


def _is_first(size: int) -> jax.Array:
    return jnp.arange(size) == 0


# Where pixels of even and of odd rows lie: in window o + 0 or o + 1, and in which of its rows. Columns likewise. The
# window of output row o covers input rows 2o - 1, 2o and 2o + 1.
_WINDOWS = (((0, 1),), ((0, 2), (1, 0)))


def _backward(places: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    """Adds up what each pixel receives from the one, two or four windows that it lies in."""
    timesteps, batch, height, width, channels = gradient.shape
    by_row = [jnp.stack([_received(places, gradient, rows, columns) for columns in _WINDOWS], 4) for rows in _WINDOWS]
    return (jnp.stack(by_row, axis=3).reshape(timesteps, batch, 2 * height, 2 * width, channels),)


def _received(places: jax.Array, gradient: jax.Array, rows: Any, columns: Any) -> jax.Array:
    """What the pixels of one kind of rows and of columns receive, shape (T, B, H/2, W/2, C)."""
    timesteps = gradient.shape[0]
    bit = jnp.arange(timesteps, dtype=places.dtype).reshape(timesteps, 1, 1, 1, 1)
    total = jnp.zeros((), gradient.dtype)
    for down, row in rows:
        for right, column in columns:
            place, given = shifted(places, down, right), shifted(gradient, down, right)
            there = _is_in(row, place, timesteps) & _is_in(column, place >> places.dtype.type(2 * timesteps), timesteps)
            total += jnp.where((there >> bit) & places.dtype.type(1) != 0, given, jnp.zeros_like(given))
    return total


def _is_in(row: int, place: jax.Array, timesteps: int) -> jax.Array:
    """Whether places are in a row, as the lowest T bits; the others mean nothing."""
    middle, last = place, place >> place.dtype.type(timesteps)
    return (~(middle | last), middle, last)[row]


def shifted(windows: jax.Array, down: int, right: int) -> jax.Array:
    """For each window o of (..., H, W, C) the value of window o + down, o + right; zero beyond."""
    *others, height, width, _ = windows.shape
    padded = jnp.pad(windows, (*[(0, 0)] * len(others), (0, down), (0, right), (0, 0)))
    return padded[..., down : down + height, right : right + width, :]


pool.defvjp(_forward, _backward)
