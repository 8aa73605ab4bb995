"""Spikformer: neurons come after the matmuls, and the residuals add spikes."""

import dataclasses

import flax.linen as nn
import jax

from stata_jax.models.block import Attended, BlockConfig
from stata_jax.models.layers import LayerConfig, fire_each
from stata_jax.models.stem import PatchEmbedding
from stata_jax.models.transformer import SpikingTransformer


class Stem(PatchEmbedding):
    """Patch embedding: four times conv BN LIF [max-pool], which is f; then f + LIF(BN(conv f))."""

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps images (1 or T, B, H, W, C) to sums of two spikes (T, B, H', W', D)."""
        x = images
        for i in range(4):
            x = self.pool(self.fire(x, i, str(i), train=train), i)
        return x + self.fire(x, 4, "4", train=train)


class Attention(nn.Module):
    """Spiking self-attention: q, k, v = LIF(BN(W x)); x + LIF(BN(W LIF(q k^T v s)))."""

    config: LayerConfig
    block: BlockConfig

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, positions: jax.Array | None) -> Attended:
        """Maps tokens (T, B, N, D) to tokens, and to the spikes q and k of the attention."""
        config, block = self.config, self.block
        layers = [config.linear(block.dim, n, use_bias=block.qkv_bias, counts=block.counts) for n in "qkv"]
        q, k, v = fire_each(layers, [config.lif(name) for name in "qkv"], x, train=train)
        scale = block.scale * block.gain(x.shape[2], positions)
        current = config.ops.attention(q, k, v, heads=block.heads, scale=scale)
        attended = config.lif("attended", after_attention=True)(current)
        projection = config.linear(block.dim, "projection", use_bias=True)
        out = projection.fire(attended, config.lif("projection"), train=train)
        self.sow("intermediates", "spikes", {"q": q, "k": k, "v": v, "attended": attended})
        return x + out, q, k


class MLP(nn.Module):
    """The feed-forward network: x + LIF(BN(W LIF(BN(W x))))."""

    config: LayerConfig
    block: BlockConfig

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps tokens (T, B, N, D) to tokens."""
        config, block = self.config, self.block
        up = config.linear(block.hidden, "up", use_bias=True, counts=block.counts)
        down = config.linear(block.dim, "down", use_bias=True)
        y = up.fire(x, config.lif("hidden"), train=train)
        return x + down.fire(y, config.lif("out"), train=train)


class Spikformer(SpikingTransformer):
    """Spikformer (Zhou et al., 2023): residuals are sums of spikes, so that not all of its matmuls take spikes."""

    stem_class, attention_class, mlp_class = Stem, Attention, MLP

    def embed_anchor(self, anchor: jax.Array) -> jax.Array:
        """The anchor as spikes, since these blocks take spikes."""
        return self.layers.lif("anchor")(anchor)

    @property
    def layers(self) -> LayerConfig:
        """What all layers share; the CIFAR models have linear layers where the others have 1x1 convolutions."""
        return dataclasses.replace(super().layers, small_linear=self.qkv_bias)

    def block(self, grid: tuple[int, int]) -> BlockConfig:
        """What all blocks share; an entry of the last residual adds two spikes a block and two of the stem."""
        return dataclasses.replace(super().block(grid), counts=2 * (1 + self.depth) <= 255)
