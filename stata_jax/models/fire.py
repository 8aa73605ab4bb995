"""Batch normalisation and the neurons that it feeds, as one function with its gradient.

The current between the two is the largest thing that training would keep; it is computed again from the product. The
product may be computed again as well, from the spikes that entered it.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from stata_jax.models.normalize import Kept, apply_statistics, gradient_sums, input_gradient, statistics
from stata_jax.spiking.bytes import restore
from stata_jax.spiking.lif import Neuron, current_gradient, fire_and_count
from stata_jax.spiking.pieces import map_and_sum_pieces


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def normalize_and_fire(
    x: jax.Array, scale: jax.Array, bias: jax.Array, neuron: Neuron, epsilon: float, axis_name: str | None
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """`lif(normalize(x))`, their number and the statistics, keeping `x` alone for the backward pass.

    Args:
      x: Shape (T, ..., C), any floating type.
      scale: Shape (C,), float32.
      bias: Shape (C,), float32.
      neuron: The constants of the neurons.
      epsilon: Added to the variance.
      axis_name: Name of the device axis over which statistics are taken, or None.

    Returns:
      Spikes in the shape and type of `x`, their number, and mean and variance, through which no gradient passes.

    Source: see `normalize` and `lif`.
    """
    mean, var = statistics(x, axis_name=axis_name)

    def scan(x: jax.Array, *, unroll: int) -> tuple[jax.Array, jax.Array]:
        current = apply_statistics(x, mean, var, scale, bias, epsilon=epsilon)
        return fire_and_count(neuron, current, unroll=unroll)

    spikes, count = map_and_sum_pieces(scan, x)
    return spikes.astype(x.dtype), count, mean, var


def _forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, neuron: Neuron, epsilon: float, axis_name: str | None
) -> tuple[tuple[jax.Array, jax.Array, jax.Array, jax.Array], tuple[Kept, jax.Array, jax.Array]]:
    spikes, count, mean, var = normalize_and_fire(x, scale, bias, neuron, epsilon, axis_name)
    return (spikes, count, mean, var), ((x, mean, jax.lax.rsqrt(var + epsilon), scale), var, bias)


def _backward(
    neuron: Neuron,
    epsilon: float,
    axis_name: str | None,
    kept: tuple[Kept, jax.Array, jax.Array],
    gradients: tuple[jax.Array, ...],
) -> tuple[jax.Array, jax.Array, jax.Array]:
    (x, mean, inverse, scale), var, bias = kept

    def through_neurons(x: jax.Array, spike_gradient: jax.Array, *, unroll: int) -> tuple[jax.Array, Sums]:
        current = apply_statistics(x, mean, var, scale, bias, epsilon=epsilon)
        dy = current_gradient(neuron, current, spike_gradient, gradients[1], unroll=unroll)
        return dy, gradient_sums(mean, inverse, x, dy)

    dy, (scale_gradient, bias_gradient) = map_and_sum_pieces(through_neurons, x, gradients[0])
    return input_gradient(kept[0], dy, scale_gradient, bias_gradient, axis_name), scale_gradient, bias_gradient


Sums = tuple[jax.Array, jax.Array]

normalize_and_fire.defvjp(_forward, _backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 5, 6, 7))
def product_and_fire(
    product: Callable[[jax.Array, Any], jax.Array],
    x: jax.Array,
    weights: Any,
    scale: jax.Array,
    bias: jax.Array,
    neuron: Neuron,
    epsilon: float,
    axis_name: str | None,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """`normalize_and_fire(product(x, weights), ...)`, keeping `x` alone for the backward pass, in bytes.

    Args:
      product: Takes `x` and `weights`, and returns an array (T, ..., C) in the type of `x`.
      x: Whole numbers from 0 to 255, such as spikes, shape (T, ...), any floating type.
      weights: Arrays.
      scale: As the others, see `normalize_and_fire`.
      bias: Likewise.
      neuron: Likewise.
      epsilon: Likewise.
      axis_name: Likewise.

    Returns:
      What `normalize_and_fire` returns.
    """
    return normalize_and_fire(product(x, weights), scale, bias, neuron, epsilon, axis_name)


def _forward_from_bytes(
    product: Callable[[jax.Array, Any], jax.Array], x: jax.Array, weights: Any, *rest: Any
) -> tuple[Any, Any]:
    results, ((_, *statistics), var, bias) = _forward(product(x, weights), *rest)
    return results, (x.astype(jnp.uint8), weights, statistics, var, bias)


def _backward_from_bytes(
    product: Callable[[jax.Array, Any], jax.Array],
    neuron: Neuron,
    epsilon: float,
    axis_name: str | None,
    kept: Any,
    gradients: tuple[jax.Array, ...],
) -> Any:
    x, weights, statistics, var, bias = kept
    y, pull = jax.vjp(product, restore(x, gradients[0].dtype, after=gradients[0]), weights)
    dy, *of_norm = _backward(neuron, epsilon, axis_name, ((y, *statistics), var, bias), gradients)
    return *pull(dy), *of_norm


product_and_fire.defvjp(_forward_from_bytes, _backward_from_bytes)
