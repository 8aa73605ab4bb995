"""Batch normalisation by the batch's own statistics, as one function with its gradient."""

import functools

import jax
import jax.numpy as jnp

from stata_jax.kernels.hardware import by_hardware
from stata_jax.kernels.tiles import by_pieces, sum_over_pieces
from stata_jax.ops.varying import alike


def statistics(x: jax.Array, *, axis_name: str | None = None) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance over all axes but the last, in float32, and over all devices of a named axis.

    The mean of squares less the square of the mean loses all digits when the mean is large. So there are two passes; or
    one, on hardware on which passes are what takes the time, over distances from the mean of some of the values.
    """
    two, one = (functools.partial(passes, axis_name) for passes in (_in_two_passes, _in_one_pass))
    mean, var = by_hardware(x.astype(jnp.float32), cpu=two, default=one)
    return mean, var


def _in_two_passes(axis_name: str | None, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    axes = tuple(range(x.ndim - 1))
    mean = _over_devices(jnp.mean(x, axis=axes), axis_name)
    return mean, _over_devices(jnp.mean(jnp.square(x - mean), axis=axes), axis_name)


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
    mean = _over_devices(here, axis_name)
    return mean, _over_devices(var + jnp.square(here - mean), axis_name)


def _mean_of_first(x: jax.Array) -> jax.Array:
    """The mean over the first image at the first timestep of (T, B, ..., C), or over the first entry of fewer axes."""
    first = x[0, 0] if x.ndim > 3 else x[0]
    return jnp.mean(first, axis=tuple(range(first.ndim - 1)))


def _over_devices(x: jax.Array, axis_name: str | None) -> jax.Array:
    return x if axis_name is None else jax.lax.pmean(x, axis_name)


def normalize(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis_name: str | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises by the batch: `y = (x - mean) / sqrt(var + epsilon) * scale + bias`.

    The backward pass keeps `x` and the statistics. Its sums are those of the closed form,

        dx = scale / sqrt(var + epsilon) (dy - mean(dy) - n mean(dy n)),   n = (x - mean) / sqrt(var + epsilon),

    two over the batch where the derived rule takes five.

    Args:
      x: Shape (..., C), any floating type.
      scale: Shape (C,), float32.
      bias: Shape (C,), float32.
      epsilon: Added to the variance.
      axis_name: Name of the device axis over which statistics are taken, or None.

    Returns:
      `y` in the type of `x`, and mean and variance, through which no gradient passes.

    Source: Ioffe and Szegedy, "Batch Normalization", ICML 2015.
    """
    return _normalize(*alike(x, scale, bias), epsilon, axis_name)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _normalize(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis_name: str | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    mean, var = statistics(x, axis_name=axis_name)
    return apply_statistics(x, mean, var, scale, bias, epsilon=epsilon), mean, var


def apply_statistics(
    x: jax.Array, mean: jax.Array, var: jax.Array, scale: jax.Array, bias: jax.Array, *, epsilon: float
) -> jax.Array:
    """`(x - mean) / sqrt(var + epsilon) * scale + bias`, computed in float32, in the type of `x`."""
    return shift_and_scale(x, mean, jax.lax.rsqrt(var + epsilon) * scale, bias)


def shift_and_scale(x: jax.Array, mean: jax.Array, factor: jax.Array, bias: jax.Array) -> jax.Array:
    """`(x - mean) * factor + bias`, computed in float32, in the type of `x`."""
    y = (x.astype(jnp.float32) - mean) * factor + bias
    return y.astype(x.dtype)


Kept = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def _forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis_name: str | None
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], Kept]:
    y, mean, var = _normalize(x, scale, bias, epsilon, axis_name)
    return (y, mean, var), (x, mean, jax.lax.rsqrt(var + epsilon), scale)


def _backward(
    epsilon: float, axis_name: str | None, kept: Kept, gradients: tuple[jax.Array, jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, mean, inverse, _ = kept
    dy = gradients[0]
    scale_gradient, bias_gradient = sum_over_pieces(functools.partial(gradient_sums, mean, inverse), x, dy)
    return input_gradient(kept, dy, scale_gradient, bias_gradient, axis_name), scale_gradient, bias_gradient


def gradient_sums(mean: jax.Array, inverse: jax.Array, x: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sums of `dy n` and of `dy` over all axes but the last, which are the gradients of scale and bias."""
    axes = tuple(range(x.ndim - 1))
    dy = dy.astype(jnp.float32)
    return jnp.sum(dy * _normal(x, mean, inverse), axis=axes), jnp.sum(dy, axis=axes)


def _normal(x: jax.Array, mean: jax.Array, inverse: jax.Array) -> jax.Array:
    return (x.astype(jnp.float32) - mean) * inverse


def input_gradient(
    kept: Kept, dy: jax.Array, scale_gradient: jax.Array, bias_gradient: jax.Array, axis_name: str | None
) -> jax.Array:
    """`dx` of `normalize` from the two sums over this device's batch."""
    x, mean, inverse, scale = kept
    count = x.size // x.shape[-1]
    mean_dy = _over_devices(bias_gradient / count, axis_name)
    mean_dyn = _over_devices(scale_gradient / count, axis_name)
    factor = scale * inverse

    def derivative(x: jax.Array, dy: jax.Array) -> jax.Array:
        dx = factor * (dy.astype(jnp.float32) - mean_dy - _normal(x, mean, inverse) * mean_dyn)
        return dx.astype(x.dtype)

    dx: jax.Array = by_pieces(derivative, x, dy)
    return dx


_normalize.defvjp(_forward, _backward)
