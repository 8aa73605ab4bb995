"""The constants of neurons and the machine they run on, as one hashable value for custom gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

CPU, GPU = "cpu", "gpu"


class Neuron(NamedTuple):
    """The constants of `stata_jax.ops.lif.lif`, and how its kernel works.

    Attributes:
      tau: Membrane time constant in timesteps.
      threshold: `V_th`.
      reset: `V_reset`.
      alpha: Steepness of the surrogate gradient.
      target: `cpu` goes through tiles; `gpu` takes whole arrays, which suits any accelerator.
      in_bytes: Whether spikes are made as bytes first, for what keeps them as byte residuals.
    """

    tau: float
    threshold: float
    reset: float
    alpha: float
    target: str
    in_bytes: bool

    @classmethod
    def of(
        cls,
        target: str,
        *,
        in_bytes: bool,
        tau: float = 2.0,
        threshold: float = 1.0,
        reset: float = 0.0,
        alpha: float = 4.0,
    ) -> "Neuron":
        """The neurons with the constants of `lif`, of which those that are left out are its defaults."""
        return cls(float(tau), float(threshold), float(reset), float(alpha), target, in_bytes)

    def spike_type(self, current: jax.Array) -> Any:
        """The type in which spikes are made."""
        return jnp.uint8 if self.in_bytes else current.dtype
