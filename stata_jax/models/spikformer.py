"""Spikformer: neurons come after the products, and the residuals add spikes."""

import dataclasses
import functools

import flax.linen as nn
import jax

from stata_jax.kernels.residuals import keeping_bytes
from stata_jax.models.layers import Parts, Seen
from stata_jax.models.stem import PatchEmbedding
from stata_jax.models.transformer import SpikingTransformer
from stata_jax.ops.attention import spiking_attention


class Stem(PatchEmbedding):
    """Patch embedding: four times conv BN LIF [max-pool], which is f; then f + LIF(BN(conv f))."""

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> tuple[jax.Array, Seen]:
        """Maps images (1 or T, B, H, W, C) to sums of two spikes (T, B, H', W', D)."""
        rates, x = {}, images
        for i in range(4):
            x, rates[f"lif{i}"] = self.fire(x, i, str(i), train=train)
            x = self.pool(x, i)
        y, rates["lif4"] = self.fire(x, 4, "4", train=train)
        return x + y, {"rates": rates}


class Attention(nn.Module):
    """Spiking self-attention: q, k, v = LIF(BN(W x)); x + LIF(BN(W LIF(q k^T v s)))."""

    parts: Parts
    dim: int
    heads: int
    scale: float
    qkv_bias: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, positions: jax.Array | None) -> tuple[jax.Array, Seen]:
        """Maps tokens (T, B, N, D) to tokens; has seen the spikes q, k, v and those after attention."""
        parts = self.parts
        spikes, rates = parts.linear_and_fire(self.dim, ("q", "k", "v"), x, use_bias=self.qkv_bias, train=train)
        attention = functools.partial(spiking_attention, heads=self.heads, scale=self.scale)
        current = keeping_bytes(attention, lean=parts.lean)(spikes["q"], spikes["k"], spikes["v"])
        attended, rates["attended"] = parts.lif("attended", after_attention=True)(current)
        product = parts.linear(self.dim, "projection", use_bias=True)
        out, rates["projection"] = product.fire(attended, parts.lif("projection"), train=train)
        return x + out, spikes | {"attended": attended, "rates": rates}


class MLP(nn.Module):
    """The feed-forward network: x + LIF(BN(W LIF(BN(W x))))."""

    parts: Parts
    dim: int
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, Seen]:
        """Maps tokens (T, B, N, D) to tokens."""
        parts, rates = self.parts, {}
        y, rates["hidden"] = parts.linear(self.hidden, "up", use_bias=True).fire(x, parts.lif("hidden"), train=train)
        y, rates["out"] = parts.linear(self.dim, "down", use_bias=True).fire(y, parts.lif("out"), train=train)
        return x + y, {"rates": rates}


class Spikformer(SpikingTransformer):
    """Spikformer (Zhou et al., 2023): residuals are sums of spikes, so that not all of its products take spikes."""

    stem_class, attention_class, mlp_class = Stem, Attention, MLP

    def embed_anchor(self, anchor: jax.Array) -> jax.Array:
        """The anchor as spikes, since these blocks take spikes."""
        return self.parts.lif("anchor")(anchor)[0]

    @property
    def parts(self) -> Parts:
        """What its layers are made by; the CIFAR models have linear layers where the others have 1x1 convolutions."""
        most = 2 * (1 + self.depth)  # spikes that one entry adds up, from the stem on
        return dataclasses.replace(super().parts, small_linear=self.qkv_bias, lean=self.lean and most <= 255)
