"""The two matmuls with weights, with gradients in the forms that run fast.

The values and the gradients are those of `jnp.dot` and `jax.lax.conv_general_dilated`; only the order in which sums are
taken differs: of the gradient of a weight and, on processors, of convolutions. Inputs that hold whole numbers from 0 to
255, such as spikes, may be kept as byte residuals, without loss.
"""

import functools

import jax
import jax.numpy as jnp

from stata_jax.kernels import winograd
from stata_jax.kernels.byte_residuals import as_residual, later, restore
from stata_jax.kernels.neuron import CPU
from stata_jax.kernels.tiles import largest_divisor
from stata_jax.ops.conv import convolve_images, fold_time
from stata_jax.varying import alike

# Pixels whose share of a convolution's weight gradient is summed at once, in whole images, at least one: few enough for
# small images and their gradients to stay in a processor's cache, enough for long matmuls.
PIXELS = 2048

Pair = tuple[jax.Array, jax.Array]


def linear(x: jax.Array, kernel: jax.Array, *, counts: bool = False, in_bytes: bool) -> jax.Array:
    """`stata_jax.ops.conv.linear`, see there; `in_bytes`: whether counts are kept as bytes."""
    return _linear(*alike(x, kernel), counts and in_bytes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _linear(x: jax.Array, kernel: jax.Array, as_bytes: bool) -> jax.Array:
    return jnp.dot(x, kernel)


def _linear_forward(x: jax.Array, kernel: jax.Array, as_bytes: bool) -> tuple[jax.Array, Pair]:
    return _linear(x, kernel, as_bytes), (as_residual(x, in_bytes=as_bytes), kernel)


def _linear_backward(as_bytes: bool, residuals: Pair, gradient: jax.Array) -> Pair:
    """`dX = dY W^T`, `dW = X^T dY`.

    The derived rule computes the transpose of `dW`, for which compilers copy a transpose of `dY` first.
    """
    x, kernel = residuals
    x = restore(x, gradient.dtype, after=gradient) if as_bytes else x
    kernel_gradient = _over_rows(x, gradient).astype(kernel.dtype)
    kernel = later(kernel, after=kernel_gradient)  # so that `x` does not wait in memory
    return jnp.dot(gradient, kernel.T), kernel_gradient


def _over_rows(x: jax.Array, y: jax.Array) -> jax.Array:
    """`X^T Y` for X and Y seen as matrices: (..., K) and (..., M) to (K, M), summed in float32."""
    rows = (((0,), (0,)), ((), ()))
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    return jax.lax.dot_general(x, y, rows, preferred_element_type=jnp.float32)


_linear.defvjp(_linear_forward, _linear_backward)


def convolve(x: jax.Array, kernel: jax.Array, *, counts: bool = False, in_bytes: bool, target: str) -> jax.Array:
    """`stata_jax.ops.conv.convolve`, see there; `in_bytes`: whether counts are kept as bytes."""
    x, kernel = alike(x, kernel)
    return fold_time(lambda images: _convolve(images, kernel, counts and in_bytes, target), x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: jax.Array, kernel: jax.Array, _: bool, target: str) -> jax.Array:
    large = target == CPU and winograd.pays(x.shape, kernel)
    return winograd.convolve(x, kernel) if large else convolve_images(x, kernel)


def _convolve_forward(x: jax.Array, kernel: jax.Array, as_bytes: bool, target: str) -> tuple[jax.Array, Pair]:
    return _convolve(x, kernel, as_bytes, target), (as_residual(x, in_bytes=as_bytes), kernel)


def _convolve_backward(as_bytes: bool, target: str, residuals: Pair, gradient: jax.Array) -> Pair:
    """`dX` is a convolution of `dY` with the kernel turned round; `dW[i, j] = sum_pixels X[+i-1, +j-1]^T dY`."""
    x, kernel = residuals
    kernel_gradient = _kernel_gradient(x, kernel, gradient, target)
    kernel = later(kernel, after=kernel_gradient)
    if target == CPU and winograd.pays(gradient.shape, kernel):
        return winograd.input_gradient(gradient, kernel), kernel_gradient
    return convolve_images(gradient, jnp.flip(kernel, (0, 1)).swapaxes(2, 3)), kernel_gradient


def _kernel_gradient(x: jax.Array, kernel: jax.Array, gradient: jax.Array, target: str) -> jax.Array:
    if target != CPU:
        return derived(x, gradient)
    form = winograd.weight_gradient if winograd.pays(x.shape, kernel) else weight_gradient_by_tiles
    return form(x, gradient)


def derived(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """The weight gradient as JAX derives it, for which accelerators have kernels."""
    x = restore(x, gradient.dtype, after=gradient) if x.dtype == jnp.uint8 else x
    like = jnp.zeros_like(gradient, shape=(3, 3, x.shape[-1], gradient.shape[-1]))
    return jax.vjp(functools.partial(convolve_images, x), like)[1](gradient)[0]


def weight_gradient_by_tiles(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """The weight gradient of `convolve` as nine matmuls, summed over tiles that fit a processor's cache.

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
