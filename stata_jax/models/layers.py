"""The layers that all families share: neurons, batch normalisation, and matmuls with a normalisation behind them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from stata_jax.models.initial import normal_002, torch_bias, torch_uniform
from stata_jax.ops.norm import apply_statistics, running_average, unbiased
from stata_jax.ops.operations import PLAIN, Operations, repeat


@dataclasses.dataclass(frozen=True)
class LayerConfig:
    """What all layers of one network share.

    Attributes:
      tau: Membrane time constant in timesteps; where it is learned, its initial value, above 1.
      threshold: V_th.
      attention_threshold: V_th of the neuron after attention.
      alpha: Steepness of the surrogate gradient.
      learn_tau: Whether each neuron layer learns one time constant, `1 / tau = sigmoid(w)`, for all of its neurons.
      small_conv: Whether convolutions start from normal(0.02); else from torch's default.
      small_linear: The same for the matmuls in the blocks.
      dtype: Type of convolutions and matmuls; neurons and statistics are float32.
      axis_name: Name of the device axis over which statistics are taken, or None.
      ops: The operations: the plain ones, or faster ones with the same results.
    """

    tau: float = 2.0
    threshold: float = 1.0
    attention_threshold: float = 0.5
    alpha: float = 4.0
    learn_tau: bool = False
    small_conv: bool = False
    small_linear: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None
    ops: Operations = PLAIN

    def lif(self, name: str, *, after_attention: bool = False) -> "LIF":
        """A layer of neurons, called `lif_` and its name."""
        return LIF(self, self.attention_threshold if after_attention else self.threshold, name=f"lif_{name}")

    def linear(self, features: int, name: str, *, use_bias: bool, counts: bool = True) -> "LinearNorm":
        """A matmul and its normalisation."""
        return LinearNorm(features, self, self.small_linear, counts, use_bias, name=name)

    def conv(self, features: int, name: str, *, repeats: int = 1, counts: bool = True) -> "ConvNorm":
        """A 3x3 convolution and its normalisation."""
        return ConvNorm(features, self, self.small_conv, counts, repeats, name=name)


class LIF(nn.Module):
    """The neuron of `stata_jax.ops.lif` as a layer. Its firing rate is the intermediate `rate`.

    Attributes:
      config: What all layers share.
      threshold: V_th of these neurons.
    """

    config: LayerConfig = LayerConfig()
    threshold: float = 1.0

    @nn.compact
    def __call__(self, current: jax.Array) -> jax.Array:
        """Maps currents (T, ...) to spikes (T, ...)."""
        ops, constants = self.config.ops, self.constants
        if not self.config.learn_tau:
            return self.record(ops.lif(current, **constants))
        w = self.param("w", nn.initializers.constant(-math.log(constants.pop("tau") - 1)), (), jnp.float32)
        return self.record(ops.plif(current, jax.nn.sigmoid(w), **constants))

    @property
    def constants(self) -> dict[str, float]:
        """The keyword arguments of `stata_jax.ops.lif.lif`."""
        return {"tau": self.config.tau, "threshold": self.threshold, "alpha": self.config.alpha}

    def record(self, spikes: jax.Array) -> jax.Array:
        """Leaves the firing rate of these spikes among the intermediates."""
        if self.is_mutable_collection("intermediates"):
            self.sow("intermediates", "rate", jnp.mean(spikes.astype(jnp.float32)))
        return spikes


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last, with torch's running statistics.

    `y = (x - mean) / sqrt(var + eps) * scale + bias`, by the batch's statistics in training and by the running ones
    otherwise. `var` is the biased variance; the running variance takes the unbiased one, `var n / (n - 1)`, as torch
    does and Flax's own layer does not, so that checkpoints and running statistics agree with the published models.
    Statistics are float32 and, with an axis name, taken over all devices.

    Attributes:
      config: What all layers share.
      repeats: How often each value stands for itself: T where one static image stands for T equal ones.
      offset: What training leaves out of its input, shape (C,), or None. The batch's mean would take it away again, and
        so it shows in the running mean alone. Evaluation does not use it.
    """

    config: LayerConfig = LayerConfig()
    repeats: int = 1
    offset: jax.Array | None = None
    momentum: float = 0.9  # of the running statistics; torch calls the complement, 0.1, momentum
    epsilon: float = 1e-5

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalises (..., C)."""
        scale, bias, running = self.variables_of(x.shape[-1])
        if not train:
            return apply_statistics(x, running["mean"].value, running["var"].value, scale, bias, epsilon=self.epsilon)
        y, mean, var = self.config.ops.normalize(x, scale, bias, epsilon=self.epsilon, axis_name=self.axis_name)
        self.update(running, mean, var, count=self.repeats * x.size // x.shape[-1])
        return y

    @nn.compact
    def variables_of(self, channels: int) -> tuple[jax.Array, jax.Array, dict[str, Any]]:
        """Scale and bias, and the running statistics."""
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
        return scale, bias, {"mean": mean, "var": var}

    @property
    def axis_name(self) -> str | None:
        """The device axis, which is not there while variables are initialised."""
        return None if self.is_initializing() else self.config.axis_name

    def update(self, running: dict[str, Any], mean: jax.Array, var: jax.Array, *, count: int) -> None:
        """Moves the running statistics towards those of a batch of `count` values a channel and device."""
        if self.is_initializing():
            return
        mean = mean if self.offset is None else mean + self.offset
        var = unbiased(var, count, axis_name=self.axis_name)
        for name, value in (("mean", mean), ("var", var)):
            running[name].value = running_average(running[name].value, value, momentum=self.momentum)


class MatmulNorm(nn.Module):
    """A matmul with a weight, then batch normalisation: what `LinearNorm` and `ConvNorm` have in common.

    What enters it is the intermediate `input`.

    Attributes:
      features: Channels of the result.
      config: What all layers share.
      small_init: Whether weights start from normal(0.02) and biases from 0; else both from torch's default.
      counts: Whether the input holds whole numbers from 0 to 255: spikes, or residuals that add a few.
    """

    features: int
    config: LayerConfig = LayerConfig()
    small_init: bool = False
    counts: bool = True

    weights_name: ClassVar[str]
    window: ClassVar[tuple[int, ...]] = ()
    use_bias = False
    repeats = 1  # timesteps that one of the input stands for

    @nn.nowrap
    def matmul(self, x: jax.Array, kernel: jax.Array, *, counts: bool) -> jax.Array:
        """The matmul, of `stata_jax.ops`."""
        raise NotImplementedError

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps (T, ..., C) to (T, ..., features)."""
        x, kernel, bias, norm = self.operands(x, train=train)
        y = self.matmul(x, kernel, counts=self.counts)
        return norm(y if bias is None else y + bias, train=train)

    @nn.nowrap
    def fire(self, x: jax.Array, neuron: LIF, *, train: bool) -> jax.Array:
        """Maps (T, ..., C) to the spikes (T, ..., features) that follow."""
        return fire_each([self], [neuron], x, train=train)[0]

    @nn.compact
    def operands(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array, jax.Array | None, BatchNorm]:
        """The input, kernel and bias in the type of the matmul, and the normalisation.

        The mean of a batch takes a bias away again, so that its gradient is 0. So training does not add it, nor sum up
        rounding errors for a gradient; the normalisation has it for the running mean alone.
        """
        self.sow("intermediates", "input", x)
        shape = (*self.window, x.shape[-1], self.features)
        weights = _Weights(shape, self.use_bias, self.small_init, name=self.weights_name)()
        x, kernel, *of_type = nn.dtypes.promote_dtype(x, *weights, dtype=self.config.dtype)
        bias, offset = of_type[0] if of_type else None, None
        if train and of_type:
            bias, offset = None, of_type[0].astype(jnp.float32)  # rounded as it is when evaluation adds it
        return x, kernel, bias, BatchNorm(self.config, self.repeats, offset, name="norm")


def fire_each(layers: Sequence[MatmulNorm], neurons: Sequence[LIF], x: jax.Array, *, train: bool) -> list[jax.Array]:
    """The spikes of several layers of one input, each with its normalisation and neurons.

    Args:
      layers: Of one kind, with as many features each.
      neurons: One for each layer, of the same constants.
      x: Shape (T, ..., C).
      train: Whether to normalise by the batch.

    Returns:
      For each layer its spikes, shape (T, ..., features).
    """
    first, config = layers[0], layers[0].config
    if not train or config.learn_tau:
        currents = [repeat(layer(x, train=train), layer.repeats) for layer in layers]
        return [neuron(current) for neuron, current in zip(neurons, currents, strict=True)]
    operands = [layer.operands(x, train=True) for layer in layers]
    x, norms = operands[0][0], [norm for *_, norm in operands]
    variables = [norm.variables_of(first.features) for norm in norms]
    fired = config.ops.matmul_norm_lif(
        first.matmul,
        x,
        [(kernel, scale, bias) for (_, kernel, _, _), (scale, bias, _) in zip(operands, variables, strict=True)],
        names=[str(layer.name) for layer in layers],
        repeats=first.repeats,
        epsilon=norms[0].epsilon,
        axis_name=norms[0].axis_name,
        counts=first.counts,
        **neurons[0].constants,
    )
    for norm, (_, _, running), (spikes, mean, var) in zip(norms, variables, fired, strict=True):
        norm.update(running, mean, var, count=spikes.size // first.features)
    return [neuron.record(spikes) for neuron, (spikes, _, _) in zip(neurons, fired, strict=True)]


class _Weights(nn.Module):
    """A kernel and perhaps a bias."""

    shape: tuple[int, ...]
    use_bias: bool
    small_init: bool

    @nn.compact
    def __call__(self) -> tuple[jax.Array, ...]:
        init = normal_002 if self.small_init else torch_uniform
        kernel = self.param("kernel", init, self.shape, jnp.float32)
        if not self.use_bias:
            return (kernel,)
        bias_init = nn.initializers.zeros if self.small_init else torch_bias(math.prod(self.shape[:-1]))
        return kernel, self.param("bias", bias_init, self.shape[-1:], jnp.float32)


class LinearNorm(MatmulNorm):
    """A matmul over the last axis, then batch normalisation: `BN(x W + b)`.

    Attributes:
      use_bias: Whether there is `b`, which in training shows in the running mean alone.
    """

    use_bias: bool = False

    weights_name = "linear"

    @nn.nowrap
    def matmul(self, x: jax.Array, kernel: jax.Array, *, counts: bool = False) -> jax.Array:
        """`x W`."""
        return self.config.ops.linear(x, kernel, counts=counts)


class ConvNorm(MatmulNorm):
    """A 3x3 convolution of stride 1 without bias, then batch normalisation, for images (T, B, H, W, C).

    Attributes:
      repeats: The number of timesteps that an input with T = 1 stands for.
    """

    repeats: int = 1

    weights_name = "conv"
    window = (3, 3)

    @nn.nowrap
    def matmul(self, x: jax.Array, kernel: jax.Array, *, counts: bool = False) -> jax.Array:
        """The convolution of every timestep."""
        return self.config.ops.convolve(x, kernel, counts=counts)
