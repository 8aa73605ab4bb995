"""The few layers that all families share: neuron, batch normalisation, products."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from stata_jax.models.fire import normalize_and_fire
from stata_jax.models.normalize import apply_statistics, normalize
from stata_jax.models.products import convolve, linear
from stata_jax.spiking.lif import Neuron, lif
from stata_jax.spiking.plif import plif

Initializer = Callable[..., jax.Array]
Seen = dict[str, Any]  # named intermediate values that a module returns beside its output

# torch's default for convolutions: uniform within +-1/sqrt(fan_in).
torch_uniform: Initializer = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# timm's truncated normal cuts at +-2, a hundred standard deviations away, so it is a plain normal.
normal_002: Initializer = nn.initializers.normal(0.02)


def torch_bias(fan_in: int) -> Initializer:
    """Default of torch for the bias of a layer: uniform within +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def fold_time(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Applies a function of (B, ...) to every timestep of (T, B, ...), by folding T into B."""
    timesteps, batch = x.shape[:2]
    y = function(x.reshape(timesteps * batch, *x.shape[2:]))
    return y.reshape(timesteps, batch, *y.shape[1:])


class LIF(nn.Module):
    """The neuron of `stata_jax.spiking` as a layer; returns its spikes and its firing rate.

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
        else:
            spikes = lif(current, tau=self.tau, threshold=self.threshold, alpha=self.alpha, lean=self.lean)
        return spikes, firing_rate(spikes)


def firing_rate(spikes: jax.Array) -> jax.Array:
    """The mean number of spikes per neuron and timestep."""
    return jnp.mean(spikes.astype(jnp.float32))


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last, with torch's running statistics.

    `y = (x - mean) / sqrt(var + eps) * scale + bias`, by the batch's statistics in training and by the running ones
    otherwise. `var` is the biased variance; the running variance takes the unbiased one, `var n / (n - 1)`, as torch
    does and Flax's own layer does not, so that checkpoints and running statistics agree with the published models.
    Statistics are float32 and, with an axis name, taken over all devices.

    Attributes:
      axis_name: Name of the mapped device axis, or None.
      repeats: How often each value stands for itself: T where one static image stands for T equal ones.
    """

    axis_name: str | None = None
    repeats: int = 1
    momentum: float = 0.9  # of the running statistics; torch calls the complement, 0.1, momentum
    epsilon: float = 1e-5

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalises (..., C)."""
        scale, bias, running = self._variables(x.shape[-1])
        if not train:
            return apply_statistics(x, running["mean"].value, running["var"].value, scale, bias, epsilon=self.epsilon)
        y, *statistics = normalize(x, scale, bias, self.epsilon, self._axis_name)
        self._run(running, *statistics, count=x.size // x.shape[-1])
        return y

    def fire(self, x: jax.Array, neuron: LIF, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Normalises (T, ..., C) and returns the spikes that follow and their rate, `neuron(norm(x))`.

        In training the current between the two is not kept for the backward pass.
        """
        if not train or neuron.learn_tau:
            return neuron(self(x, train=train))
        scale, bias, running = self._variables(x.shape[-1])
        constants = Neuron(neuron.tau, neuron.threshold, 0.0, neuron.alpha, neuron.lean)
        spikes, *statistics = normalize_and_fire(x, scale, bias, constants, self.epsilon, self._axis_name)
        self._run(running, *statistics, count=x.size // x.shape[-1])
        return spikes, firing_rate(spikes)

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
        n = self.repeats * count * (1 if self.axis_name is None else jax.lax.axis_size(self.axis_name))
        for name, value in (("mean", mean), ("var", var * (n / max(n - 1, 1)))):
            running[name].value = self.momentum * running[name].value + (1 - self.momentum) * value


class LinearNorm(nn.Module):
    """A product with a weight matrix over the last axis, then batch normalisation: `BN(x W + b)`."""

    features: int
    use_bias: bool = False
    small_init: bool = False  # normal(0.02) and no bias at first; else torch's default for convolutions
    dtype: Any = jnp.float32
    axis_name: str | None = None
    lean: bool = False  # whether the input, which must be spikes or sums of few, is kept in bytes

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps (..., C) to (..., features)."""
        product, norm = self._product(x)
        y: jax.Array = norm(product, train=train)
        return y

    def fire(self, x: jax.Array, neuron: LIF, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Maps (T, ..., C) to the spikes (T, ..., features) that follow, and their firing rate."""
        product, norm = self._product(x)
        return norm.fire(product, neuron, train=train)

    @nn.compact
    def _product(self, x: jax.Array) -> tuple[jax.Array, BatchNorm]:
        x = nn.Dense(
            self.features,
            use_bias=self.use_bias,
            dtype=self.dtype,
            kernel_init=normal_002 if self.small_init else torch_uniform,
            bias_init=nn.initializers.zeros if self.small_init else torch_bias(x.shape[-1]),
            dot_general=lambda x, weight, *_, **__: linear(x, weight, self.lean),
            name="linear",
        )(x)
        return x, BatchNorm(axis_name=self.axis_name, name="norm")


class ConvNorm(nn.Module):
    """A 3x3 convolution of stride 1 without bias, then batch normalisation, for images (T, B, H, W, C).

    A static image may come with T = 1 and `repeats` set to the number of timesteps that it stands for.
    """

    features: int
    small_init: bool = False  # normal(0.02); else torch's default for convolutions
    dtype: Any = jnp.float32
    axis_name: str | None = None
    repeats: int = 1
    lean: bool = False  # as in LinearNorm

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps (T, B, H, W, C) to (T, B, H, W, features)."""
        product, norm = self._product(x)
        y: jax.Array = norm(product, train=train)
        return y

    def fire(self, x: jax.Array, neuron: LIF, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Maps (T, B, H, W, C) to the spikes (T, B, H, W, features) that follow, and their firing rate."""
        product, norm = self._product(x)
        return norm.fire(product, neuron, train=train)

    @nn.compact
    def _product(self, x: jax.Array) -> tuple[jax.Array, BatchNorm]:
        conv = nn.Conv(
            self.features,
            (3, 3),
            padding=((1, 1), (1, 1)),
            use_bias=False,
            dtype=self.dtype,
            kernel_init=normal_002 if self.small_init else torch_uniform,
            conv_general_dilated=lambda x, weight, *_, **__: convolve(x, weight, self.lean),
            name="conv",
        )
        return fold_time(conv, x), BatchNorm(axis_name=self.axis_name, repeats=self.repeats, name="norm")


@dataclasses.dataclass(frozen=True)
class Parts:
    """Makes the layers of one network, which share their neuron, their initial values and their types.

    Attributes:
      tau: Membrane time constant in timesteps.
      threshold: V_th.
      attention_threshold: V_th of the neuron after attention.
      alpha: Steepness of the surrogate gradient.
      learn_tau: Whether each neuron layer learns its time constant.
      small_conv: Whether convolutions start from normal(0.02); else from torch's default.
      small_linear: The same for products in the blocks.
      dtype: Type of convolutions and products.
      axis_name: Name of the device axis over which statistics are taken, or None.
      lean: Whether spikes are kept in bytes for the backward pass.
    """

    tau: float
    threshold: float
    attention_threshold: float
    alpha: float
    learn_tau: bool
    small_conv: bool
    small_linear: bool
    dtype: Any
    axis_name: str | None
    lean: bool

    def lif(self, name: str, *, after_attention: bool = False) -> LIF:
        """A layer of neurons, called `lif_` and its name."""
        threshold = self.attention_threshold if after_attention else self.threshold
        return LIF(self.tau, threshold, self.alpha, self.learn_tau, self.lean, name=f"lif_{name}")

    def linear(self, features: int, name: str, *, use_bias: bool) -> LinearNorm:
        """A product and its normalisation."""
        return LinearNorm(features, use_bias, self.small_linear, self.dtype, self.axis_name, self.lean, name=name)

    def conv(self, features: int, name: str, *, repeats: int = 1, of_images: bool = False) -> ConvNorm:
        """A 3x3 convolution and its normalisation; images are no spikes."""
        lean = self.lean and not of_images
        return ConvNorm(features, self.small_conv, self.dtype, self.axis_name, repeats, lean, name=name)
