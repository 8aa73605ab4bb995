"""Batch normalisation as torch does it: biased variance for the batch, unbiased for the running statistics."""

import jax
import jax.numpy as jnp


def batch_statistics(x: jax.Array, *, axis_name: str | None = None) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance over all axes but the last, in float32, and over all devices of a named axis.

    There are two passes, since the mean of squares less the square of the mean loses all digits when the mean is large.

    Args:
      x: Shape (..., C), any floating type.
      axis_name: Name of the device axis over which statistics are taken, or None.

    Returns:
      Mean and variance, both of shape (C,), float32.
    """
    x, axes = x.astype(jnp.float32), tuple(range(x.ndim - 1))
    mean = over_devices(jnp.mean(x, axis=axes), axis_name)
    return mean, over_devices(jnp.mean(jnp.square(x - mean), axis=axes), axis_name)


def over_devices(x: jax.Array, axis_name: str | None) -> jax.Array:
    """The mean over the devices of a named axis; the array itself without a name."""
    return x if axis_name is None else jax.lax.pmean(x, axis_name)


def normalize(
    x: jax.Array, scale: jax.Array, bias: jax.Array, *, epsilon: float = 1e-5, axis_name: str | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises by the batch: `y = (x - mean) / sqrt(var + epsilon) * scale + bias`.

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
    mean, var = batch_statistics(x, axis_name=axis_name)
    y = apply_statistics(x, mean, var, scale, bias, epsilon=epsilon)
    return y, *jax.lax.stop_gradient((mean, var))


def apply_statistics(
    x: jax.Array, mean: jax.Array, var: jax.Array, scale: jax.Array, bias: jax.Array, *, epsilon: float = 1e-5
) -> jax.Array:
    """`(x - mean) / sqrt(var + epsilon) * scale + bias`, computed in float32, in the type of `x`."""
    return shift_and_scale(x, mean, jax.lax.rsqrt(var + epsilon) * scale, bias)


def shift_and_scale(x: jax.Array, mean: jax.Array, factor: jax.Array, bias: jax.Array) -> jax.Array:
    """`(x - mean) * factor + bias`, computed in float32, in the type of `x`."""
    return ((x.astype(jnp.float32) - mean) * factor + bias).astype(x.dtype)


def running_average(old: jax.Array, new: jax.Array, *, momentum: float) -> jax.Array:
    """`momentum old + (1 - momentum) new`; torch calls `1 - momentum` momentum."""
    return momentum * old + (1 - momentum) * new


def unbiased(var: jax.Array, count: int, *, axis_name: str | None = None) -> jax.Array:
    """The unbiased variance from the biased one of `count` values on each device, `var n / (n - 1)`."""
    n = count * (1 if axis_name is None else jax.lax.axis_size(axis_name))
    return var * (n / max(n - 1, 1))
