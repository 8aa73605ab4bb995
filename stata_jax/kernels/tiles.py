"""Going through large arrays in tiles that a processor's cache holds.

A processor's compiler fuses a chain of simple operations into everything that reads its result, and repeats it there;
what it does not fuse goes to memory and back at each operation. In a loop over tiles neither happens. Accelerators
take whole arrays.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from stata_jax.kernels.bits import MOST, apart, row_major
from stata_jax.kernels.neuron import CPU

# Values of one array in a tile: the arrays of a tile, in float32, fit the caches of one core. Arrays whose first and
# last axes alone hold more stay whole.
TILE = 131072


def scan_by_tiles(scan: Callable[..., Any], *arrays: jax.Array, target: str) -> Any:
    """Applies a scan over time in which the entries of other axes do not meet; see `by_tiles`.

    Args:
      scan: Takes arrays of shape (T, ...) and the option `unroll`, for `jax.lax.scan`; returns arrays (T, ...).
      *arrays: All of one shape (T, ...).
      target: `cpu` or `gpu`.

    Returns:
      What `scan` returns for the arrays.
    """
    return jax.tree.map(functools.partial(apart, target=target), map_tiles(scan, *arrays, target=target))


def map_tiles(scan: Callable[..., Any], *arrays: jax.Array, target: str) -> Any:
    """`scan_by_tiles` of a scan whose results readers may compute again, and may have another T."""
    if target == CPU:
        return by_tiles(functools.partial(scan, unroll=1), *arrays, target=target)
    return _unrolled(scan, arrays)


def _unrolled(scan: Callable[..., Any], arrays: tuple[jax.Array, ...]) -> Any:
    """Applies a scan to whole arrays."""
    # With the barrier the compiler does not see that the backward pass recomputes what the forward pass has had, and
    # does not keep it. It need not hold the gradients, which are the other arrays and may so be computed where they
    # are read: an entry of each ties the first array to the backward pass.
    first, *others = map(row_major, arrays)
    first, *_ = jax.lax.optimization_barrier((first, *map(first_entry, others)))
    return scan(first, *others, unroll=MOST)


def by_tiles(function: Callable[..., Any], *arrays: jax.Array, target: str) -> Any:
    """Applies a function in which the entries of all axes but the first and the last do not meet.

    Args:
      function: Takes and returns arrays of the shape of `arrays`.
      *arrays: All of one shape (T, ..., C).
      target: `cpu` or `gpu`, which takes the arrays whole.

    Returns:
      What `function` returns for the arrays.
    """
    if target == CPU:
        return _loop(lambda *tiles: (function(*tiles), ()), arrays)[0]
    return function(*arrays)


def sum_over_tiles(function: Callable[..., Any], *arrays: jax.Array, target: str) -> Any:
    """Adds up what a function returns for the tiles.

    Args:
      function: Takes arrays of shape (T, ..., C) and returns sums over all axes but the last, or over all.
      *arrays: All of one shape (T, ..., C).
      target: `cpu` or `gpu`, which takes the arrays whole.

    Returns:
      What `function` returns for the arrays.
    """
    if target == CPU:
        return _loop(lambda *tiles: ((), function(*tiles)), arrays)[1]
    return function(*arrays)


def map_and_sum_tiles(scan: Callable[..., Any], *arrays: jax.Array, target: str) -> Any:
    """Applies a scan as `scan_by_tiles` does, and adds up what else it returns as `sum_over_tiles` does, in one go.

    Args:
      scan: Takes arrays of shape (T, ..., C) and the option `unroll`; returns an array of that shape, and sums over all
        axes but the last, or over all.
      *arrays: Of one shape (T, ..., C), but for T, which may be 1 in some, and in the result.
      target: `cpu` or `gpu`, which takes the arrays whole.

    Returns:
      What `scan` returns for the arrays.
    """
    if target == CPU:
        return _loop(functools.partial(scan, unroll=1), arrays)
    return _unrolled(scan, arrays)


def _loop(function: Callable[..., Any], arrays: tuple[jax.Array, ...]) -> Any:
    """Applies a function tile by tile.

    It returns two trees: arrays like those given, which are put together, and sums, which are added up. If there is one
    array of the first kind, it takes the place of the last array given, where that is one of several and as large: each
    tile is read before it is overwritten.
    """
    *others, last = arrays
    if last.size == 0:
        return function(*arrays)
    like, sums = jax.eval_shape(function, *arrays)
    timesteps = max(x.shape[0] for x in (*arrays, *jax.tree.leaves(like)))
    shape = (timesteps, *last.shape[1:])
    tile = tile_shape(shape)
    counts = [whole // part for whole, part in zip(shape, tile, strict=True)]
    replace = bool(others) and [(x.shape, x.dtype) for x in jax.tree.leaves(like)] == [(last.shape, last.dtype)]
    start = jax.tree.map(lambda x: last if replace else buffer(x.shape, x.dtype, beside=arrays[0]), like)
    nothing = jax.tree.map(lambda x: jnp.zeros_like(last, shape=x.shape, dtype=x.dtype), sums)

    def one(i: jax.Array, state: Any) -> Any:
        results, totals = state
        origin = [index * part for index, part in zip(jnp.unravel_index(i, counts), tile, strict=True)]
        inputs = (*others, *jax.tree.leaves(results)) if replace else arrays
        parts = (jax.lax.dynamic_slice(x, origin, (x.shape[0], *tile[1:])) for x in inputs)
        found, sums = function(*parts)
        put = functools.partial(jax.lax.dynamic_update_slice, start_indices=origin)
        return jax.tree.map(put, results, found), jax.tree.map(jnp.add, totals, sums)

    return jax.lax.fori_loop(0, math.prod(counts), one, (start, nothing))


def buffer(shape: tuple[int, ...], dtype: Any, *, beside: jax.Array) -> jax.Array:
    """An array to be written tile by tile; it does not matter what is in it.

    Compilers make equal empty arrays once, keep that one from its first use to its last, and copy it for each of them.
    So this one is full of an entry of an array that is there anyway, and no other is equal.
    """
    return jnp.full(shape, first_entry(beside).reshape(()).astype(dtype))


def tile_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the tiles into which an array (T, ..., C) is cut, along all axes but time and the last.

    Axis by axis, each is cut into single entries until one can be cut into larger parts, which hold at most `TILE`
    values. Channels stay together, because statistics belong to them. The array is not flattened for that: what
    computes it would then work out each value's place.

    Args:
      shape: The array's.

    Returns:
      A shape that divides it.
    """
    tile = list(shape)
    for axis in range(1, len(shape) - 1):
        values = math.prod(tile)
        if values <= TILE:
            break
        tile[axis] = largest_divisor(tile[axis], at_most=TILE * tile[axis] // values)
    return tuple(tile)


def largest_divisor(n: int, *, at_most: int) -> int:
    """The largest divisor of `n` that is at most `at_most`; 1 where that is below 1."""
    return max(divisor for divisor in range(1, max(1, at_most) + 1) if n % divisor == 0)


def first_entry(x: jax.Array) -> jax.Array:
    """The first entry of an array, of as many axes; none where the array is empty."""
    return jax.lax.slice(x, (0,) * x.ndim, [min(1, n) for n in x.shape])
