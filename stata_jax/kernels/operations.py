"""The operations of a model in the forms that suit a kind of hardware, as one value."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from stata_jax.kernels import fire, lif, matmul, norm, plif, pool
from stata_jax.kernels.byte_residuals import from_bytes, read_beside
from stata_jax.kernels.neuron import CPU, GPU
from stata_jax.ops.attention import spiking_attention
from stata_jax.ops.operations import Operations

TARGETS = (CPU, GPU)


def operations(target: str = "auto", *, in_bytes: bool = True, remat: bool = False) -> Operations:
    """The operations in the forms that suit a kind of hardware.

    Args:
      target: `cpu`; `gpu`, which stands for any accelerator; or `auto` for what JAX works on.
      in_bytes: Whether spikes are kept as uint8 residuals.
      remat: Whether, with uint8 residuals as well, the backward pass rematerialises cheap matmuls that neurons follow.

    Returns:
      The operations; equal choices are one value, so that a program compiles once.

    Raises:
      ValueError: For another target.
    """
    if target == "auto":
        target = CPU if jax.default_backend() == "cpu" else GPU
    if target not in TARGETS:
        raise ValueError(f"there are no kernels for {target!r}: use auto, {', '.join(TARGETS)} or plain")
    return _operations(target, in_bytes, remat)


@functools.cache
def _operations(target: str, in_bytes: bool, remat: bool) -> Operations:
    of_target = functools.partial(functools.partial, target=target)
    of_both = functools.partial(functools.partial, target=target, in_bytes=in_bytes)
    chosen = Operations(
        lif=of_both(lif.lif),
        plif=of_target(plif.plif),
        linear=functools.partial(matmul.linear, in_bytes=in_bytes),
        convolve=of_both(matmul.convolve),
        normalize=of_target(norm.normalize),
        matmul_norm_lif=of_both(fire.matmul_norm_lif, remat=remat),
        max_pool=of_both(pool.max_pool),
        read_beside=functools.partial(read_beside, in_bytes=in_bytes),
    )
    return dataclasses.replace(chosen, attention=_attention, multiply=_multiply) if in_bytes else chosen


def _attention(q: jax.Array, k: jax.Array, v: jax.Array, *, heads: int, scale: float) -> jax.Array:
    return from_bytes(functools.partial(spiking_attention, heads=heads, scale=scale), q, k, v)


def _multiply(x: jax.Array, y: jax.Array) -> jax.Array:
    return from_bytes(jnp.multiply, x, y)
