"""The two products with weights, with gradients in the forms that run fast.

The values and the gradients are those of `jnp.dot` and `jax.lax.conv_general_dilated`; only the order in which sums are
taken differs: of the gradient of a weight and, on processors, of convolutions. Inputs that are spikes, or sums of few,
may be kept for the backward pass in bytes, without loss: whole numbers from 0 to 255.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from stata_jax.kernels import winograd
from stata_jax.kernels.hardware import by_hardware
from stata_jax.kernels.residuals import later, restore
from stata_jax.kernels.tiles import largest_divisor
from stata_jax.ops.varying import alike

# Pixels whose share of a convolution's weight gradient is summed at once, in whole images, at least one: few enough for
# small images and their gradients to stay in a processor's cache, enough for long products.
PIXELS = 2048


Kept = tuple[jax.Array, jax.Array]
Form = Callable[[jax.Array, jax.Array], jax.Array]


def linear(x: jax.Array, weight: jax.Array, lean: bool = False) -> jax.Array:
    """A product over the last axis, `y = x W`.

    Args:
      x: Shape (..., K).
      weight: Shape (K, M).
      lean: Whether `x`, whole numbers from 0 to 255, is kept in bytes.

    Returns:
      Shape (..., M).
    """
    return _linear(*alike(x, weight), lean)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _linear(x: jax.Array, weight: jax.Array, lean: bool) -> jax.Array:
    return jnp.dot(x, weight)


def _linear_forward(x: jax.Array, weight: jax.Array, lean: bool) -> tuple[jax.Array, Kept]:
    return _linear(x, weight, lean), (_keep(x, lean), weight)


def _keep(x: jax.Array, lean: bool) -> jax.Array:
    return x.astype(jnp.uint8) if lean else x


def _linear_backward(lean: bool, kept: Kept, gradient: jax.Array) -> Kept:
    """`dX = dY W^T`, `dW = X^T dY`.

    The derived rule computes the transpose of `dW`, for which compilers copy a transpose of `dY` first.
    """
    x, weight = kept
    x = restore(x, gradient.dtype, after=gradient) if lean else x
    weight_gradient = _over_rows(x, gradient).astype(weight.dtype)
    weight = later(weight, after=weight_gradient)  # so that `x` does not wait in memory
    return jnp.dot(gradient, weight.T), weight_gradient


def _over_rows(x: jax.Array, y: jax.Array) -> jax.Array:
    """`X^T Y` for X and Y seen as matrices: (..., K) and (..., M) to (K, M), summed in float32."""
    rows = (((0,), (0,)), ((), ()))
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    return jax.lax.dot_general(x, y, rows, preferred_element_type=jnp.float32)


_linear.defvjp(_linear_forward, _linear_backward)


def convolve(x: jax.Array, weight: jax.Array, lean: bool = False) -> jax.Array:
    """A 3x3 convolution of stride 1 with zeros around the image.

    Args:
      x: Images, shape (B, H, W, C).
      weight: Shape (3, 3, C, M).
      lean: As in `linear`.

    Returns:
      Shape (B, H, W, M).
    """
    return _convolve(*alike(x, weight), lean)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, weight: jax.Array, _: bool) -> jax.Array:
    return _by_size(x, weight, winograd.convolve, _plain)


def _by_size(x: jax.Array, weight: jax.Array, large: Form, plain: Form) -> jax.Array:
    """Applies `large` on processors where it pays, see `winograd.pays`, and `plain` everywhere else."""
    if not winograd.pays(x.shape, weight):
        return plain(x, weight)
    # The compiler chooses, so that whoever reads the program finds the plain form in it; it is little to trace.
    return jax.lax.platform_dependent(x, weight, cpu=large, default=plain)


def _plain(x: jax.Array, weight: jax.Array) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, weight, (1, 1), ((1, 1), (1, 1)), dimension_numbers=layout)


def _convolve_forward(x: jax.Array, weight: jax.Array, lean: bool) -> tuple[jax.Array, Kept]:
    return _convolve(x, weight, lean), (_keep(x, lean), weight)


def _convolve_backward(lean: bool, kept: Kept, gradient: jax.Array) -> Kept:
    """`dX` is a convolution of `dY` with the weight turned round; `dW[i, j] = sum_pixels X[+i-1, +j-1]^T dY`."""
    x, weight = kept
    on_cpu = winograd.weight_gradient if winograd.pays(x.shape, weight) else weight_gradient_in_pieces
    weight_gradient = by_hardware(x, gradient, cpu=on_cpu, default=_derived)
    weight = later(weight, after=weight_gradient)
    return _by_size(gradient, weight, winograd.input_gradient, _plain_input_gradient), weight_gradient


def _plain_input_gradient(gradient: jax.Array, weight: jax.Array) -> jax.Array:
    return _plain(gradient, jnp.flip(weight, (0, 1)).swapaxes(2, 3))


def _derived(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """The weight gradient as JAX derives it, for which accelerators have kernels."""
    x = restore(x, gradient.dtype, after=gradient) if x.dtype == jnp.uint8 else x
    like = jnp.zeros_like(gradient, shape=(3, 3, x.shape[-1], gradient.shape[-1]))
    return jax.vjp(lambda weight: _plain(x, weight), like)[1](gradient)[0]


def weight_gradient_in_pieces(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """The weight gradient of `convolve` as nine matrix products, summed over pieces that fit a processor's cache.

    As a convolution with a window as large as the image, which is how it is derived, it runs at a third of the speed.

    Args:
      x: Images, shape (B, H, W, C), floating or bytes.
      gradient: Gradient of the result, shape (B, H, W, M).

    Returns:
      Shape (3, 3, C, M).
    """
    batch, height, width, channels = x.shape
    images = largest_divisor(batch, at_most=PIXELS // (height * width))

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        near, there = (jax.lax.dynamic_slice_in_dim(array, i * images, images) for array in (x, gradient))
        near = jnp.pad(near.astype(gradient.dtype), ((0, 0), (1, 1), (1, 1), (0, 0)))
        places = [_over_rows(near[:, j : j + height, k : k + width], there) for j in range(3) for k in range(3)]
        return total + jnp.stack(places)

    nothing = jnp.zeros_like(gradient, shape=(9, channels, gradient.shape[-1]), dtype=jnp.float32)
    total = jax.lax.fori_loop(0, batch // images, add, nothing)
    return total.reshape(3, 3, channels, -1).astype(gradient.dtype)


_convolve.defvjp(_convolve_forward, _convolve_backward)
