"""Spikformer: neurons come after the products, and the residuals add spikes."""

import dataclasses

import flax.linen as nn
import jax

from stata_jax.models.attention import spiking_attention
from stata_jax.models.layers import Parts, Seen
from stata_jax.models.stem import PatchEmbedding
from stata_jax.models.transformer import SpikingTransformer


class Stem(PatchEmbedding):
    """Patch embedding: four times conv BN LIF [max-pool], which is f; then f + LIF(BN(conv f))."""

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> tuple[jax.Array, Seen]:
        """Maps images (1 or T, B, H, W, C) to sums of two spikes (T, B, H', W', D)."""
        rates, x = {}, images
        for i in range(4):
            x, rates[f"lif{i}"] = self.parts.lif(str(i))(self.convolve(x, i, train=train))
            x = self.pool(x, i)
        y, rates["lif4"] = self.parts.lif("4")(self.convolve(x, 4, train=train))
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
        parts, rates, spikes = self.parts, {}, {}
        for name in ("q", "k", "v"):
            current = parts.linear(self.dim, name, use_bias=self.qkv_bias)(x, train=train)
            spikes[name], rates[name] = parts.lif(name)(current)
        current = spiking_attention(spikes["q"], spikes["k"], spikes["v"], heads=self.heads, scale=self.scale)
        attended, rates["attended"] = parts.lif("attended", after_attention=True)(current)
        out = parts.linear(self.dim, "projection", use_bias=True)(attended, train=train)
        out, rates["projection"] = parts.lif("projection")(out)
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
        y, rates["hidden"] = parts.lif("hidden")(parts.linear(self.hidden, "up", use_bias=True)(x, train=train))
        y, rates["out"] = parts.lif("out")(parts.linear(self.dim, "down", use_bias=True)(y, train=train))
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
        return dataclasses.replace(super().parts, small_linear=self.qkv_bias)
