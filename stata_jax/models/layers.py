"""The few layers that all families share: neuron, batch normalisation, products."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from stata_jax.models.fire import Constants, normalize_and_fire, product_and_fire, repeat
from stata_jax.models.initial import normal_002, torch_bias, torch_uniform
from stata_jax.models.normalize import apply_statistics, normalize
from stata_jax.models.products import convolve, linear
from stata_jax.spiking.lif import Neuron, lif_and_rate
from stata_jax.spiking.plif import plif

Weights = tuple[jax.Array, ...]  # kernel, and perhaps bias
Product = Callable[[jax.Array, Weights], jax.Array]
Seen = dict[str, Any]  # named intermediate values that a module returns beside its output
# Products whose values are sums of at most so many terms are computed again in the backward pass if asked for; always.
CHEAP, NEXT_TO_NOTHING = 1024, 32


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
        self._run(running, *statistics, count=self.repeats * x.size // x.shape[-1])
        return y

    def fire(self, x: jax.Array, neuron: LIF, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Normalises (T, ..., C) and returns the spikes that follow and their rate, `neuron(norm(x))`.

        In training the current between the two is not kept for the backward pass.
        """
        if not train or neuron.learn_tau:
            return neuron(repeat(self(x, train=train), self.repeats))
        return self._fire(normalize_and_fire, (x,), x.shape[-1], neuron)

    def fire_product(
        self, product: Product, x: jax.Array, weights: Weights, neuron: LIF, *, in_bytes: bool
    ) -> tuple[jax.Array, jax.Array]:
        """`fire(product(x, weights))` in training, which keeps `x` alone for the backward pass."""
        return self._fire(product_and_fire, (product, in_bytes, x, weights), weights[0].shape[-1], neuron)

    def _fire(
        self, function: Callable[..., Any], given: tuple[Any, ...], channels: int, neuron: LIF
    ) -> tuple[jax.Array, jax.Array]:
        scale, bias, running = self._variables(channels)
        constants = Constants(neuron.constants, self.epsilon, self._axis_name, self.repeats)
        spikes, number, *statistics = function(*given, scale, bias, constants)
        self._run(running, *statistics, count=spikes.size // channels)
        return spikes, number / spikes.size

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
        n = count * (1 if self.axis_name is None else jax.lax.axis_size(self.axis_name))
        for name, value in (("mean", mean), ("var", var * (n / max(n - 1, 1)))):
            running[name].value = self.momentum * running[name].value + (1 - self.momentum) * value


class ProductNorm(nn.Module):
    """A product with a weight, then batch normalisation: what `LinearNorm` and `ConvNorm` have in common.

    Attributes:
      features: Channels of the result.
      small_init: Whether weights start from normal(0.02) and biases from 0; else both from torch's default.
      dtype: Type of the product.
      axis_name: Name of the device axis over which statistics are taken, or None.
      lean: Whether the input, which must be spikes or sums of few, is kept in bytes.
      recompute: Whether, lean as well, the backward pass computes cheap products again that are no narrower than x.
    """

    features: int
    small_init: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None
    lean: bool = False
    recompute: bool = False

    # What a kind of product is.
    name_of_product: ClassVar[str]
    window: ClassVar[tuple[int, ...]] = ()
    use_bias = False
    repeats = 1  # timesteps that one of the input stands for

    def product(self) -> Product:
        """The product as a function of the input and its weights."""
        raise NotImplementedError

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps (T, ..., C) to (T, ..., features)."""
        x, weights, norm = self._parts(x)
        y: jax.Array = norm(self.product()(x, weights), train=train)
        return y

    def fire(self, x: jax.Array, neuron: LIF, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Maps (T, ..., C) to the spikes (T, ..., features) that follow, and their firing rate."""
        x, weights, norm = self._parts(x)
        most = CHEAP if self.lean and self.recompute else NEXT_TO_NOTHING
        again = x.shape[-1] <= self.features and math.prod(self.window) * x.shape[-1] <= most
        if train and again and not neuron.learn_tau:
            return norm.fire_product(self.product(), x, weights, neuron, in_bytes=self.lean)
        return norm.fire(self.product()(x, weights), neuron, train=train)

    @nn.compact
    def _parts(self, x: jax.Array) -> tuple[jax.Array, Weights, BatchNorm]:
        """The input and the weights in the type of the product, and the normalisation."""
        shape = (*self.window, x.shape[-1], self.features)
        weights = _Weights(shape, self.use_bias, self.small_init, name=self.name_of_product)()
        x, *of_type = nn.dtypes.promote_dtype(x, *weights, dtype=self.dtype)
        return x, tuple(of_type), BatchNorm(axis_name=self.axis_name, repeats=self.repeats, name="norm")


class _Weights(nn.Module):
    """A kernel and perhaps a bias."""

    shape: tuple[int, ...]
    use_bias: bool
    small_init: bool

    @nn.compact
    def __call__(self) -> Weights:
        init = normal_002 if self.small_init else torch_uniform
        kernel = self.param("kernel", init, self.shape, jnp.float32)
        if not self.use_bias:
            return (kernel,)
        bias_init = nn.initializers.zeros if self.small_init else torch_bias(math.prod(self.shape[:-1]))
        return kernel, self.param("bias", bias_init, self.shape[-1:], jnp.float32)


class LinearNorm(ProductNorm):
    """A product with a weight matrix over the last axis, then batch normalisation: `BN(x W + b)`.

    Attributes:
      use_bias: Whether there is `b`.
    """

    use_bias: bool = False

    name_of_product = "linear"

    def product(self) -> Product:
        """`x W + b`."""
        lean = self.lean
        return lambda x, weights: linear(x, *weights, lean=lean)


class ConvNorm(ProductNorm):
    """A 3x3 convolution of stride 1 without bias, then batch normalisation, for images (T, B, H, W, C).

    Attributes:
      repeats: The number of timesteps that an input with T = 1 stands for.
    """

    repeats: int = 1

    name_of_product = "conv"
    window = (3, 3)

    def product(self) -> Product:
        """The convolution of every timestep."""
        lean = self.lean
        return lambda x, weights: fold_time(lambda images: convolve(images, *weights, lean), x)


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
      recompute: Whether, lean as well, the backward pass computes cheap products again that are no narrower than x.
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
    recompute: bool

    def lif(self, name: str, *, after_attention: bool = False) -> LIF:
        """A layer of neurons, called `lif_` and its name."""
        threshold = self.attention_threshold if after_attention else self.threshold
        return LIF(self.tau, threshold, self.alpha, self.learn_tau, self.lean, name=f"lif_{name}")

    def linear(self, features: int, name: str, *, use_bias: bool) -> LinearNorm:
        """A product and its normalisation."""
        return LinearNorm(features, self.small_linear, use_bias=use_bias, lean=self.lean, name=name, **self._shared)

    def conv(self, features: int, name: str, *, repeats: int = 1, of_images: bool = False) -> ConvNorm:
        """A 3x3 convolution and its normalisation; images are no spikes."""
        lean = self.lean and not of_images
        return ConvNorm(features, small_init=self.small_conv, lean=lean, repeats=repeats, name=name, **self._shared)

    @property
    def _shared(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "axis_name": self.axis_name, "recompute": self.recompute}
