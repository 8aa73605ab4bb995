"""Batch normalisation and the neurons that it feeds, as one function with its gradient.

The current between the two is the largest thing that training would keep; it is computed again from the product.
"""

import functools

import jax

from stata_jax.models.normalize import Kept, apply_statistics, gradient_sums, input_gradient, statistics
from stata_jax.spiking.lif import Neuron, charge_and_fire, current_gradient
from stata_jax.spiking.pieces import map_and_sum_pieces, scan_by_pieces


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def normalize_and_fire(
    x: jax.Array, scale: jax.Array, bias: jax.Array, neuron: Neuron, epsilon: float, axis_name: str | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`lif(normalize(x))`, and the statistics, keeping `x` alone for the backward pass.

    Args:
      x: Shape (T, ..., C), any floating type.
      scale: Shape (C,), float32.
      bias: Shape (C,), float32.
      neuron: The constants of the neurons.
      epsilon: Added to the variance.
      axis_name: Name of the device axis over which statistics are taken, or None.

    Returns:
      Spikes in the shape and type of `x`, and mean and variance, through which no gradient passes.

    Source: see `normalize` and `lif`.
    """
    mean, var = statistics(x, axis_name=axis_name)

    def scan(x: jax.Array, *, unroll: int) -> jax.Array:
        current = apply_statistics(x, mean, var, scale, bias, epsilon=epsilon)
        return charge_and_fire(neuron, current, unroll=unroll)[0]

    return scan_by_pieces(scan, x).astype(x.dtype), mean, var


def _forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, neuron: Neuron, epsilon: float, axis_name: str | None
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple[Kept, jax.Array, jax.Array]]:
    spikes, mean, var = normalize_and_fire(x, scale, bias, neuron, epsilon, axis_name)
    return (spikes, mean, var), ((x, mean, jax.lax.rsqrt(var + epsilon), scale), var, bias)


def _backward(
    neuron: Neuron,
    epsilon: float,
    axis_name: str | None,
    kept: tuple[Kept, jax.Array, jax.Array],
    gradients: tuple[jax.Array, jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array, jax.Array]:
    (x, mean, inverse, scale), var, bias = kept

    def through_neurons(x: jax.Array, spike_gradient: jax.Array, *, unroll: int) -> tuple[jax.Array, Sums]:
        current = apply_statistics(x, mean, var, scale, bias, epsilon=epsilon)
        dy = current_gradient(neuron, current, spike_gradient, unroll=unroll)
        return dy, gradient_sums(mean, inverse, x, dy)

    dy, (scale_gradient, bias_gradient) = map_and_sum_pieces(through_neurons, x, gradients[0])
    return input_gradient(kept[0], dy, scale_gradient, bias_gradient, axis_name), scale_gradient, bias_gradient


Sums = tuple[jax.Array, jax.Array]

normalize_and_fire.defvjp(_forward, _backward)
