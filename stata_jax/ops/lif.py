"""Spiking neurons as scans over time: LIF (Eqs. 1-3) and PLIF, with a surrogate gradient."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def spike(potential: jax.Array, alpha: float) -> jax.Array:
    """Fires where the potential over the threshold is not negative: `1 if u >= 0 else 0` (the step function of Eq. 2).

    Its derivative is the slope of a sigmoid, `alpha s(alpha u) (1 - s(alpha u))`: the surrogate gradient.

    Args:
      potential: `u = H - V_th`, of any shape.
      alpha: Steepness of the sigmoid; the slope at the threshold is `alpha / 4`.

    Returns:
      0 or 1 for each element, in the type of `potential`.
    """
    return (potential >= 0).astype(potential.dtype)


@spike.defjvp
def _spike_jvp(alpha: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    (potential,), (tangent,) = primals, tangents
    return spike(potential, alpha), surrogate_slope(potential, alpha) * tangent


def surrogate_slope(potential: jax.Array, alpha: float) -> jax.Array:
    """The derivative that stands for that of `spike`, in the shape and type of `potential`."""
    sigmoid = jax.nn.sigmoid(alpha * potential)
    return alpha * sigmoid * (1 - sigmoid)


def lif(
    current: jax.Array, *, tau: float = 2.0, threshold: float = 1.0, reset: float = 0.0, alpha: float = 4.0
) -> jax.Array:
    """Turns input currents into spikes; charge, fire and reset happen within a timestep.

        H[t] = V[t-1] + (X[t] - (V[t-1] - V_reset)) / tau
        S[t] = 1 if H[t] >= V_th else 0
        V[t] = H[t] (1 - S[t]) + V_reset S[t],    V[0] = V_reset

    The gradient runs through the charge, with a sigmoid's slope for the step function; the reset passes none. The
    membrane is float32 whatever the type of the current: a bfloat16 membrane flips spikes.

    Args:
      current: `X`, shape (T, ...), any floating type.
      tau: Membrane time constant in timesteps, at least 1.
      threshold: `V_th`, above `reset`.
      reset: `V_reset`, the potential at rest and after a spike.
      alpha: Steepness of the surrogate gradient, above 0.

    Returns:
      Spikes 0 or 1, in the shape and type of `current`. The spike at `t` depends on the currents up to and at `t`.

    Raises:
      ValueError: If the current has no time axis or is not floating, or a constant is out of range.

    Source: STATA, Eqs. 1-3; the detached reset and the surrogate are those of the models' published code.
    """
    check_neuron("lif", current, threshold=threshold, reset=reset, alpha=alpha, tau=tau)
    return _fire(current, lambda v, x: v + (x - (v - reset)) / tau, threshold=threshold, reset=reset, alpha=alpha)


def plif(
    current: jax.Array, leak: jax.Array, *, threshold: float = 1.0, reset: float = 0.0, alpha: float = 4.0
) -> jax.Array:
    """Turns input currents into spikes as `lif` does, with `1 / tau` an array that gets a gradient.

        H[t] = V[t-1] + (X[t] - (V[t-1] - V_reset)) leak

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
    return _fire(current, lambda v, x: v + (x - (v - reset)) * leak, threshold=threshold, reset=reset, alpha=alpha)


def _fire(
    current: jax.Array,
    charge: Callable[[jax.Array, jax.Array], jax.Array],
    *,
    threshold: float,
    reset: float,
    alpha: float,
) -> jax.Array:
    """The scan of both neurons: charge the membrane, fire over the threshold, reset what fired."""

    def step(membrane: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        charged = charge(membrane, x.astype(jnp.float32))
        spikes = spike(charged - threshold, alpha)
        fired = jax.lax.stop_gradient(spikes)
        return charged * (1 - fired) + reset * fired, spikes.astype(current.dtype)

    rest = jnp.full_like(current, reset, shape=current.shape[1:], dtype=jnp.float32)
    return jax.lax.scan(step, rest, current)[1]


def check_neuron(
    name: str, current: jax.Array, *, threshold: float, reset: float, alpha: float, tau: float = 1.0
) -> None:
    """Raises ValueError where currents or constants are impossible, whichever neuron it is."""
    if current.ndim < 1 or current.shape[0] < 1:
        raise ValueError(f"{name} needs currents of shape (T, ...) with T >= 1, got {current.shape}")
    if not jnp.issubdtype(current.dtype, jnp.floating):
        raise ValueError(f"{name} needs floating-point currents, got {current.dtype}: convert them first")
    if not tau >= 1:  # so that NaN is refused too
        raise ValueError(f"tau is {tau} but a membrane time constant is at least 1 timestep")
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha} but the surrogate's steepness is above 0")
    if not threshold > reset:
        raise ValueError(f"threshold is {threshold}, which is not above the reset potential {reset}")
