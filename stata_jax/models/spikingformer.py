"""Spikingformer: neurons come before the products, and the residuals add membrane currents."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from stata_jax.models.attention import spiking_attention
from stata_jax.models.layers import LIF, ConvNorm, LinearNorm, Seen, fold_time
from stata_jax.models.pooling import max_pool
from stata_jax.models.transformer import SpikingTransformer


class Stem(nn.Module):
    """Patch embedding: conv BN, then four times LIF, [max-pool], conv BN.

    Widths of the five convolutions are D/8, D/4, D/2, D and D. A static image comes once; its first convolution is
    computed once, and its current then repeated over the timesteps.
    """

    dim: int
    timesteps: int
    pooling: str
    neuron: Mapping[str, Any]
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> tuple[jax.Array, Seen]:
        """Maps images (1 or T, B, H, W, C) to currents (T, B, H', W', D)."""
        repeats = self.timesteps if images.shape[0] == 1 else 1
        settings: dict[str, Any] = {"dtype": self.dtype, "axis_name": self.axis_name}
        x = ConvNorm(self.dim // 8, repeats=repeats, name="conv0", **settings)(images, train=train)
        x = jnp.broadcast_to(x, (repeats * x.shape[0], *x.shape[1:]))
        rates = {}
        for i, width in enumerate((self.dim // 4, self.dim // 2, self.dim, self.dim), start=1):
            x, rates[f"lif{i}"] = LIF(**self.neuron)(x)
            if self.pooling[i - 1] == "1":
                x = fold_time(max_pool, x)
            x = ConvNorm(width, name=f"conv{i}", **settings)(x, train=train)
        return x, {"rates": rates}


class Attention(nn.Module):
    """Spiking self-attention: x' = LIF(x); q, k, v = LIF(BN(W x')); x + BN(W LIF(q k^T v s))."""

    dim: int
    heads: int
    scale: float
    neuron: Mapping[str, Any]
    threshold: float
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, Seen]:
        """Maps tokens (T, B, N, D) to tokens; has seen the spikes q, k, v and those after attention."""
        settings: dict[str, Any] = {"dtype": self.dtype, "axis_name": self.axis_name}
        rates, spikes = {}, {}
        into, rates["in"] = LIF(**self.neuron)(x)
        for name in ("q", "k", "v"):
            current = LinearNorm(self.dim, name=name, **settings)(into, train=train)
            spikes[name], rates[name] = LIF(**self.neuron)(current)
        current = spiking_attention(spikes["q"], spikes["k"], spikes["v"], heads=self.heads, scale=self.scale)
        attended, rates["attended"] = LIF(**dict(self.neuron, threshold=self.threshold))(current)
        out = LinearNorm(self.dim, use_bias=True, name="projection", **settings)(attended, train=train)
        return x + out, spikes | {"attended": attended, "rates": rates}


class MLP(nn.Module):
    """The feed-forward network: x + BN(W LIF(BN(W LIF(x))))."""

    dim: int
    hidden: int
    neuron: Mapping[str, Any]
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, Seen]:
        """Maps tokens (T, B, N, D) to tokens."""
        settings: dict[str, Any] = {"use_bias": True, "dtype": self.dtype, "axis_name": self.axis_name}
        rates = {}
        y, rates["in"] = LIF(**self.neuron)(x)
        y = LinearNorm(self.hidden, name="up", **settings)(y, train=train)
        y, rates["hidden"] = LIF(**self.neuron)(y)
        y = LinearNorm(self.dim, name="down", **settings)(y, train=train)
        return x + y, {"rates": rates}


class Block(nn.Module):
    """One block: attention, then the MLP; the encoder loop may drop tokens between the two."""

    dim: int
    heads: int
    hidden: int
    scale: float
    neuron: Mapping[str, Any]
    attention_threshold: float
    dtype: Any
    axis_name: str | None

    def setup(self) -> None:
        """Makes the two parts."""
        settings: dict[str, Any] = {"neuron": self.neuron, "dtype": self.dtype, "axis_name": self.axis_name}
        self.attention = Attention(self.dim, self.heads, self.scale, threshold=self.attention_threshold, **settings)
        self.mlp = MLP(self.dim, self.hidden, **settings)


class Spikingformer(SpikingTransformer):
    """Spikingformer (Zhou et al., 2023): all products but the first convolution and the head take binary spikes."""

    def make_stem(self) -> nn.Module:
        """The patch embedding."""
        return Stem(
            dim=self.dim,
            timesteps=self.timesteps,
            pooling=self.pooling,
            neuron=self.neuron,
            dtype=self.dtype,
            axis_name=self.axis_name,
            name="stem",
        )

    def make_block(self, name: str) -> Block:
        """One block."""
        return Block(
            dim=self.dim,
            heads=self.heads,
            hidden=self.mlp_ratio * self.dim,
            scale=self.attention_scale,
            neuron=self.neuron,
            attention_threshold=self.attention_threshold,
            dtype=self.dtype,
            axis_name=self.axis_name,
            name=name,
        )

    @property
    def neuron(self) -> dict[str, Any]:
        """The constants of a neuron."""
        return {"tau": self.tau, "threshold": self.threshold, "alpha": self.surrogate_alpha}
