"""Matmul, normalisation and neurons as one function, whose backward pass keeps no current between them.

The current between the normalisation and the neurons is the largest thing that training would keep; it is recomputed
from the result of the matmul. A cheap matmul is rematerialised as well, from what entered it.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from stata_jax.kernels.bits import apart, split
from stata_jax.kernels.byte_residuals import as_residual, restore
from stata_jax.kernels.lif import current_gradient, fire
from stata_jax.kernels.neuron import GPU, Neuron
from stata_jax.kernels.norm import Residuals, batch_statistics, gradient_sums, input_gradient
from stata_jax.kernels.tiles import map_and_sum_tiles, map_tiles
from stata_jax.ops.norm import shift_and_scale
from stata_jax.ops.operations import Fired, Layer, repeat, scopes
from stata_jax.varying import alike

Matmul = Callable[[jax.Array, jax.Array], jax.Array]
# Matmuls whose values are sums of at most so many terms are rematerialised where that is asked for; and always.
CHEAP, NEXT_TO_NOTHING = 1024, 32


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


def matmul_norm_lif(
    matmul: Callable[..., jax.Array],
    x: jax.Array,
    layers: Sequence[Layer],
    *,
    names: Sequence[str] = (),
    repeats: int = 1,
    epsilon: float = 1e-5,
    axis_name: str | None = None,
    counts: bool = False,
    target: str,
    in_bytes: bool,
    remat: bool,
    **neuron: float,
) -> list[Fired]:
    """`stata_jax.ops.operations.matmul_norm_lif`, see there.

    Args:
      matmul: As there.
      x: As there.
      layers: As there; an accelerator takes them as one matmul of all, for few large ones are faster there.
      names: As there.
      repeats: As there.
      epsilon: As there.
      axis_name: As there.
      counts: As there.
      target: As in `Neuron`.
      in_bytes: Whether residuals that hold counts are kept as bytes.
      remat: Whether the backward pass rematerialises cheap matmuls whose result is no narrower than `x`.
      **neuron: As there.

    Returns:
      As there.
    """
    constants = Constants(Neuron.of(target, in_bytes=in_bytes, **neuron), epsilon, axis_name, repeats)
    as_bytes = counts and in_bytes
    matmul = jax.named_scope("matmul")(matmul)  # to be told from the normalisation in a profile

    def one(name: str, kernel: jax.Array, scale: jax.Array, bias: jax.Array) -> Fired:
        most = CHEAP if as_bytes and remat else NEXT_TO_NOTHING
        with scopes(name):
            if x.shape[-1] <= features and math.prod(kernel.shape[:-1]) <= most:
                return remat_norm_lif(matmul, as_bytes, x, kernel, scale, bias, constants)
            return norm_lif(matmul(x, kernel, counts=counts), scale, bias, constants)

    features, names = layers[0][0].shape[-1], names or [""] * len(layers)
    if target != GPU or len(layers) == 1:
        return [one(name, *layer) for name, layer in zip(names, layers, strict=True)]
    joined = (jnp.concatenate(arrays, axis=-1) for arrays in zip(*layers, strict=True))
    spikes, *statistics = one("".join(names), *joined)
    of_each = (jnp.split(array, len(layers)) for array in statistics)
    return list(zip(split(spikes, len(layers)), *of_each, strict=True))


def norm_lif(x: jax.Array, scale: jax.Array, bias: jax.Array, constants: Constants) -> Fired:
    """`lif(normalize(x))` and the statistics, keeping `x` alone for the backward pass.

    Args:
      x: Shape (T, ..., C), any floating type; (1, ..., C) where one timestep stands for several.
      scale: Shape (C,), float32.
      bias: Shape (C,), float32.
      constants: The constants.

    Returns:
      Spikes of shape (T, ..., C) in the type of `x`, and mean and variance, through which no gradient passes.
    """
    return _norm_lif(*alike(x, scale, bias), constants)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _norm_lif(x: jax.Array, scale: jax.Array, bias: jax.Array, constants: Constants) -> Fired:
    neuron = constants.neuron
    mean, var = batch_statistics(x, axis_name=constants.axis_name, target=neuron.target)
    factor = jax.lax.rsqrt(var + constants.epsilon) * scale

    def scan(x: jax.Array, *, unroll: int) -> jax.Array:
        return fire(neuron, constants.current(x, mean, factor, bias), unroll=unroll)

    spikes = map_tiles(scan, x, target=neuron.target)
    return spikes.astype(x.dtype), mean, var


def _forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, constants: Constants
) -> tuple[Fired, tuple[Residuals, jax.Array]]:
    spikes, mean, var = _norm_lif(x, scale, bias, constants)
    return (spikes, mean, var), ((x, mean, jax.lax.rsqrt(var + constants.epsilon), scale), bias)


def _backward(
    constants: Constants, residuals: tuple[Residuals, jax.Array], gradients: Fired
) -> tuple[jax.Array, jax.Array, jax.Array]:
    (x, mean, inverse, scale), bias = residuals
    factor, neuron = inverse * scale, constants.neuron

    def through_neurons(x: jax.Array, spike_gradient: jax.Array, *, unroll: int) -> Any:
        current = constants.current(x, mean, factor, bias)
        # Each timestep is written down once, for the sums and then for the gradient of `x`.
        dy = apart(current_gradient(neuron, current, spike_gradient, unroll=unroll), target=neuron.target)
        if constants.repeats > 1:
            dy = jnp.sum(dy, axis=0, keepdims=True)
        return dy, gradient_sums(mean, inverse, x, dy)

    dy, (scale_gradient, bias_gradient) = map_and_sum_tiles(through_neurons, x, gradients[0], target=neuron.target)
    dx = input_gradient(
        residuals[0], dy, scale_gradient, bias_gradient, axis_name=constants.axis_name, target=neuron.target
    )
    return dx, scale_gradient, bias_gradient


_norm_lif.defvjp(_forward, _backward)


def remat_norm_lif(
    matmul: Matmul,
    as_bytes: bool,
    x: jax.Array,
    kernel: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    constants: Constants,
) -> Fired:
    """`norm_lif(matmul(x, kernel), ...)`, keeping `x` alone for the backward pass, as bytes if told so."""
    return _remat_norm_lif(matmul, as_bytes, *alike(x, kernel, scale, bias), constants)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 6))
def _remat_norm_lif(
    matmul: Matmul,
    _: bool,
    x: jax.Array,
    kernel: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    constants: Constants,
) -> Fired:
    return _norm_lif(matmul(x, kernel), scale, bias, constants)


def _remat_forward(matmul: Matmul, as_bytes: bool, x: jax.Array, kernel: jax.Array, *rest: Any) -> tuple[Fired, Any]:
    results, ((_, *statistics), bias) = _forward(matmul(x, kernel), *rest)
    return results, (as_residual(x, in_bytes=as_bytes), kernel, statistics, bias)


def _remat_backward(matmul: Matmul, _: bool, constants: Constants, residuals: Any, gradients: Fired) -> Any:
    x, kernel, statistics, bias = residuals
    y, pull = jax.vjp(matmul, restore(x, gradients[0].dtype, after=gradients[0]), kernel)
    dy, *of_norm = _backward(constants, ((y, *statistics), bias), gradients)
    return *pull(dy), *of_norm


_remat_norm_lif.defvjp(_remat_forward, _remat_backward)
