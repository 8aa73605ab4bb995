"""Spikingformer: neurons come before the matmuls, and the residuals add membrane currents."""

import flax.linen as nn
import jax

from stata_jax.models.block import Attended, BlockConfig
from stata_jax.models.layers import LayerConfig, fire_each
from stata_jax.models.stem import PatchEmbedding
from stata_jax.models.transformer import SpikingTransformer


class Stem(PatchEmbedding):
    """Patch embedding: conv BN, then four times LIF, [max-pool], conv BN."""

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps images (1 or T, B, H, W, C) to currents (T, B, H', W', D)."""
        x = images
        for i in range(4):
            x = self.pool(self.fire(x, i, str(i + 1), train=train), i)
        return self.convolve(x, 4, train=train)


class Attention(nn.Module):
    """Spiking self-attention: x' = LIF(x); q, k, v = LIF(BN(W x')); x + BN(W LIF(q k^T v s))."""

    config: LayerConfig
    block: BlockConfig

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, positions: jax.Array | None) -> Attended:
        """Maps tokens (T, B, N, D) to tokens, and to the spikes q and k of the attention."""
        config, block = self.config, self.block
        layers = [config.linear(block.dim, name, use_bias=block.qkv_bias) for name in "qkv"]
        q, k, v = fire_each(layers, [config.lif(name) for name in "qkv"], config.lif("in")(x), train=train)
        scale = block.scale * block.gain(x.shape[2], positions)
        current = config.ops.attention(q, k, v, heads=block.heads, scale=scale)
        attended = config.lif("attended", after_attention=True)(current)
        out = config.linear(block.dim, "projection", use_bias=True)(attended, train=train)
        self.sow("intermediates", "spikes", {"q": q, "k": k, "v": v, "attended": attended})
        return x + out, q, k


class MLP(nn.Module):
    """The feed-forward network: x + BN(W LIF(BN(W LIF(x))))."""

    config: LayerConfig
    block: BlockConfig

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps tokens (T, B, N, D) to tokens."""
        config, block = self.config, self.block
        up = config.linear(block.hidden, "up", use_bias=True)
        y = up.fire(config.lif("in")(x), config.lif("hidden"), train=train)
        return x + config.linear(block.dim, "down", use_bias=True)(y, train=train)


class Spikingformer(SpikingTransformer):
    """Spikingformer (Zhou et al., 2023): all matmuls but the first convolution and the head take binary spikes."""

    stem_class, attention_class, mlp_class = Stem, Attention, MLP
