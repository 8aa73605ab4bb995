"""Batch normalisation with a backward pass of two sums over the batch, where the derived rule takes five."""

import functools

import jax
import jax.numpy as jnp

from stata_jax.kernels.neuron import CPU
from stata_jax.kernels.tiles import by_tiles, sum_over_tiles
from stata_jax.ops.norm import apply_statistics, over_devices
from stata_jax.ops.norm import batch_statistics as in_two_passes
from stata_jax.varying import alike

Residuals = tuple[jax.Array, jax.Array, jax.Array, jax.Array]  # x, mean, 1 / sqrt(var + epsilon) and scale


def batch_statistics(x: jax.Array, *, axis_name: str | None = None, target: str) -> tuple[jax.Array, jax.Array]:
    """`stata_jax.ops.norm.batch_statistics`; in one pass on accelerators, where passes are what takes the time."""
    if target == CPU:
        return in_two_passes(x, axis_name=axis_name)
    return _in_one_pass(axis_name, x.astype(jnp.float32))


def _in_one_pass(axis_name: str | None, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """With distances `d = x - near`: mean `near + mean(d)` and variance `mean(d^2) - mean(d)^2`.

    Digits are lost as far as the square of `mean(d)` is above the variance, so not unless the first image is unlike
    all others.
    """
    axes = tuple(range(x.ndim - 1))
    near = _mean_of_first(x)
    distance = x - near
    offset, square = jnp.mean(distance, axis=axes), jnp.mean(jnp.square(distance), axis=axes)
    here, var = near + offset, jnp.maximum(square - jnp.square(offset), 0)
    mean = over_devices(here, axis_name)
    return mean, over_devices(var + jnp.square(here - mean), axis_name)


def _mean_of_first(x: jax.Array) -> jax.Array:
    """The mean over the first image at the first timestep of (T, B, ..., C), or over the first entry of fewer axes."""
    first = x[0, 0] if x.ndim > 3 else x[0]
    return jnp.mean(first, axis=tuple(range(first.ndim - 1)))


def normalize(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    *,
    epsilon: float = 1e-5,
    axis_name: str | None = None,
    target: str,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`stata_jax.ops.norm.normalize`, see there; the backward pass keeps `x` and the statistics.

    Its sums are those of the closed form,

        dx = scale / sqrt(var + epsilon) (dy - mean(dy) - n mean(dy n)),   n = (x - mean) / sqrt(var + epsilon).
    """
    return _normalize(*alike(x, scale, bias), epsilon, axis_name, target)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _normalize(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis_name: str | None, target: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
    mean, var = batch_statistics(x, axis_name=axis_name, target=target)
    return apply_statistics(x, mean, var, scale, bias, epsilon=epsilon), mean, var


def _forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis_name: str | None, target: str
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], Residuals]:
    y, mean, var = _normalize(x, scale, bias, epsilon, axis_name, target)
    return (y, mean, var), (x, mean, jax.lax.rsqrt(var + epsilon), scale)


def _backward(
    epsilon: float,
    axis_name: str | None,
    target: str,
    residuals: Residuals,
    gradients: tuple[jax.Array, jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, mean, inverse, _ = residuals
    dy = gradients[0]
    scale_gradient, bias_gradient = sum_over_tiles(
        functools.partial(gradient_sums, mean, inverse), x, dy, target=target
    )
    dx = input_gradient(residuals, dy, scale_gradient, bias_gradient, axis_name=axis_name, target=target)
    return dx, scale_gradient, bias_gradient


def gradient_sums(mean: jax.Array, inverse: jax.Array, x: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sums of `dy n` and of `dy` over all axes but the last, which are the gradients of scale and bias."""
    axes = tuple(range(x.ndim - 1))
    dy = dy.astype(jnp.float32)
    return jnp.sum(dy * _normal(x, mean, inverse), axis=axes), jnp.sum(dy, axis=axes)


def _normal(x: jax.Array, mean: jax.Array, inverse: jax.Array) -> jax.Array:
    return (x.astype(jnp.float32) - mean) * inverse


def input_gradient(
    residuals: Residuals,
    dy: jax.Array,
    scale_gradient: jax.Array,
    bias_gradient: jax.Array,
    *,
    axis_name: str | None,
    target: str,
) -> jax.Array:
    """`dx` of `normalize` from the two sums over this device's batch."""
    x, mean, inverse, scale = residuals
    count = x.size // x.shape[-1]
    mean_dy = over_devices(bias_gradient / count, axis_name)
    mean_dyn = over_devices(scale_gradient / count, axis_name)
    factor = scale * inverse

    def derivative(x: jax.Array, dy: jax.Array) -> jax.Array:
        dx = factor * (dy.astype(jnp.float32) - mean_dy - _normal(x, mean, inverse) * mean_dyn)
        return dx.astype(x.dtype)

    dx: jax.Array = by_tiles(derivative, x, dy, target=target)
    return dx


_normalize.defvjp(_forward, _backward)
