"""What the patch embeddings of all families share: five convolutions, a static image that comes once, and pools."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from stata_jax.models.layers import Parts, fold_time
from stata_jax.models.pooling import max_pool


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
        """Convolution i and its normalisation; widths are D/8, D/4, D/2, D and D.

        A static image, (1, B, H, W, C), is convolved once, and the result repeated over the timesteps.
        """
        width = (self.dim // 8, self.dim // 4, self.dim // 2, self.dim, self.dim)[i]
        if x.shape[0] > 1:
            return self.parts.conv(width, f"conv{i}")(x, train=train)
        x = self.parts.conv(width, f"conv{i}", repeats=self.timesteps)(x, train=train)
        return jnp.broadcast_to(x, (self.timesteps, *x.shape[1:]))

    def pool(self, x: jax.Array, i: int) -> jax.Array:
        """The max-pool of stage i, where it has one."""
        return fold_time(max_pool, x) if self.pooling[i] == "1" else x
