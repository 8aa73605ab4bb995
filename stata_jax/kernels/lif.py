"""The leaky integrate-and-fire neuron (Eqs. 1-3) as one scan over time."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from stata_jax.kernels import bits
from stata_jax.kernels.tiles import map_and_sum_pieces, scan_by_pieces
from stata_jax.ops.surrogate import sigmoid_slope, spike


def lif(
    current: jax.Array,
    *,
    tau: float = 2.0,
    threshold: float = 1.0,
    reset: float = 0.0,
    alpha: float = 4.0,
    lean: bool = False,
) -> jax.Array:
    """Turns input currents into spikes; charge, fire and reset happen within a timestep.

        H[t] = V[t-1] + (X[t] - (V[t-1] - V_reset)) / tau
        S[t] = 1 if H[t] >= V_th else 0
        V[t] = H[t] (1 - S[t]) + V_reset S[t],    V[0] = V_reset

    The gradient runs through the charge, with a sigmoid's slope for the step function; the reset passes none. The
    backward pass keeps the current and computes `H` from it again, which costs less than writing it down. The membrane
    is float32 whatever the type of the current: a bfloat16 membrane flips spikes.

    Args:
      current: `X`, shape (T, ...), any floating type.
      tau: Membrane time constant in timesteps, at least 1.
      threshold: `V_th`, above `reset`.
      reset: `V_reset`, the potential at rest and after a spike.
      alpha: Steepness of the surrogate gradient, above 0.
      lean: Whether spikes are made as bytes first, for what keeps them as such, see `kernels.residuals`.

    Returns:
      Spikes 0 or 1, in the shape and type of `current`. The spike at `t` depends on the currents up to and at `t`.

    Raises:
      ValueError: If the current has no time axis or is not floating, or a constant is out of range.

    Source: STATA, Eqs. 1-3; the detached reset and the surrogate are those of the models' published code.
    """
    return lif_and_rate(current, tau=tau, threshold=threshold, reset=reset, alpha=alpha, lean=lean)[0]


def lif_and_rate(
    current: jax.Array, *, tau: float, threshold: float, reset: float, alpha: float, lean: bool
) -> tuple[jax.Array, jax.Array]:
    """The spikes of `lif`, and their mean, the firing rate, which is counted while they are made."""
    check_neuron("lif", current, threshold=threshold, reset=reset, alpha=alpha)
    if not tau >= 1:  # so that NaN is refused too
        raise ValueError(f"tau is {tau} but a membrane time constant is at least 1 timestep")
    spikes, count = _lif(Neuron(float(tau), float(threshold), float(reset), float(alpha), lean), current)
    return spikes, count / current.size


def check_neuron(name: str, current: jax.Array, *, threshold: float, reset: float, alpha: float) -> None:
    """Raises ValueError where currents or constants are impossible, whichever neuron it is."""
    if current.ndim < 1 or current.shape[0] < 1:
        raise ValueError(f"{name} needs currents of shape (T, ...) with T >= 1, got {current.shape}")
    if not jnp.issubdtype(current.dtype, jnp.floating):
        raise ValueError(f"{name} needs floating-point currents, got {current.dtype}: convert them first")
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha} but the surrogate's steepness is above 0")
    if not threshold > reset:
        raise ValueError(f"threshold is {threshold}, which is not above the reset potential {reset}")


Pair = tuple[jax.Array, jax.Array]


class Neuron(NamedTuple):
    """The constants of `lif`: `tau`, `V_th`, `V_reset`, the surrogate's steepness, and whether it is lean."""

    tau: float
    threshold: float
    reset: float
    alpha: float
    lean: bool

    def spike_type(self, current: jax.Array) -> Any:
        """The type in which spikes are made."""
        return jnp.uint8 if self.lean else current.dtype


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _lif(neuron: Neuron, current: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The spikes `S` of `lif`, and their number, float32."""
    spikes, count = map_and_sum_pieces(functools.partial(fire_and_count, neuron), current)
    return spikes.astype(current.dtype), count


def fire_and_count(neuron: Neuron, current: jax.Array, *, unroll: int) -> tuple[jax.Array, jax.Array]:
    """The spikes `S` of `charge_and_fire`, as bytes if the neuron is lean, and their number, float32."""
    if bits.suits(current.shape[0]):
        return bits.read_words(fire_in_words(neuron, current), current.shape[0], neuron.spike_type(current))
    spikes = bits.apart(charge_and_fire(neuron, current, unroll=unroll)[0])
    return spikes, jnp.sum(spikes.astype(jnp.float32))


def fire_in_words(neuron: Neuron, current: jax.Array) -> jax.Array:
    """The spikes of `charge_and_fire` as words of shape (...), whose bit `t` is the spike at `t`."""
    timesteps = current.shape[0]
    word = bits.word_type(timesteps)

    def step(state: Pair, at_t: Pair) -> tuple[Pair, None]:
        (membrane, words), (x, bit) = state, at_t
        spikes, _, membrane = charge(neuron, membrane, x)
        return (membrane, words | (spikes.astype(word) << bit)), None

    rest = jnp.full_like(current, neuron.reset, shape=current.shape[1:], dtype=jnp.float32)
    start = rest, jnp.zeros_like(rest, dtype=word)
    words: jax.Array = jax.lax.scan(step, start, (current, jnp.arange(timesteps, dtype=word)), unroll=timesteps)[0][1]
    return words


def charge(neuron: Neuron, membrane: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One timestep of `lif`: the spikes, `H`, and the membrane after the reset, from `V[t-1]` and `X[t]`."""
    charged = membrane + (x.astype(jnp.float32) - (membrane - neuron.reset)) / neuron.tau
    spikes = spike(charged - neuron.threshold)
    return spikes, charged, charged * (1 - spikes) + neuron.reset * spikes


def charge_and_fire(neuron: Neuron, current: jax.Array, *, unroll: int) -> tuple[jax.Array, jax.Array]:
    """The equations of `lif`: spikes `S`, as bytes if it is lean, and the potentials `H` before the reset, (T, ...)."""
    spike_type = neuron.spike_type(current)

    def step(membrane: jax.Array, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        spikes, charged, membrane = charge(neuron, membrane, x)
        return membrane, (spikes.astype(spike_type), charged)

    rest = jnp.full_like(current, neuron.reset, shape=current.shape[1:], dtype=jnp.float32)
    return jax.lax.scan(step, rest, current, unroll=unroll)[1]


def current_gradient(
    neuron: Neuron, current: jax.Array, spike_gradient: jax.Array, count_gradient: jax.Array, *, unroll: int
) -> jax.Array:
    """The chain rule of `lif`, from the last timestep to the first, with `H` computed again.

        dH[t] = dS[t] slope(H[t] - V_th) + dV[t] (1 - S[t]),   dX[t] = dH[t] / tau,   dV[t-1] = dH[t] (1 - 1 / tau)

    Args:
      neuron: The constants.
      current: `X`, shape (T, ...).
      spike_gradient: `dS`, the same shape and type.
      count_gradient: What the number of spikes adds to each of `dS`, a scalar.
      unroll: Timesteps that the compiler sees at once.

    Returns:
      `dX`, in the shape and type of `dS`.
    """
    tau, threshold, _, alpha, _ = neuron

    def step(membrane_gradient: jax.Array, at_t: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        h, gradient = at_t
        over = h - threshold
        slope = sigmoid_slope(over, alpha=alpha)
        fired_gradient = gradient.astype(jnp.float32) + count_gradient
        charged_gradient = fired_gradient * slope + membrane_gradient * (1 - spike(over))
        current_gradient = charged_gradient / tau
        return charged_gradient - current_gradient, current_gradient.astype(spike_gradient.dtype)

    charged = charge_and_fire(neuron, current, unroll=unroll)[1]
    last = jnp.zeros_like(charged, shape=charged.shape[1:])
    return jax.lax.scan(step, last, (charged, spike_gradient), reverse=True, unroll=unroll)[1]


def _forward(neuron: Neuron, current: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    return _lif(neuron, current), current


def _backward(neuron: Neuron, current: jax.Array, gradients: tuple[jax.Array, jax.Array]) -> tuple[jax.Array]:
    def scan(current: jax.Array, spike_gradient: jax.Array, *, unroll: int) -> jax.Array:
        return current_gradient(neuron, current, spike_gradient, gradients[1], unroll=unroll)

    return (scan_by_pieces(scan, current, gradients[0]),)


_lif.defvjp(_forward, _backward)
