"""Spike-driven Transformer (SDT): attention by masks and sums of spikes, with no map of tokens by tokens."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange

from stata_jax.models.block import Attended, BlockConfig
from stata_jax.models.initial import torch_bias, torch_uniform
from stata_jax.models.layers import LayerConfig, fire_each
from stata_jax.models.spikingformer import MLP
from stata_jax.models.stem import PatchEmbedding
from stata_jax.models.transformer import SpikingTransformer


class Stem(PatchEmbedding):
    """Patch embedding: three times conv BN LIF [max-pool]; conv BN [max-pool], which is f; f + BN(conv LIF(f))."""

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Maps images (1 or T, B, H, W, C) to currents (T, B, H', W', D)."""
        x = images
        for i in range(3):
            x = self.pool(self.fire(x, i, str(i), train=train), i)
        x = self.pool(self.convolve(x, 3, train=train), 3, spikes=False)
        return x + self.convolve(self.config.lif("3")(x), 4, train=train)


def on_full_grid(tokens: jax.Array, positions: jax.Array | None, *, patches: int) -> jax.Array:
    """Puts the tokens that are left back where they were, with zeros where others were removed.

    Args:
      tokens: Shape (T, B, N, D).
      positions: Patch index of each token, shape (T, B, N), or None if all are there in order.
      patches: Number of patches of the image.

    Returns:
      Shape (T, B, patches, D).
    """
    if positions is None:
        return tokens
    T, B, _, D = tokens.shape
    t, b = jnp.arange(T)[:, None, None], jnp.arange(B)[None, :, None]
    return jnp.zeros((T, B, patches, D), tokens.dtype).at[t, b, positions].set(tokens)


class Attention(nn.Module):
    """Spike-driven self-attention: x' = LIF(x); q, k, v = LIF(BN(W x')); x + BN(W (q m)), m = LIF(sum_N k v).

    With `dvs_mode`, 3x3 maxima of stride 1 are taken of k and v over the grid of patches, and of k v and q m over
    tokens by channels of a head, as the published event model does. Removed tokens count as zeros there, and the
    anchor, which has no place on the grid, is left as it is.
    """

    config: LayerConfig
    block: BlockConfig

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, positions: jax.Array | None) -> Attended:
        """Maps tokens (T, B, N, D) to tokens, and to the spikes q and k of the attention."""
        config, block = self.config, self.block
        layers = [config.linear(block.dim, name, use_bias=block.qkv_bias) for name in "qkv"]
        q, k, v = fire_each(layers, [config.lif(name) for name in "qkv"], config.lif("in")(x), train=train)
        if block.dvs_mode:
            k, v = (self._filter(spikes, positions, by_head=False) for spikes in (k, v))
        kv = config.ops.multiply(k, v)
        if block.dvs_mode:
            kv = self._filter(kv, positions, by_head=True)
        kv_sum = jnp.sum(kv.astype(jnp.float32), axis=2, keepdims=True)  # bfloat16 counts to 256 only
        kv_sum = kv_sum * block.gain(x.shape[2], positions)
        kv_mask = config.lif("kv", after_attention=True)(kv_sum)
        masked = config.ops.multiply(q, kv_mask.astype(q.dtype))
        if block.dvs_mode:
            masked = self._filter(masked, positions, by_head=True)
        out = config.linear(block.dim, "projection", use_bias=True)(masked, train=train)
        self.sow("intermediates", "spikes", {"q": q, "k": k, "v": v, "kv_sum": kv_sum, "kv_mask": kv_mask})
        return x + out, q, k

    def _filter(self, tokens: jax.Array, positions: jax.Array | None, *, by_head: bool) -> jax.Array:
        """Local maxima of tokens (T, B, N, D), either over the grid or over tokens by channels of a head."""
        height, width = self.block.grid
        patches = height * width
        anchors = tokens.shape[2] - (patches if positions is None else positions.shape[2])
        anchor, tokens = tokens[:, :, :anchors], tokens[:, :, anchors:]
        full = on_full_grid(tokens, positions, patches=patches)
        T, B, _, _ = full.shape
        if by_head:
            planes = self.config.ops.max_filter(rearrange(full, "t b n (h d) -> (t b h) n d 1", h=self.block.heads))
            full = rearrange(planes, "(t b h) n d 1 -> t b n (h d)", t=T, b=B)
        else:
            planes = self.config.ops.max_filter(rearrange(full, "t b (i j) d -> (t b) i j d", i=height))
            full = rearrange(planes, "(t b) i j d -> t b (i j) d", t=T)
        if positions is not None:
            full = jnp.take_along_axis(full, positions[..., None], axis=2)
        return jnp.concatenate([anchor, full], axis=2)


class SpikeDrivenTransformer(SpikingTransformer):
    """Spike-driven Transformer (Yao et al., 2023): blocks of masks and sums, and spikes before the head."""

    stem_class, attention_class, mlp_class = Stem, Attention, MLP  # the MLP is Spikingformer's
    has_dvs_mode = True

    def readout(self, features: jax.Array) -> jax.Array:
        """Spikes of the mean token, then a linear layer at each timestep."""
        spikes = self.layers.lif("head")(features)
        self.sow("intermediates", "head_input", spikes)
        head = nn.Dense(self.num_classes, kernel_init=torch_uniform, bias_init=torch_bias(self.dim), name="head")
        return head(spikes)

    @property
    def layers(self) -> LayerConfig:
        """What all layers share; all matmuls start from small weights in this family."""
        return dataclasses.replace(super().layers, small_conv=True, small_linear=True)
