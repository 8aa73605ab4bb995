"""The few layers that all families share: products and their normalisation, and what makes them for a network."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp

from stata_jax.kernels import hardware
from stata_jax.kernels.fire import normalize_and_fire, product_and_fire
from stata_jax.kernels.matmul import convolve, linear
from stata_jax.models.initial import normal_002, torch_bias, torch_uniform
from stata_jax.models.neuron import LIF, BatchNorm, Fired, Product, Weights

Seen = dict[str, Any]  # named intermediate values that a module returns beside its output
# Products whose values are sums of at most so many terms are computed again in the backward pass if asked for; always.
CHEAP, NEXT_TO_NOTHING = 1024, 32


def fold_time(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Applies a function of (B, ...) to every timestep of (T, B, ...), by folding T into B."""
    timesteps, batch = x.shape[:2]
    y = function(x.reshape(timesteps * batch, *x.shape[2:]))
    return y.reshape(timesteps, batch, *y.shape[1:])


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
        x, weights, norm = self.operands(x, train=train)
        y: jax.Array = norm(self.product()(x, weights), train=train)
        return y

    def fire(self, x: jax.Array, neuron: LIF, *, train: bool) -> Fired:
        """Maps (T, ..., C) to the spikes (T, ..., features) that follow, and their firing rate."""
        if train and not neuron.learn_tau:
            return self.fire_in_training(x, neuron)[0]
        x, weights, norm = self.operands(x, train=train)
        return norm.fire(self.product()(x, weights), neuron, train=train)

    def fire_in_training(self, x: jax.Array, neuron: LIF, *, beside: Sequence[Self] = ()) -> list[Fired]:
        """`fire` in training, of this product and of others of the same input, all as one product with wider weights.

        Args:
          x: Shape (T, ..., C).
          neuron: The neurons of all of them, without a learned tau.
          beside: Other products, of the same kind and with as many features each.

        Returns:
          For this product, then for the others: the spikes (T, ..., features) and their firing rate.
        """
        (x, *_), *_ = each = [product.operands(x, train=True) for product in (self, *beside)]
        _, of_each, (norm, *norms) = zip(*each, strict=True)
        weights = tuple(jnp.concatenate(arrays, axis=-1) for arrays in zip(*of_each, strict=True))
        most = CHEAP if self.lean and self.recompute else NEXT_TO_NOTHING
        if x.shape[-1] <= self.features and math.prod(self.window) * x.shape[-1] <= most:
            product = jax.named_scope("product")(self.product())  # to be told from the normalisation that it stands in
            function = functools.partial(product_and_fire, product, self.lean, x, weights)
        else:
            function = functools.partial(normalize_and_fire, self.product()(x, weights))
        return norm.fire_in_training(function, self.features, neuron, beside=norms)

    @nn.compact
    def operands(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, Weights, BatchNorm]:
        """The input and the weights in the type of the product, and the normalisation.

        The mean of a batch takes a bias away again, so that its gradient is 0. So training does not add it, nor sum up
        rounding errors for a gradient; the normalisation has it for the running mean alone.
        """
        shape = (*self.window, x.shape[-1], self.features)
        weights = _Weights(shape, self.use_bias, self.small_init, name=self.name_of_product)()
        x, *of_type = nn.dtypes.promote_dtype(x, *weights, dtype=self.dtype)
        left_out = None
        if train and self.use_bias:
            *of_type, bias = of_type
            left_out = bias.astype(jnp.float32)  # rounded as it is when evaluation adds it
        norm = BatchNorm(axis_name=self.axis_name, repeats=self.repeats, offset=left_out, name="norm")
        return x, tuple(of_type), norm


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
      use_bias: Whether there is `b`, which in training shows in the running mean alone.
    """

    use_bias: bool = False

    name_of_product = "linear"

    def product(self) -> Product:
        """`x W + b`, or `x W` where it is given no bias."""

        def product(x: jax.Array, weights: Weights) -> jax.Array:
            kernel, *bias = weights
            y = linear(x, kernel, self.lean)
            return y + bias[0] if bias else y

        return product


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
        return lambda x, weights: fold_time(lambda images: convolve(images, weights[0], lean), x)


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

    def linear_and_fire(
        self, features: int, names: Sequence[str], x: jax.Array, *, use_bias: bool, train: bool
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """Several products of one input, each with its normalisation and neurons.

        Accelerators train them as one product, for few large ones are faster there.

        Args:
          features: Channels of each result.
          names: Of the products.
          x: Shape (T, ..., C).
          use_bias: Whether each has a bias.
          train: Whether to normalise by the batch.

        Returns:
          By name, the spikes (T, ..., features), and their firing rates.
        """
        products = [self.linear(features, name, use_bias=use_bias) for name in names]
        neurons = [self.lif(name) for name in names]
        if train and not self.learn_tau and hardware.platform() != "cpu":
            fired = products[0].fire_in_training(x, neurons[0], beside=products[1:])
        else:
            fired = [each.fire(x, neuron, train=train) for each, neuron in zip(products, neurons, strict=True)]
        spikes, rates = (dict(zip(names, values, strict=True)) for values in zip(*fired, strict=True))
        return spikes, rates

    @property
    def _shared(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "axis_name": self.axis_name, "recompute": self.recompute}
