"""The parametric LIF neuron (PLIF): a membrane whose time constant is learned."""

import functools

import jax
import jax.numpy as jnp

from stata_jax.kernels.lif import check_neuron
from stata_jax.kernels.tiles import scan_by_pieces
from stata_jax.ops.surrogate import sigmoid_slope, spike
from stata_jax.ops.varying import alike


def plif(
    current: jax.Array, leak: jax.Array, *, threshold: float = 1.0, reset: float = 0.0, alpha: float = 4.0
) -> jax.Array:
    """Turns input currents into spikes as `lif` does, with `1 / tau` an array that gets a gradient.

        H[t] = V[t-1] + (X[t] - (V[t-1] - V_reset)) leak
        S[t] = 1 if H[t] >= V_th else 0
        V[t] = H[t] (1 - S[t]) + V_reset S[t],    V[0] = V_reset

    The reset passes no gradient, as in `lif`; `H` is kept for the backward pass.

    Args:
      current: `X`, shape (T, ...), any floating type.
      leak: `1 / tau` in 1 / timesteps, a float32 scalar in (0, 1], such as the sigmoid of a parameter.
      threshold: `V_th`, above `reset`.
      reset: `V_reset`, the potential at rest and after a spike.
      alpha: Steepness of the surrogate gradient, above 0.

    Returns:
      Spikes 0 or 1, in the shape and type of `current`.

    Raises:
      ValueError: If the current has no time axis or is not floating, if `leak` is no scalar, or a constant is out of
        range.

    Source: Fang et al., "Incorporating Learnable Membrane Time Constant", ICCV 2021, Eq. 10.
    """
    check_neuron("plif", current, threshold=threshold, reset=reset, alpha=alpha)
    if jnp.shape(leak) != ():
        raise ValueError(f"leak must be a scalar, one for all neurons of a layer, got shape {jnp.shape(leak)}")
    return _plif((float(threshold), float(reset), float(alpha)), *alike(current, jnp.asarray(leak, jnp.float32)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _plif(constants: tuple[float, float, float], current: jax.Array, leak: jax.Array) -> jax.Array:
    return _forward(constants, current, leak)[0]


def _forward(
    constants: tuple[float, float, float], current: jax.Array, leak: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    threshold, reset, _ = constants

    def step(membrane: jax.Array, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        charged = membrane + (x.astype(jnp.float32) - (membrane - reset)) * leak
        spikes = spike(charged - threshold)
        return charged * (1 - spikes) + reset * spikes, (spikes.astype(current.dtype), charged)

    def scan(current: jax.Array, *, unroll: int) -> tuple[jax.Array, jax.Array]:
        rest = jnp.full_like(current, reset, shape=current.shape[1:], dtype=jnp.float32)
        return jax.lax.scan(step, rest, current, unroll=unroll)[1]

    spikes, charged = scan_by_pieces(scan, current)
    return spikes, (charged, leak)


def _backward(
    constants: tuple[float, float, float], kept: tuple[jax.Array, jax.Array], spike_gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The chain rule of `plif`, from the last timestep to the first.

    dH[t] = dS[t] slope(H[t] - V_th) + dV[t] (1 - S[t]),   dX[t] = dH[t] leak,   dV[t-1] = dH[t] (1 - leak),
    dleak = sum_t dH[t] (X[t] - (V[t-1] - V_reset)),   where the last factor is (H[t] - V[t-1]) / leak.
    """
    threshold, reset, alpha = constants
    charged, leak = kept

    def step(membrane_gradient: jax.Array, at_t: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        h, gradient = at_t
        over = h - threshold
        slope = sigmoid_slope(over, alpha=alpha)
        charged_gradient = gradient.astype(jnp.float32) * slope + membrane_gradient * (1 - spike(over))
        return charged_gradient * (1 - leak), charged_gradient

    def scan(charged: jax.Array, gradient: jax.Array, *, unroll: int) -> jax.Array:
        last = jnp.zeros_like(charged, shape=charged.shape[1:])
        return jax.lax.scan(step, last, (charged, gradient), reverse=True, unroll=unroll)[1]

    charged_gradient = scan_by_pieces(scan, charged, spike_gradient)
    spikes = spike(charged - threshold)
    after_reset = charged * (1 - spikes) + reset * spikes
    before = jnp.concatenate([jnp.full_like(charged[:1], reset), after_reset[:-1]])
    leak_gradient = jnp.sum(charged_gradient * (charged - before)) / leak
    return (charged_gradient * leak).astype(spike_gradient.dtype), leak_gradient


_plif.defvjp(_forward, _backward)
