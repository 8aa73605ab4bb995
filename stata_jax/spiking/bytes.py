"""Functions of spikes that keep them in bytes, a quarter of their size, for the backward pass."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def keeping_bytes(function: Callable[..., jax.Array], *, lean: bool) -> Callable[..., jax.Array]:
    """The same function, whose backward pass starts from its arguments in bytes, without loss.

    Args:
      function: Takes arrays of whole numbers from 0 to 255 in one floating type, and returns an array.
      lean: Whether to; False returns the function itself.

    Returns:
      A function with the same values and gradients.
    """
    return functools.partial(_from_bytes, function) if lean else function


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _from_bytes(function: Callable[..., jax.Array], *spikes: jax.Array) -> jax.Array:
    return function(*spikes)


def _forward(function: Callable[..., jax.Array], *spikes: jax.Array) -> tuple[jax.Array, Any]:
    of_type = jnp.zeros((0,), spikes[0].dtype)  # carries the type
    return function(*spikes), (tuple(x.astype(jnp.uint8) for x in spikes), of_type)


def _backward(function: Callable[..., jax.Array], kept: Any, gradient: jax.Array) -> Any:
    spikes, of_type = kept
    return jax.vjp(function, *(restore(x, of_type.dtype, after=gradient) for x in spikes))[1](gradient)


def restore(spikes: jax.Array, dtype: Any, *, after: jax.Array) -> jax.Array:
    """Turns bytes into a floating type, not before another array is there.

    Compilers merge equal conversions, and would keep the result of the forward pass.
    """
    return later(spikes, after=after).astype(dtype)


def later(x: jax.Array, *, after: jax.Array) -> jax.Array:
    """The same array, for what shall not be computed before another array is there.

    Not all compilers heed barriers. So it is made to depend on `after`: 0 is added unless that array begins with a NaN.
    """
    first = jax.lax.slice(after, (0,) * after.ndim, (1,) * after.ndim).reshape(())
    return x + (first != first).astype(x.dtype)


_from_bytes.defvjp(_forward, _backward)
