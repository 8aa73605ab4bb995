"""What the layers compute before normalisation and neurons: matmul, 3x3 convolution and max-pooling."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def linear(x: jax.Array, kernel: jax.Array, *, counts: bool = False) -> jax.Array:
    """A matmul over the last axis, `y = x W`.

    Args:
      x: Shape (..., K).
      kernel: `W`, shape (K, M).
      counts: Whether `x` holds whole numbers from 0 to 255, such as spikes or residuals that add a few: a fact that a
        kernel may use, and that changes no value.

    Returns:
      Shape (..., M).
    """
    return jnp.dot(x, kernel)


def convolve(x: jax.Array, kernel: jax.Array, *, counts: bool = False) -> jax.Array:
    """A 3x3 convolution of stride 1 with zeros around the image.

    Args:
      x: Images of all timesteps, shape (T, B, H, W, C).
      kernel: Shape (3, 3, C, M).
      counts: As in `linear`.

    Returns:
      Shape (T, B, H, W, M).
    """
    return fold_time(lambda images: convolve_images(images, kernel), x)


def fold_time(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Applies a function of (B, ...) to every timestep of (T, B, ...), by folding T into B."""
    y = function(x.reshape(-1, *x.shape[2:]))
    return y.reshape(*x.shape[:2], *y.shape[1:])


def convolve_images(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`convolve` of images (B, H, W, C)."""
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=layout)


def max_pool(x: jax.Array, *, spikes: bool = False) -> jax.Array:
    """Maximum over 3x3 windows, stride 2, padding 1.

    Spikes tie in almost every window; the gradient goes to the first maximum in row-major order, as in torch.

    Args:
      x: Shape (..., H, W, C), with even H and W.
      spikes: Whether `x` holds 0 and 1 alone: a fact that a kernel may use, and that changes no value.

    Returns:
      Shape (..., H/2, W/2, C).

    Raises:
      ValueError: If H or W is odd.
    """
    check_sides(x)
    return _window_maximum(x, stride=2)


def max_filter(x: jax.Array) -> jax.Array:
    """Maximum over 3x3 windows, stride 1, padding 1, of (..., H, W, C); ties as in `max_pool`."""
    return _window_maximum(x, stride=1)


def _window_maximum(x: jax.Array, *, stride: int) -> jax.Array:
    others = (1,) * (x.ndim - 3)
    lowest = np.asarray(-np.inf, x.dtype)  # known while tracing, by which JAX knows this for a maximum
    padding = (*[(0, 0)] * len(others), (1, 1), (1, 1), (0, 0))
    window, strides = (*others, 3, 3, 1), (*others, stride, stride, 1)
    return jax.lax.reduce_window(x, lowest, jax.lax.max, window, strides, padding)


def check_sides(x: jax.Array) -> None:
    """Raises ValueError where the sides of images (..., H, W, C) are not even."""
    height, width = x.shape[-3:-1]
    if height % 2 or width % 2:
        raise ValueError(f"cannot halve images of {height}x{width} pixels")
