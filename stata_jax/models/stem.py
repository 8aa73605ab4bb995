"""What the patch embeddings of all families share: five convolutions, a static image that comes once, and pools."""

import flax.linen as nn
import jax

from stata_jax.models.layers import ConvNorm, LayerConfig


class PatchEmbedding(nn.Module):
    """The parts of a patch embedding; a family puts them in its order.

    Attributes:
      config: What all layers share.
      dim: D, a multiple of 8.
      timesteps: T, over which a static image is repeated.
      pooling: Four digits; where digit i is 1, stage i halves the image.
    """

    config: LayerConfig
    dim: int
    timesteps: int
    pooling: str

    def convolve(self, x: jax.Array, i: int, *, train: bool) -> jax.Array:
        """Convolution i and its normalisation; widths are D/8, D/4, D/2, D and D."""
        return self._conv(x, i)(x, train=train)

    def fire(self, x: jax.Array, i: int, name: str, *, train: bool) -> jax.Array:
        """Convolution i, its normalisation and the neurons called by name; their spikes.

        A static image, (1, B, H, W, C), is convolved once, and the result stands for all timesteps.
        """
        return self._conv(x, i).fire(x, self.config.lif(name), train=train)

    def _conv(self, x: jax.Array, i: int) -> ConvNorm:
        width = (self.dim // 8, self.dim // 4, self.dim // 2, self.dim, self.dim)[i]
        repeats = self.timesteps if x.shape[0] == 1 else 1
        return self.config.conv(width, f"conv{i}", repeats=repeats, counts=i > 0)  # images are no counts

    def pool(self, x: jax.Array, i: int, *, spikes: bool = True) -> jax.Array:
        """The max-pool of stage i, where it has one."""
        return x if self.pooling[i] == "0" else self.config.ops.max_pool(x, spikes=spikes)
