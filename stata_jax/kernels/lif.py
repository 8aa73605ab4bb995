"""LIF with a backward pass that keeps the current alone, and computes the membrane from it again."""

import functools

import jax
import jax.numpy as jnp

from stata_jax.kernels import bits
from stata_jax.kernels.neuron import GPU, Neuron
from stata_jax.kernels.tiles import map_and_sum_tiles, scan_by_tiles
from stata_jax.ops.lif import check_neuron
from stata_jax.varying import alike

Pair = tuple[jax.Array, jax.Array]


def lif(
    current: jax.Array,
    *,
    tau: float = 2.0,
    threshold: float = 1.0,
    reset: float = 0.0,
    alpha: float = 4.0,
    target: str,
    in_bytes: bool,
) -> jax.Array:
    """`stata_jax.ops.lif.lif`, see there; `target` and `in_bytes` are those of `Neuron`."""
    check_neuron("lif", current, threshold=threshold, reset=reset, alpha=alpha, tau=tau)
    return _lif(Neuron(float(tau), float(threshold), float(reset), float(alpha), target, in_bytes), current)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _lif(neuron: Neuron, current: jax.Array) -> jax.Array:
    def scan(current: jax.Array, *, unroll: int) -> tuple[jax.Array, tuple[()]]:
        return fire(neuron, current, unroll=unroll), ()

    spikes, _ = map_and_sum_tiles(scan, current, target=neuron.target)
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
    spikes = fires(charged - neuron.threshold)
    return spikes, charged, charged * (1 - spikes) + neuron.reset * spikes


def fires(over: jax.Array) -> jax.Array:
    """1 where the potential over the threshold is not negative, else 0, without a gradient."""
    return (over >= 0).astype(over.dtype)


def slope(over: jax.Array, alpha: float) -> jax.Array:
    """The surrogate gradient of `stata_jax.ops.lif.spike`."""
    sigmoid = jax.nn.sigmoid(alpha * over)
    return alpha * sigmoid * (1 - sigmoid)


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
        reached = gradient.astype(jnp.float32) * slope(over, neuron.alpha) + membrane_gradient * (1 - fires(over))
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
