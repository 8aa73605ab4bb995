"""The two products with weights, with gradients in the forms that run fast.

The values and the gradients are those of `jnp.dot` and `jax.lax.conv_general_dilated`; only the order in which the
gradient of a weight is summed differs.
"""

import jax
import jax.numpy as jnp

from stata_jax.spiking.pieces import largest_divisor

# Pixels whose share of a convolution's weight gradient is summed at once, in whole images, at least one: few enough for
# small images and their gradients to stay in a processor's cache, enough for long products.
PIXELS = 2048
# Name under which results of products are known to `jax.checkpoint`.
PRODUCT = "product"


@jax.custom_vjp
def linear(x: jax.Array, weight: jax.Array) -> jax.Array:
    """A product over the last axis, `y = x W`.

    Args:
      x: Shape (..., K).
      weight: Shape (K, M).

    Returns:
      Shape (..., M).
    """
    return jnp.dot(x, weight)


def _linear_forward(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return jnp.dot(x, weight), (x, weight)


def _linear_backward(kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`dX = dY W^T`, `dW = X^T dY`.

    The derived rule computes the transpose of `dW`, for which compilers copy a transpose of `dY` first.
    """
    x, weight = kept
    return jnp.dot(gradient, weight.T), _over_rows(x, gradient).astype(weight.dtype)


def _over_rows(x: jax.Array, y: jax.Array) -> jax.Array:
    """`X^T Y` for X and Y seen as matrices: (..., K) and (..., M) to (K, M), summed in float32."""
    rows = (((0,), (0,)), ((), ()))
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    return jax.lax.dot_general(x, y, rows, preferred_element_type=jnp.float32)


linear.defvjp(_linear_forward, _linear_backward)


@jax.custom_vjp
def convolve(x: jax.Array, weight: jax.Array) -> jax.Array:
    """A 3x3 convolution of stride 1 with zeros around the image.

    Args:
      x: Images, shape (B, H, W, C).
      weight: Shape (3, 3, C, M).

    Returns:
      Shape (B, H, W, M).
    """
    return _convolution(x, weight)


def _convolution(x: jax.Array, weight: jax.Array) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, weight, (1, 1), ((1, 1), (1, 1)), dimension_numbers=layout)


def _convolve_forward(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _convolution(x, weight), (x, weight)


def _convolve_backward(kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`dX` is a convolution of `dY` with the weight turned round; `dW[i, j] = sum_pixels X[+i-1, +j-1]^T dY`."""
    x, weight = kept
    x_gradient = _convolution(gradient, jnp.flip(weight, (0, 1)).swapaxes(2, 3))
    weight_gradient = jax.lax.platform_dependent(x, gradient, cpu=weight_gradient_in_pieces, default=_derived)
    return x_gradient, weight_gradient


def _derived(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """The weight gradient as JAX derives it, for which accelerators have kernels."""
    shape = jnp.zeros((3, 3, x.shape[-1], gradient.shape[-1]), x.dtype)
    return jax.vjp(lambda weight: _convolution(x, weight), shape)[1](gradient)[0]


def weight_gradient_in_pieces(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """The weight gradient of `convolve` as nine matrix products, summed over pieces that fit a processor's cache.

    As a convolution with a window as large as the image, which is how it is derived, it runs at a third of the speed.

    Args:
      x: Images, shape (B, H, W, C).
      gradient: Gradient of the result, shape (B, H, W, M).

    Returns:
      Shape (3, 3, C, M).
    """
    batch, height, width, channels = x.shape
    images = largest_divisor(batch, at_most=PIXELS // (height * width))

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        near, there = (jax.lax.dynamic_slice_in_dim(array, i * images, images) for array in (x, gradient))
        near = jnp.pad(near, ((0, 0), (1, 1), (1, 1), (0, 0)))
        places = [_over_rows(near[:, j : j + height, k : k + width], there) for j in range(3) for k in range(3)]
        return total + jnp.stack(places)

    nothing = jnp.zeros((9, channels, gradient.shape[-1]), jnp.float32)
    total = jax.lax.fori_loop(0, batch // images, add, nothing)
    return total.reshape(3, 3, channels, -1).astype(x.dtype)


convolve.defvjp(_convolve_forward, _convolve_backward)
