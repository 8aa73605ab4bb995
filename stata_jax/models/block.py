"""One block of a family: what all blocks of a network share, and the two parts that the encoder loop calls."""

import dataclasses
import math

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
      rescale: Whether attention's sums over tokens grow by what pruning took from them, see `gain`.
    """

    dim: int
    hidden: int
    heads: int
    scale: float
    qkv_bias: bool
    grid: tuple[int, int]
    dvs_mode: bool = False
    counts: bool = True
    rescale: bool = False

    def gain(self, tokens: int, positions: jax.Array | None) -> float:
        """What a sum over tokens is multiplied by: `N / N_l` behind a pruning if `rescale`, the anchor counted in both.

        At the default constants it changes nothing in the Spike-driven Transformer, whose sums are whole numbers: one
        spike is enough for its neuron of threshold 0.5.

        Args:
          tokens: `N_l`, all tokens that are left.
          positions: Patch index of each token that is left but the anchor, or None if all are there.

        Returns:
          A factor of at least 1.
        """
        if positions is None or not self.rescale:
            return 1.0
        removed = math.prod(self.grid) - positions.shape[2]
        return (tokens + removed) / tokens


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
