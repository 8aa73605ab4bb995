"""PLIF with a backward pass that keeps the potentials alone, tile by tile on a processor."""

import functools

import jax
import jax.numpy as jnp

from stata_jax.kernels.tiles import scan_by_tiles
from stata_jax.ops.lif import check_neuron, spike, surrogate_slope
from stata_jax.varying import alike

Constants = tuple[float, float, float, str]  # threshold, reset, alpha and the target, see `Neuron`


def plif(
    current: jax.Array,
    leak: jax.Array,
    *,
    threshold: float = 1.0,
    reset: float = 0.0,
    alpha: float = 4.0,
    target: str,
) -> jax.Array:
    """`stata_jax.ops.lif.plif`, see there; `target` is that of `Neuron`."""
    check_neuron("plif", current, threshold=threshold, reset=reset, alpha=alpha)
    constants = (float(threshold), float(reset), float(alpha), target)
    return _plif(constants, *alike(current, jnp.asarray(leak, jnp.float32)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _plif(constants: Constants, current: jax.Array, leak: jax.Array) -> jax.Array:
    return _forward(constants, current, leak)[0]


def _forward(
    constants: Constants, current: jax.Array, leak: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    threshold, reset, alpha, target = constants

    def step(membrane: jax.Array, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        charged = membrane + (x.astype(jnp.float32) - (membrane - reset)) * leak
        spikes = spike(charged - threshold, alpha)
        return charged * (1 - spikes) + reset * spikes, (spikes.astype(current.dtype), charged)

    def scan(current: jax.Array, *, unroll: int) -> tuple[jax.Array, jax.Array]:
        rest = jnp.full_like(current, reset, shape=current.shape[1:], dtype=jnp.float32)
        return jax.lax.scan(step, rest, current, unroll=unroll)[1]

    spikes, charged = scan_by_tiles(scan, current, target=target)
    return spikes, (charged, leak)


def _backward(
    constants: Constants, residuals: tuple[jax.Array, jax.Array], spike_gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The chain rule of `plif`, from the last timestep to the first.

    dH[t] = dS[t] slope(H[t] - V_th) + dV[t] (1 - S[t]),   dX[t] = dH[t] leak,   dV[t-1] = dH[t] (1 - leak),
    dleak = sum_t dH[t] (X[t] - (V[t-1] - V_reset)),   where the last factor is (H[t] - V[t-1]) / leak.
    """
    threshold, reset, alpha, target = constants
    charged, leak = residuals

    def step(membrane_gradient: jax.Array, at_t: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        h, gradient = at_t
        over = h - threshold
        reached = gradient.astype(jnp.float32) * surrogate_slope(over, alpha)
        charged_gradient = reached + membrane_gradient * (1 - spike(over, alpha))
        return charged_gradient * (1 - leak), charged_gradient

    def scan(charged: jax.Array, gradient: jax.Array, *, unroll: int) -> jax.Array:
        last = jnp.zeros_like(charged, shape=charged.shape[1:])
        return jax.lax.scan(step, last, (charged, gradient), reverse=True, unroll=unroll)[1]

    charged_gradient = scan_by_tiles(scan, charged, spike_gradient, target=target)
    spikes = spike(charged - threshold, alpha)
    after_reset = charged * (1 - spikes) + reset * spikes
    before = jnp.concatenate([jnp.full_like(charged[:1], reset), after_reset[:-1]])
    leak_gradient = jnp.sum(charged_gradient * (charged - before)) / leak
    return (charged_gradient * leak).astype(spike_gradient.dtype), leak_gradient


_plif.defvjp(_forward, _backward)
