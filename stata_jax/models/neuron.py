"""The neuron and the batch normalisation that feeds it, as layers."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp

from stata_jax.kernels.bits import split
from stata_jax.kernels.fire import Constants, repeat
from stata_jax.kernels.lif import Neuron, lif_and_rate
from stata_jax.kernels.norm import apply_statistics, normalize
from stata_jax.kernels.plif import plif

Weights = tuple[jax.Array, ...]  # kernel, and perhaps bias
Product = Callable[[jax.Array, Weights], jax.Array]
Fired = tuple[jax.Array, jax.Array]  # spikes and their rate


class LIF(nn.Module):
    """The neuron of `stata_jax.ops` as a layer; returns its spikes and its firing rate.

    Attributes:
      tau: Membrane time constant in timesteps; where it is learned, its initial value, above 1.
      threshold: V_th.
      alpha: Steepness of the surrogate gradient.
      learn_tau: Whether the layer learns one time constant, `1 / tau = sigmoid(w)`, for all of its neurons.
    """

    tau: float = 2.0
    threshold: float = 1.0
    alpha: float = 4.0
    learn_tau: bool = False
    lean: bool = False  # see `lif`

    @nn.compact
    def __call__(self, current: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps currents (T, ...) to spikes (T, ...) and their mean, the firing rate."""
        if self.learn_tau:
            w = self.param("w", nn.initializers.constant(-math.log(self.tau - 1)), (), jnp.float32)
            spikes = plif(current, jax.nn.sigmoid(w), threshold=self.threshold, alpha=self.alpha)
            return spikes, jnp.mean(spikes.astype(jnp.float32))
        return lif_and_rate(current, **self.constants._asdict())

    @property
    def constants(self) -> Neuron:
        """What the neurons are, but for a time constant that is learned."""
        return Neuron(self.tau, self.threshold, reset=0.0, alpha=self.alpha, lean=self.lean)


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last, with torch's running statistics.

    `y = (x - mean) / sqrt(var + eps) * scale + bias`, by the batch's statistics in training and by the running ones
    otherwise. `var` is the biased variance; the running variance takes the unbiased one, `var n / (n - 1)`, as torch
    does and Flax's own layer does not, so that checkpoints and running statistics agree with the published models.
    Statistics are float32 and, with an axis name, taken over all devices.

    Attributes:
      axis_name: Name of the mapped device axis, or None.
      repeats: How often each value stands for itself: T where one static image stands for T equal ones.
      offset: What training leaves out of its input, shape (C,), or None. The batch's mean would take it away again, and
        so it shows in the running mean alone. Evaluation does not use it.
    """

    axis_name: str | None = None
    repeats: int = 1
    offset: jax.Array | None = None
    momentum: float = 0.9  # of the running statistics; torch calls the complement, 0.1, momentum
    epsilon: float = 1e-5

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalises (..., C)."""
        scale, bias, running = self._variables(x.shape[-1])
        if not train:
            return apply_statistics(x, running["mean"].value, running["var"].value, scale, bias, epsilon=self.epsilon)
        y, *statistics = normalize(x, scale, bias, self.epsilon, self._axis_name)
        self._run(running, *statistics, count=self.repeats * x.size // x.shape[-1])
        return y

    def fire(self, x: jax.Array, neuron: LIF, *, train: bool) -> Fired:
        """Normalises (T, ..., C) and returns the spikes that follow and their rate, `neuron(norm(x))`.

        In training without a learned tau, `fire_in_training` does the same with less memory.
        """
        return neuron(repeat(self(x, train=train), self.repeats))

    def fire_in_training(
        self, function: Callable[..., Any], channels: int, neuron: LIF, *, beside: Sequence[Self] = ()
    ) -> list[Fired]:
        """`fire` in training, which does not keep the current between the two for the backward pass.

        Args:
          function: `normalize_and_fire` or the like, with all that comes before scale, bias and constants bound. Its
            channels are these, then those of the others.
          channels: C.
          neuron: The neurons of all of them, without a learned tau.
          beside: Other normalisations, of C channels each.

        Returns:
          For this normalisation, then for the others: the spikes (T, ..., C) and their rate. A gradient of the rate of
          one of several passes in the type of the spikes.
        """
        norms = (self, *beside)
        scales, biases, running = zip(*(norm._variables(channels) for norm in norms), strict=True)
        constants = Constants(neuron.constants, self.epsilon, self._axis_name, self.repeats)
        spikes, number, *statistics = function(jnp.concatenate(scales), jnp.concatenate(biases), constants)
        if not beside:
            self._run(*running, *statistics, count=spikes.size // channels)
            return [(spikes, number / spikes.size)]
        each = (jnp.split(array, len(norms)) for array in statistics)
        fired = []
        for norm, variables, of_norm, *moments in zip(norms, running, split(spikes, len(norms)), *each, strict=True):
            norm._run(variables, *moments, count=of_norm.size // channels)
            fired.append((of_norm, jnp.mean(of_norm.astype(jnp.float32))))
        return fired

    @nn.compact
    def _variables(self, channels: int) -> tuple[jax.Array, jax.Array, dict[str, Any]]:
        """Scale and bias, and the running statistics."""
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
        return scale, bias, {"mean": mean, "var": var}

    @property
    def _axis_name(self) -> str | None:
        return None if self.is_initializing() else self.axis_name

    def _run(self, running: dict[str, Any], mean: jax.Array, var: jax.Array, *, count: int) -> None:
        """Moves the running statistics towards those of a batch of `count` values a channel and device."""
        if self.is_initializing():
            return
        mean = mean if self.offset is None else mean + self.offset
        n = count * (1 if self.axis_name is None else jax.lax.axis_size(self.axis_name))
        for name, value in (("mean", mean), ("var", var * (n / max(n - 1, 1)))):
            running[name].value = self.momentum * running[name].value + (1 - self.momentum) * value
