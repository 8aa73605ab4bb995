"""What the families share around the encoder loop: the stem's place, the anchor, the pool and the head."""

from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange

from stata_jax.models.block import Block, BlockConfig
from stata_jax.models.encoder import Aux, encode
from stata_jax.models.initial import normal_002
from stata_jax.models.layers import LayerConfig
from stata_jax.ops.operations import PLAIN, Operations
from stata_jax.pruning.maps import Aligned
from stata_jax.pruning.select import Sparsity
from stata_jax.registries import INTRA_TOKENS, MATCHES, NEURONS, POOLS


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
      qkv_bias: Whether q, k and v have biases before their normalisation.
      dvs_mode: Whether k, v and what follows from them are max-pooled; Spike-driven Transformer only.
      neuron: `lif`, or `plif` with a learned time constant per layer.
      tau: Membrane time constant in timesteps; its initial value for `plif`.
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
      rescale: Whether attention behind a pruning makes up for the tokens that its sum lacks, see `BlockConfig.gain`.
      pool: `all` averages all tokens that are left before the head, `tokens` all but the anchor.
      dtype: Type of convolutions and matmuls; neurons and statistics are float32.
      axis_name: Name of the device axis over which statistics are taken, or None.
      align: Which attention maps the alignment losses need.
      ops: The operations: the plain ones, or faster ones with the same results.
    """

    num_classes: int
    timesteps: int = 4
    dim: int = 384
    depth: int = 4
    heads: int = 12
    mlp_ratio: int = 4
    pooling: str = "0011"
    attention_scale: float = 0.125
    qkv_bias: bool = False
    dvs_mode: bool = False
    neuron: str = "lif"
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
    rescale: bool = False
    pool: str = "all"
    align: Aligned = Aligned()
    dtype: Any = jnp.float32
    axis_name: str | None = None
    ops: Operations = PLAIN

    # What a family is made of.
    stem_class: ClassVar[Any]
    attention_class: ClassVar[Any]
    mlp_class: ClassVar[Any]
    has_dvs_mode: ClassVar[bool] = False

    def embed_anchor(self, anchor: jax.Array) -> jax.Array:
        """The anchor (T, B, 1, D) as it joins the patch tokens: a current, unless a family says otherwise."""
        return anchor

    def readout(self, features: jax.Array) -> jax.Array:
        """From the mean token (T, B, D) to logits of each timestep (T, B, num_classes)."""
        self.sow("intermediates", "head_input", features)
        return nn.Dense(self.num_classes, kernel_init=normal_002, name="head")(features)

    @property
    def layers(self) -> LayerConfig:
        """What all layers of this network share."""
        return LayerConfig(
            tau=self.tau,
            threshold=self.threshold,
            attention_threshold=self.attention_threshold,
            alpha=self.surrogate_alpha,
            learn_tau=self.neuron == "plif",
            dtype=self.dtype,
            axis_name=self.axis_name,
            ops=self.ops,
        )

    @nn.nowrap
    def block(self, grid: tuple[int, int]) -> BlockConfig:
        """What all blocks share, over patches that lay on `grid`."""
        return BlockConfig(
            dim=self.dim,
            hidden=self.mlp_ratio * self.dim,
            heads=self.heads,
            scale=self.attention_scale,
            qkv_bias=self.qkv_bias,
            grid=grid,
            dvs_mode=self.dvs_mode,
            rescale=self.rescale,
        )

    @property
    def sparsity(self) -> Sparsity:
        """Which tokens the blocks drop."""
        return Sparsity(
            anchor=self.anchor,
            keep_rate=self.keep_rate,
            prune_at=tuple(self.prune_at),
            metric=self.metric,
            timestep_wise=self.timestep_wise,
            slots=self.slots,
        )

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, Aux]:
        """Classifies images.

        Args:
          images: Static images (B, H, W, C), or recordings (T, B, H, W, C); floating.
          train: Whether to normalise by the batch and update the running statistics.
          key: A JAX random key, needed by the metric `random` alone.

        Returns:
          Logits, shape (B, num_classes), float32, and `aux`, what losses and pictures read: `embed` (T, B, N, D), what
          `encode` returns, and `step_logits` (T, B, num_classes), whose mean over time the logits are. The collection
          `intermediates` has the firing rate of each neuron layer (see `firing_rates`), the input of each layer with
          weights, and the operands of attention.

        Raises:
          ValueError: If the images have another rank, are not floating, or do not divide into patches, or if a setting
            is impossible.
        """
        images = self._checked(images).astype(self.dtype)
        embedded = self.stem_class(self.layers, self.dim, self.timesteps, self.pooling, name="stem")(
            images, train=train
        )
        timesteps, batch, rows, columns = embedded.shape[:4]
        embed = rearrange(embedded, "t b h w d -> t b (h w) d")
        tokens = embed
        if self.anchor:
            vector = self.param("anchor", nn.initializers.normal(self.anchor_init), (self.dim,), jnp.float32)
            anchor = jnp.broadcast_to(vector.astype(self.dtype), (timesteps, batch, 1, self.dim))
            tokens = jnp.concatenate([self.embed_anchor(anchor), tokens], axis=2)
        parts = self.attention_class, self.mlp_class, self.layers, self.block((rows, columns))
        tokens, aux = encode(
            tokens,
            [Block(*parts, name=f"block{l}") for l in range(self.depth)],
            train=train,
            key=jax.random.key(0) if key is None else key,
            heads=self.heads,
            scale=self.attention_scale,
            sparsity=self.sparsity,
            align=self.align,
            ops=self.ops,
        )
        pooled = tokens[:, :, 1:] if self.anchor and self.pool == "tokens" else tokens
        step_logits = self.readout(jnp.mean(pooled.astype(jnp.float32), axis=2))
        return jnp.mean(step_logits, axis=0), {"embed": embed, "step_logits": step_logits} | aux

    def _checked(self, images: jax.Array) -> jax.Array:
        choices = {"pool": (self.pool, POOLS), "neuron": (self.neuron, NEURONS), "match": (self.align.match, MATCHES)}
        choices["intra_tokens"] = (self.align.intra_tokens, INTRA_TOKENS)
        for name, (value, known) in choices.items():
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}: use one of {', '.join(known)}")
        if self.num_classes < 1 or self.timesteps < 1 or self.depth < 1:
            sizes = (self.num_classes, self.timesteps, self.depth)
            raise ValueError(f"num_classes, timesteps and depth must be at least 1, got {sizes}")
        if self.dim < 1 or self.heads < 1 or self.dim % 8 or self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of 8 and of heads, got {self.dim} and {self.heads}")
        if len(self.pooling) != 4 or set(self.pooling) - {"0", "1"}:
            raise ValueError(f"pooling must be four digits that are 0 or 1, such as 0011, got {self.pooling!r}")
        if self.dvs_mode and not self.has_dvs_mode:
            raise ValueError(f"{type(self).__name__} has no dvs_mode: the Spike-driven Transformer has")
        at = {"prune_at": self.prune_at, "align.intra_at": self.align.intra_at, "align.inter_at": self.align.inter_at}
        for name, blocks in at.items():
            if any(not 0 <= l < self.depth for l in blocks):
                raise ValueError(f"{name} must name blocks from 0 to {self.depth - 1}, got {tuple(blocks)}")
        patch = 2 ** self.pooling.count("1")
        if images.ndim not in (4, 5):
            raise ValueError(f"images must have shape (B, H, W, C) or (T, B, H, W, C), got {images.shape}")
        if not jnp.issubdtype(images.dtype, jnp.floating):
            raise ValueError(f"images must be floating, got {images.dtype}: divide them by 255 first")
        height, width = images.shape[-3:-1]
        if height % patch or width % patch:
            raise ValueError(f"images of {height}x{width} do not divide into the stem's patches of {patch}x{patch}")
        return images if images.ndim == 5 else images[None]
