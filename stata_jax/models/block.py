"""One block of a family: what all blocks of a network share, and the two parts that the encoder loop calls."""

import dataclasses

import flax.linen as nn
import jax

from stata_jax.models.layers import LayerConfig

Attended = tuple[jax.Array, jax.Array, jax.Array]  # tokens, queries and keys


@dataclasses.dataclass(frozen=True)
class BlockConfig:
    """What all blocks of one network share.

    Attributes:
      dim: D, the token width.
      hidden: Hidden width of the MLP.
      heads: h, a divisor of the width.
      scale: The attention scale s.
      qkv_bias: Whether q, k and v have biases before their normalisation.
      grid: Rows and columns of patches in the image.
      dvs_mode: Whether k, v and what follows from them are max-pooled; Spike-driven Transformer only.
      counts: Whether all residuals hold whole numbers from 0 to 255, where they add spikes.
    """

    dim: int
    hidden: int
    heads: int
    scale: float
    qkv_bias: bool
    grid: tuple[int, int]
    dvs_mode: bool = False
    counts: bool = True


class Block(nn.Module):
    """One block of a family: attention, then the MLP; the encoder loop may drop tokens between the two."""

    attention_class: type[nn.Module]
    mlp_class: type[nn.Module]
    layers: LayerConfig
    block: BlockConfig

    def setup(self) -> None:
        """Makes the two parts, which are this block's."""
        self.attention = self.attention_class(self.layers, self.block)
        self.mlp = self.mlp_class(self.layers, self.block)
