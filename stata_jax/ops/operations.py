"""The operations that a model is made of, as one value: plain ones, or faster ones of the same signatures."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp

from stata_jax.ops.attention import spiking_attention
from stata_jax.ops.conv import convolve, linear, max_filter, max_pool
from stata_jax.ops.lif import lif, plif
from stata_jax.ops.norm import normalize

Layer = tuple[jax.Array, jax.Array, jax.Array]  # kernel, scale and bias
Fired = tuple[jax.Array, jax.Array, jax.Array]  # spikes, mean and variance


def matmul_norm_lif(
    matmul: Callable[..., jax.Array],
    x: jax.Array,
    layers: Sequence[Layer],
    *,
    names: Sequence[str] = (),
    repeats: int = 1,
    epsilon: float = 1e-5,
    axis_name: str | None = None,
    counts: bool = False,
    **neuron: float,
) -> list[Fired]:
    """The unit of all families in training, `lif(normalize(matmul(x, kernel)))`, for several layers of one input.

    Args:
      matmul: `linear` or `convolve`.
      x: Shape (T, ..., C); (1, ..., C) where one timestep stands for several.
      layers: Of each layer the kernel, and scale and bias of its normalisation.
      names: What profiles call each layer; none of them for none.
      repeats: T where an input of one timestep stands for T equal ones, else 1.
      epsilon: Added to the variance.
      axis_name: Name of the device axis over which statistics are taken, or None.
      counts: As in `linear`.
      **neuron: The constants of `lif`.

    Returns:
      For each layer the spikes (T, ..., M), and mean and variance, through which no gradient passes.
    """
    fired = []
    for (kernel, scale, bias), name in zip(layers, names or [""] * len(layers), strict=True):
        with scopes(name):
            y = jax.named_scope("matmul")(matmul)(x, kernel, counts=counts)
            current, mean, var = normalize(y, scale, bias, epsilon=epsilon, axis_name=axis_name)
            fired.append((lif(repeat(current, repeats), **neuron), mean, var))
    return fired


def scopes(name: str) -> AbstractContextManager[None]:
    """What profiles call a layer with its normalisation and neurons."""
    return jax.named_scope(f"{name}/norm.fire" if name else "norm.fire")


def repeat(x: jax.Array, timesteps: int) -> jax.Array:
    """Repeats (1, ...) over T timesteps; 1 for T returns `x` as it is, however many it has."""
    return x if timesteps == 1 else jnp.broadcast_to(x, (timesteps, *x.shape[1:]))


def read_beside(
    function: Callable[..., Any], x: jax.Array, spikes: tuple[jax.Array, ...], *constants: Any
) -> tuple[jax.Array, Any]:
    """Applies a function to spikes beside the way of `x` through the network, for a term of the loss.

    Args:
      function: Takes the spikes and the constants, and returns arrays.
      x: What goes on through the network. A kernel may tie it to the result, so that neither waits in memory.
      spikes: Arrays of one floating type.
      *constants: Arrays that get no gradient, or None.

    Returns:
      `x`, to go on with, and what the function returns.
    """
    return x, function(*spikes, *constants)


@dataclasses.dataclass(frozen=True)
class Operations:
    """The operations of a model; each field is a function of the signature of its default, with the same results."""

    lif: Callable[..., jax.Array] = lif
    plif: Callable[..., jax.Array] = plif
    linear: Callable[..., jax.Array] = linear
    convolve: Callable[..., jax.Array] = convolve
    normalize: Callable[..., tuple[jax.Array, jax.Array, jax.Array]] = normalize
    matmul_norm_lif: Callable[..., list[Fired]] = matmul_norm_lif
    max_pool: Callable[..., jax.Array] = max_pool
    max_filter: Callable[..., jax.Array] = max_filter
    attention: Callable[..., jax.Array] = spiking_attention
    multiply: Callable[[jax.Array, jax.Array], jax.Array] = jnp.multiply
    read_beside: Callable[..., tuple[jax.Array, Any]] = read_beside


PLAIN = Operations()
