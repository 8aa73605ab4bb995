"""LIF with a backward pass that keeps the current alone, and computes the membrane from it again."""

import functools

import jax
import jax.numpy as jnp

from stata_jax.kernels import bits
from stata_jax.kernels.neuron import GPU, Neuron
from stata_jax.kernels.tiles import map_tiles, scan_by_tiles
from stata_jax.ops.lif import check_neuron, spike, surrogate_slope
from stata_jax.varying import alike

Pair = tuple[jax.Array, jax.Array]


def lif(current: jax.Array, *, target: str, in_bytes: bool, **constants: float) -> jax.Array:
    """`stata_jax.ops.lif.lif`, see there; `target` and `in_bytes` are those of `Neuron`."""
    neuron = Neuron.of(target, in_bytes=in_bytes, **constants)
    check_neuron("lif", current, threshold=neuron.threshold, reset=neuron.reset, alpha=neuron.alpha, tau=neuron.tau)
    return _lif(neuron, current)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _lif(neuron: Neuron, current: jax.Array) -> jax.Array:
    spikes: jax.Array = map_tiles(functools.partial(fire, neuron), current, target=neuron.target)
    return spikes.astype(current.dtype)


def fire(neuron: Neuron, current: jax.Array, *, unroll: int) -> jax.Array:
    """The spikes of `charge_and_fire` alone, bit-packed on their way where the target is an accelerator."""
    if neuron.target == GPU and current.shape[0] <= bits.MOST:
        return bits.unpack(fire_packed(neuron, current), current.shape[0], neuron.spike_type(current))
    return bits.apart(charge_and_fire(neuron, current, unroll=unroll)[0], target=neuron.target)


def fire_packed(neuron: Neuron, current: jax.Array) -> jax.Array:
    """The spikes of `charge_and_fire`, bit-packed: shape (...), bit `t` for the spike at `t`."""
    timesteps = current.shape[0]
    packed_type = bits.packed_type(timesteps)

    def step(state: Pair, at_t: Pair) -> tuple[Pair, None]:
        (membrane, packed), (x, bit) = state, at_t
        spikes, _, membrane = charge(neuron, membrane, x)
        return (membrane, packed | (spikes.astype(packed_type) << bit)), None

    rest = jnp.full_like(current, neuron.reset, shape=current.shape[1:], dtype=jnp.float32)
    start = rest, jnp.zeros_like(rest, dtype=packed_type)
    times = jnp.arange(timesteps, dtype=packed_type)
    packed: jax.Array = jax.lax.scan(step, start, (current, times), unroll=timesteps)[0][1]
    return packed


def charge(neuron: Neuron, membrane: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One timestep of `lif`: the spikes, `H`, and the membrane after the reset, from `V[t-1]` and `X[t]`."""
    charged = membrane + (x.astype(jnp.float32) - (membrane - neuron.reset)) / neuron.tau
    spikes = spike(charged - neuron.threshold, neuron.alpha)
    return spikes, charged, charged * (1 - spikes) + neuron.reset * spikes


def charge_and_fire(neuron: Neuron, current: jax.Array, *, unroll: int) -> tuple[jax.Array, jax.Array]:
    """The equations of `lif`: spikes `S` in `neuron.spike_type`, and the potentials `H` before the reset, (T, ...)."""
    spike_type = neuron.spike_type(current)

    def step(membrane: jax.Array, x: jax.Array) -> tuple[jax.Array, Pair]:
        spikes, charged, membrane = charge(neuron, membrane, x)
        return membrane, (spikes.astype(spike_type), charged)

    rest = jnp.full_like(current, neuron.reset, shape=current.shape[1:], dtype=jnp.float32)
    return jax.lax.scan(step, rest, current, unroll=unroll)[1]


def current_gradient(neuron: Neuron, current: jax.Array, spike_gradient: jax.Array, *, unroll: int) -> jax.Array:
    """The chain rule of `lif`, from the last timestep to the first, with `H` recomputed.

        dH[t] = dS[t] slope(H[t] - V_th) + dV[t] (1 - S[t]),   dX[t] = dH[t] / tau,   dV[t-1] = dH[t] (1 - 1 / tau)

    Args:
      neuron: The constants.
      current: `X`, shape (T, ...).
      spike_gradient: `dS`, the same shape and type.
      unroll: Timesteps that the compiler sees at once.

    Returns:
      `dX`, in the shape and type of `dS`.
    """

    def step(membrane_gradient: jax.Array, at_t: Pair) -> Pair:
        h, gradient = at_t
        over = h - neuron.threshold
        reached = gradient.astype(jnp.float32) * surrogate_slope(over, neuron.alpha)
        reached += membrane_gradient * (1 - spike(over, neuron.alpha))
        current_gradient = reached / neuron.tau
        return reached - current_gradient, current_gradient.astype(spike_gradient.dtype)

    charged = charge_and_fire(neuron, current, unroll=unroll)[1]
    last = jnp.zeros_like(charged, shape=charged.shape[1:])
    return jax.lax.scan(step, last, (charged, spike_gradient), reverse=True, unroll=unroll)[1]


def _forward(neuron: Neuron, current: jax.Array) -> Pair:
    return _lif(neuron, current), current


def _backward(neuron: Neuron, current: jax.Array, spike_gradient: jax.Array) -> tuple[jax.Array]:
    backward = functools.partial(current_gradient, neuron)
    return (scan_by_tiles(backward, *alike(current, spike_gradient), target=neuron.target),)


_lif.defvjp(_forward, _backward)
