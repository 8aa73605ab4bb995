"""What the patch embeddings of all families share: five convolutions, a static image that comes once, and pools."""

import functools

import flax.linen as nn
import jax

from stata_jax.kernels import bit_pool
from stata_jax.kernels.pool import max_pool
from stata_jax.models.layers import ConvNorm, Parts, fold_time


class PatchEmbedding(nn.Module):
    """The parts of a patch embedding; a family puts them in its order.

    Attributes:
      parts: What its layers are made by.
      dim: D, a multiple of 8.
      timesteps: T, over which a static image is repeated.
      pooling: Four digits; where digit i is 1, stage i halves the image.
    """

    parts: Parts
    dim: int
    timesteps: int
    pooling: str

    def convolve(self, x: jax.Array, i: int, *, train: bool) -> jax.Array:
        """Convolution i and its normalisation; widths are D/8, D/4, D/2, D and D."""
        return self._conv(x, i)(x, train=train)

    def fire(self, x: jax.Array, i: int, name: str, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Convolution i, its normalisation and the neurons called by name; their spikes and firing rate.

        A static image, (1, B, H, W, C), is convolved once, and the result stands for all timesteps.
        """
        return self._conv(x, i).fire(x, self.parts.lif(name), train=train)

    def _conv(self, x: jax.Array, i: int) -> ConvNorm:
        width = (self.dim // 8, self.dim // 4, self.dim // 2, self.dim, self.dim)[i]
        repeats = self.timesteps if x.shape[0] == 1 else 1
        return self.parts.conv(width, f"conv{i}", repeats=repeats, of_images=i == 0)

    def pool(self, x: jax.Array, i: int, *, of_spikes: bool = True) -> jax.Array:
        """The max-pool of stage i, where it has one."""
        if self.pooling[i] == "0":
            return x
        lean = self.parts.lean and of_spikes
        if lean and bit_pool.suits(x.shape[0]):
            return bit_pool.pool_in_words(x)
        return fold_time(functools.partial(max_pool, lean=lean), x)
