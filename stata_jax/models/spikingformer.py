"""Spikingformer: neurons come before the products, and the residuals add membrane currents."""

import functools

import flax.linen as nn
import jax

from stata_jax.kernels.residuals import keeping_bytes
from stata_jax.models.layers import Parts, Seen
from stata_jax.models.stem import PatchEmbedding
from stata_jax.models.transformer import SpikingTransformer
from stata_jax.ops.attention import spiking_attention


class Stem(PatchEmbedding):
    """Patch embedding: conv BN, then four times LIF, [max-pool], conv BN."""

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> tuple[jax.Array, Seen]:
        """Maps images (1 or T, B, H, W, C) to currents (T, B, H', W', D)."""
        rates, x = {}, images
        for i in range(4):
            x, rates[f"lif{i + 1}"] = self.fire(x, i, str(i + 1), train=train)
            x = self.pool(x, i)
        return self.convolve(x, 4, train=train), {"rates": rates}


class Attention(nn.Module):
    """Spiking self-attention: x' = LIF(x); q, k, v = LIF(BN(W x')); x + BN(W LIF(q k^T v s))."""

    parts: Parts
    dim: int
    heads: int
    scale: float
    qkv_bias: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, positions: jax.Array | None) -> tuple[jax.Array, Seen]:
        """Maps tokens (T, B, N, D) to tokens; has seen the spikes q, k, v and those after attention."""
        parts = self.parts
        into, rate = parts.lif("in")(x)
        spikes, rates = parts.linear_and_fire(self.dim, ("q", "k", "v"), into, use_bias=self.qkv_bias, train=train)
        rates["in"] = rate
        attention = functools.partial(spiking_attention, heads=self.heads, scale=self.scale)
        current = keeping_bytes(attention, lean=parts.lean)(spikes["q"], spikes["k"], spikes["v"])
        attended, rates["attended"] = parts.lif("attended", after_attention=True)(current)
        out = parts.linear(self.dim, "projection", use_bias=True)(attended, train=train)
        return x + out, spikes | {"attended": attended, "rates": rates}


class MLP(nn.Module):
    """The feed-forward network: x + BN(W LIF(BN(W LIF(x))))."""

    parts: Parts
    dim: int
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, Seen]:
        """Maps tokens (T, B, N, D) to tokens."""
        parts, rates = self.parts, {}
        y, rates["in"] = parts.lif("in")(x)
        y, rates["hidden"] = parts.linear(self.hidden, "up", use_bias=True).fire(y, parts.lif("hidden"), train=train)
        y = parts.linear(self.dim, "down", use_bias=True)(y, train=train)
        return x + y, {"rates": rates}


class Spikingformer(SpikingTransformer):
    """Spikingformer (Zhou et al., 2023): all products but the first convolution and the head take binary spikes."""

    stem_class, attention_class, mlp_class = Stem, Attention, MLP
