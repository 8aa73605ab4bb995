"""Residuals that hold spikes as bytes, and what keeps arrays in memory no longer than they are needed."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from stata_jax.kernels.tiles import first_entry
from stata_jax.varying import alike

Residuals = tuple[tuple[jax.Array, ...], jax.Array]


def from_bytes(function: Callable[..., jax.Array], *spikes: jax.Array) -> jax.Array:
    """Applies a function whose backward pass starts from its arguments as bytes, without loss.

    Args:
      function: Takes arrays of whole numbers from 0 to 255 in one floating type, and returns an array.
      *spikes: The arrays.

    Returns:
      What the function returns.
    """
    return _from_bytes(function, *alike(*spikes))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _from_bytes(function: Callable[..., jax.Array], *spikes: jax.Array) -> jax.Array:
    return function(*spikes)


def _forward(function: Callable[..., jax.Array], *spikes: jax.Array) -> tuple[jax.Array, Residuals]:
    return function(*spikes), _keep(spikes, in_bytes=True)


def _backward(function: Callable[..., jax.Array], residuals: Residuals, gradient: jax.Array) -> Any:
    return jax.vjp(function, *_take_up(residuals, after=gradient))[1](gradient)


def read_beside(
    function: Callable[..., Any], x: jax.Array, spikes: tuple[jax.Array, ...], *constants: Any, in_bytes: bool
) -> tuple[jax.Array, Any]:
    """Applies a function to spikes before `x` goes on; its backward pass waits for the gradient of `x`.

    What is read beside the way through a network, for a term of the loss, is needed only when there is a loss, and has
    its gradient then. A compiler may compute both then: it keeps the spikes as they are until the loss, and their
    gradients until the backward pass of the network has come to where they belong. With this function it cannot.

    Args:
      function: Takes the spikes and the constants, and returns arrays.
      x: What goes on through the network.
      spikes: Arrays of one floating type.
      *constants: Arrays that get no gradient, or None.
      in_bytes: Whether to keep the spikes, whole numbers from 0 to 255, as uint8.

    Returns:
      `x`, to go on with, and what the function returns.
    """
    result: tuple[jax.Array, Any] = _read_beside(function, in_bytes, *alike(x, spikes, constants))
    return result


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _read_beside(
    function: Callable[..., Any], in_bytes: bool, x: jax.Array, spikes: tuple[jax.Array, ...], constants: Any
) -> tuple[jax.Array, Any]:
    result = function(*spikes, *constants)
    for array in jax.tree.leaves(result):
        x = later(x, after=array)
    return x, result


def _read_forward(function: Callable[..., Any], in_bytes: bool, x: jax.Array, spikes: Any, constants: Any) -> Any:
    return _read_beside(function, in_bytes, x, spikes, constants), (_keep(spikes, in_bytes=in_bytes), constants)


def _read_backward(function: Callable[..., Any], _: bool, residuals: Any, gradients: Any) -> Any:
    (kept, constants), (dx, gradient) = residuals, gradients
    pull = jax.vjp(lambda *spikes: function(*spikes, *constants), *_take_up(kept, after=dx))[1]
    return dx, pull(gradient), None


_read_beside.defvjp(_read_forward, _read_backward)


def _keep(spikes: tuple[jax.Array, ...], *, in_bytes: bool) -> Residuals:
    """Spikes as residuals, and an empty array that carries their type."""
    return tuple(as_residual(x, in_bytes=in_bytes) for x in spikes), jnp.zeros((0,), spikes[0].dtype)


def as_residual(x: jax.Array, *, in_bytes: bool) -> jax.Array:
    """What the backward pass keeps of an array: with `in_bytes` its whole numbers from 0 to 255 as uint8."""
    return x.astype(jnp.uint8) if in_bytes else x


def _take_up(residuals: Residuals, *, after: jax.Array) -> tuple[jax.Array, ...]:
    """What `_keep` was given, not before another array is there."""
    spikes, of_type = residuals
    return tuple(restore(x, of_type.dtype, after=after) for x in spikes)


def restore(spikes: jax.Array, dtype: Any, *, after: jax.Array) -> jax.Array:
    """Turns bytes into a floating type, not before another array is there.

    Compilers merge equal conversions, and would keep the result of the forward pass.
    """
    return later(spikes, after=after).astype(dtype)


def later(x: jax.Array, *, after: jax.Array) -> jax.Array:
    """The same array, for what shall not be computed before another array is there.

    Not all compilers heed barriers. So it is made to depend on `after`: 0 is added unless that array begins with a NaN.
    """
    first = first_entry(after).reshape(())
    return x + (first != first).astype(x.dtype)


_from_bytes.defvjp(_forward, _backward)
