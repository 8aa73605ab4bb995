"""Spikes of all timesteps, bit-packed, in forms that the compiler of an accelerator makes one kernel of.

An array that is stacked over time XLA computes one timestep after another, and writes membranes to memory in between.
One value a neuron, or an array a timestep, it computes in one kernel. So spikes leave the neurons as the bits of one
word each, and gradients as one array a timestep.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint

from stata_jax.kernels.neuron import CPU

# Timesteps that the compiler sees at once, and that have a bit each.
MOST = 16


def packed_type(timesteps: int) -> Any:
    """The smallest type with a bit for each timestep."""
    return jnp.uint8 if timesteps <= 8 else jnp.uint16


def unpack(packed: jax.Array, timesteps: int, dtype: Any) -> jax.Array:
    """Spikes from their bits, bit `t` for the spike at `t`.

    Args:
      packed: Any shape (...), unsigned.
      timesteps: T.
      dtype: Type of the spikes.

    Returns:
      0 or 1, shape (T, ...).
    """
    packed = jax.lax.optimization_barrier(row_major(packed))  # else each reader computes the neurons again
    bits = jnp.arange(timesteps, dtype=packed.dtype).reshape(timesteps, *[1] * packed.ndim)
    return row_major((packed >> bits) & packed.dtype.type(1)).astype(dtype)


def pack(spikes: jax.Array) -> jax.Array:
    """The bits (...) of spikes (T, ...), which `unpack` turns into them again."""
    dtype = packed_type(spikes.shape[0])
    packed = functools.reduce(jnp.bitwise_or, (at_t.astype(dtype) << dtype(t) for t, at_t in enumerate(spikes)))
    return jax.lax.optimization_barrier(row_major(packed))


def apart(x: jax.Array, *, target: str) -> jax.Array:
    """The same array (T, ...), which no reader computes again; few timesteps each in memory of their own."""
    if target == CPU:  # whose compiler heeds no barrier
        return x
    if x.shape[0] > MOST:
        return jax.lax.optimization_barrier(x)
    return jnp.stack(jax.lax.optimization_barrier(tuple(x)))


def row_major(x: jax.Array) -> jax.Array:
    """The same array, whose axes lie in memory in their order.

    A matmul over other axes would like its operands in another order, and compilers then choose that for all that has
    led to them: neurons and statistics would go through memory across the channels.
    """
    return with_layout_constraint(x, Layout(tuple(range(x.ndim))))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def split(spikes: jax.Array, parts: int) -> tuple[jax.Array, ...]:
    """Equal parts of the last axis of (..., C), each (..., C / parts).

    Their gradients are joined in memory, for the neurons' kernel would read too many arrays.
    """
    return tuple(jnp.split(spikes, parts, axis=-1))


def _split_forward(spikes: jax.Array, parts: int) -> tuple[tuple[jax.Array, ...], None]:
    return split(spikes, parts), None


def _split_backward(_: int, __: None, gradients: tuple[jax.Array, ...]) -> tuple[jax.Array]:
    return (jax.lax.optimization_barrier(jnp.concatenate(gradients, axis=-1)),)


split.defvjp(_split_forward, _split_backward)
