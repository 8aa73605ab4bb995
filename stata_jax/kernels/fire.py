"""Batch normalisation and the neurons that it feeds, as one function with its gradient.

The current between the two is the largest thing that training would keep; it is computed again from the product. The
product may be computed again as well, from what entered it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from stata_jax.kernels.bits import apart
from stata_jax.kernels.lif import Neuron, current_gradient, fire_and_count
from stata_jax.kernels.norm import Kept, gradient_sums, input_gradient, shift_and_scale, statistics
from stata_jax.kernels.residuals import restore
from stata_jax.kernels.tiles import map_and_sum_pieces
from stata_jax.ops.varying import alike

Fired = tuple[jax.Array, jax.Array, jax.Array, jax.Array]  # spikes, their number, mean and variance
Sums = tuple[jax.Array, jax.Array]


class Constants(NamedTuple):
    """The constants of a normalisation and of the neurons that it feeds.

    Attributes:
      neuron: The constants of the neurons.
      epsilon: Added to the variance.
      axis_name: Name of the device axis over which statistics are taken, or None.
      repeats: T where an input of one timestep stands for T equal ones, else 1.
    """

    neuron: Neuron
    epsilon: float
    axis_name: str | None = None
    repeats: int = 1

    def current(self, x: jax.Array, mean: jax.Array, factor: jax.Array, bias: jax.Array) -> jax.Array:
        """The current of the neurons at each timestep, (T, ..., C)."""
        return repeat(shift_and_scale(x, mean, factor, bias), self.repeats)


def repeat(x: jax.Array, timesteps: int) -> jax.Array:
    """Repeats (1, ...) over T timesteps; 1 for T returns `x` as it is, however many it has."""
    return x if timesteps == 1 else jnp.broadcast_to(x, (timesteps, *x.shape[1:]))


def normalize_and_fire(x: jax.Array, scale: jax.Array, bias: jax.Array, constants: Constants) -> Fired:
    """`lif(normalize(x))`, their number and the statistics, keeping `x` alone for the backward pass.

    Args:
      x: Shape (T, ..., C), any floating type; (1, ..., C) where one timestep stands for several.
      scale: Shape (C,), float32.
      bias: Shape (C,), float32.
      constants: The constants.

    Returns:
      Spikes of shape (T, ..., C) in the type of `x`, their number, and mean and variance, through which no gradient
      passes.

    Source: see `normalize` and `lif`.
    """
    return _normalize_and_fire(*alike(x, scale, bias), constants)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalize_and_fire(x: jax.Array, scale: jax.Array, bias: jax.Array, constants: Constants) -> Fired:
    mean, var = statistics(x, axis_name=constants.axis_name)
    factor = jax.lax.rsqrt(var + constants.epsilon) * scale

    def scan(x: jax.Array, *, unroll: int) -> tuple[jax.Array, jax.Array]:
        return fire_and_count(constants.neuron, constants.current(x, mean, factor, bias), unroll=unroll)

    spikes, count = map_and_sum_pieces(scan, x)
    return spikes.astype(x.dtype), count, mean, var


def _forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, constants: Constants
) -> tuple[Fired, tuple[Kept, jax.Array]]:
    spikes, count, mean, var = _normalize_and_fire(x, scale, bias, constants)
    return (spikes, count, mean, var), ((x, mean, jax.lax.rsqrt(var + constants.epsilon), scale), bias)


def _backward(
    constants: Constants, kept: tuple[Kept, jax.Array], gradients: Fired
) -> tuple[jax.Array, jax.Array, jax.Array]:
    (x, mean, inverse, scale), bias = kept
    factor = inverse * scale

    def through_neurons(x: jax.Array, spike_gradient: jax.Array, *, unroll: int) -> tuple[jax.Array, Sums]:
        current = constants.current(x, mean, factor, bias)
        # Each timestep is written down once, for the sums and then for the gradient of `x`.
        dy = apart(current_gradient(constants.neuron, current, spike_gradient, gradients[1], unroll=unroll))
        if constants.repeats > 1:
            dy = jnp.sum(dy, axis=0, keepdims=True)
        return dy, gradient_sums(mean, inverse, x, dy)

    dy, (scale_gradient, bias_gradient) = map_and_sum_pieces(through_neurons, x, gradients[0])
    dx = input_gradient(kept[0], dy, scale_gradient, bias_gradient, constants.axis_name)
    return dx, scale_gradient, bias_gradient


_normalize_and_fire.defvjp(_forward, _backward)


def product_and_fire(
    product: Callable[[jax.Array, Any], jax.Array],
    in_bytes: bool,
    x: jax.Array,
    weights: Any,
    scale: jax.Array,
    bias: jax.Array,
    constants: Constants,
) -> Fired:
    """`normalize_and_fire(product(x, weights), ...)`, keeping `x` alone for the backward pass.

    Args:
      product: Takes `x` and `weights`, and returns an array (T, ..., C) in the type of `x`.
      in_bytes: Whether to keep `x` in bytes, where it has whole numbers from 0 to 255, such as spikes.
      x: Shape (T, ...), any floating type.
      weights: Arrays.
      scale: As the others, see `normalize_and_fire`.
      bias: Likewise.
      constants: Likewise.

    Returns:
      What `normalize_and_fire` returns.
    """
    return _product_and_fire(product, in_bytes, *alike(x, weights, scale, bias), constants)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 6))
def _product_and_fire(
    product: Callable[[jax.Array, Any], jax.Array],
    _: bool,
    x: jax.Array,
    weights: Any,
    scale: jax.Array,
    bias: jax.Array,
    constants: Constants,
) -> Fired:
    return _normalize_and_fire(product(x, weights), scale, bias, constants)


def _forward_with_product(
    product: Callable[[jax.Array, Any], jax.Array], in_bytes: bool, x: jax.Array, weights: Any, *rest: Any
) -> tuple[Fired, Any]:
    results, ((_, *statistics), bias) = _forward(product(x, weights), *rest)
    return results, (x.astype(jnp.uint8) if in_bytes else x, weights, statistics, bias)


def _backward_with_product(
    product: Callable[[jax.Array, Any], jax.Array], _: bool, constants: Constants, kept: Any, gradients: Fired
) -> Any:
    x, weights, statistics, bias = kept
    y, pull = jax.vjp(product, restore(x, gradients[0].dtype, after=gradients[0]), weights)
    dy, *of_norm = _backward(constants, ((y, *statistics), bias), gradients)
    return *pull(dy), *of_norm


_product_and_fire.defvjp(_forward_with_product, _backward_with_product)
