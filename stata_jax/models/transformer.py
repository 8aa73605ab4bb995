"""What the families share around the encoder loop: the stem's place, the anchor, the pool and the head."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange

from stata_jax.models.encoder import Block, encode
from stata_jax.models.layers import Seen, normal_002

POOLS = ("all", "tokens")


class SpikingTransformer(nn.Module):
    """A spiking vision transformer with STATA's token sparsification; a family adds its stem and its blocks.

    Attributes:
      num_classes: Number of classes.
      timesteps: T, how often a static image is shown; recordings bring their own T.
      dim: D, the token width, divisible by 8.
      depth: L, the number of blocks.
      heads: h, a divisor of the width.
      mlp_ratio: Hidden width of the MLP over the token width.
      pooling: Four digits; a 1 halves the image at that stage of the stem.
      attention_scale: s.
      tau: Membrane time constant in timesteps.
      threshold: V_th.
      attention_threshold: V_th of the neuron after attention.
      surrogate_alpha: Steepness of the surrogate gradient.
      anchor: Whether there is an anchor token.
      anchor_init: Standard deviation of the anchor's initial values.
      keep_rate: gamma, in (0, 1].
      prune_at: P_I.
      metric: What ranks the tokens.
      timestep_wise: Whether each timestep keeps its own tokens.
      slots: `sorted` or `stable`.
      pool: `all` averages all tokens that are left before the head, `tokens` all but the anchor.
      dtype: Type of convolutions and products; neurons and statistics are float32.
      axis_name: Name of the device axis over which statistics are taken, or None.
    """

    num_classes: int
    timesteps: int = 4
    dim: int = 384
    depth: int = 4
    heads: int = 12
    mlp_ratio: int = 4
    pooling: str = "0011"
    attention_scale: float = 0.125
    tau: float = 2.0
    threshold: float = 1.0
    attention_threshold: float = 0.5
    surrogate_alpha: float = 4.0
    anchor: bool = False
    anchor_init: float = 2.0
    keep_rate: float = 1.0
    prune_at: Sequence[int] = ()
    metric: str = "anchor"
    timestep_wise: bool = True
    slots: str = "sorted"
    pool: str = "all"
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def make_stem(self) -> nn.Module:
        """The family's patch embedding: images (T or 1, B, H, W, C) to (T, B, H', W', D)."""
        raise NotImplementedError

    def make_block(self, name: str) -> Block:
        """One of the family's blocks."""
        raise NotImplementedError

    def embed_anchor(self, anchor: jax.Array) -> jax.Array:
        """The anchor (T, B, 1, D) as it joins the patch tokens, which in this family are currents."""
        return anchor

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, Seen]:
        """Classifies images.

        Args:
          images: Static images (B, H, W, C), or recordings (T, B, H, W, C); floating.
          train: Whether to normalise by the batch and update the running statistics.
          key: A JAX random key, needed by the metric `random` alone.

        Returns:
          Logits, shape (B, num_classes), float32, and `aux`, everything that losses, pictures and figures read:
          `embed` (T, B, N, D), what `encode` has seen, and `rates`, the firing rate of each neuron layer by name.

        Raises:
          ValueError: If the images have another rank, are not floating, or do not divide into patches.
        """
        images = self._check(images).astype(self.dtype)
        if self.pool not in POOLS:
            raise ValueError(f"unknown pool {self.pool!r}: use one of {', '.join(POOLS)}")
        embedded, stem = self.make_stem()(images, train=train)
        timesteps, batch = embedded.shape[:2]
        embed = rearrange(embedded, "t b h w d -> t b (h w) d")
        tokens = embed
        if self.anchor:
            vector = self.param("anchor", nn.initializers.normal(self.anchor_init), (self.dim,), jnp.float32)
            anchor = jnp.broadcast_to(vector.astype(self.dtype), (timesteps, batch, 1, self.dim))
            tokens = jnp.concatenate([self.embed_anchor(anchor), tokens], axis=2)
        tokens, seen = encode(
            tokens,
            [self.make_block(f"block{l}") for l in range(self.depth)],
            train=train,
            key=jax.random.key(0) if key is None else key,
            anchor=self.anchor,
            heads=self.heads,
            scale=self.attention_scale,
            keep_rate=self.keep_rate,
            prune_at=tuple(self.prune_at),
            metric=self.metric,
            timestep_wise=self.timestep_wise,
            slots=self.slots,
        )
        pooled = tokens[:, :, 1:] if self.anchor and self.pool == "tokens" else tokens
        logits = self.readout(jnp.mean(pooled.astype(jnp.float32), axis=2))
        rates = {f"stem/{name}": rate for name, rate in stem["rates"].items()}
        for l, block in enumerate(seen["blocks"]):
            for part in ("attention", "mlp"):
                rates |= {f"block{l}/{part}/{name}": rate for name, rate in block[part]["rates"].items()}
        return logits, {"embed": embed, "rates": rates} | seen

    def readout(self, features: jax.Array) -> jax.Array:
        """Mean over time, then a linear layer: (T, B, D) to logits (B, num_classes)."""
        head = nn.Dense(self.num_classes, kernel_init=normal_002, name="head")
        return head(jnp.mean(features, axis=0))

    def _check(self, images: jax.Array) -> jax.Array:
        patch = 2 ** self.pooling.count("1")
        if images.ndim not in (4, 5):
            raise ValueError(f"images must have shape (B, H, W, C) or (T, B, H, W, C), got {images.shape}")
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise ValueError(f"images must be floating, got {images.dtype}: divide them by 255 first")
        height, width = images.shape[-3:-1]
        if height % patch or width % patch:
            raise ValueError(f"images of {height}x{width} do not divide into the stem's patches of {patch}x{patch}")
        return images if images.ndim == 5 else images[None]
