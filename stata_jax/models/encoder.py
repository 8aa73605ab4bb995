"""The encoder loop of every family, which is the paper's Algorithm 1."""

from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from stata_jax.models.aligned import maps_to_align
from stata_jax.models.layers import Seen
from stata_jax.pruning.maps import Aligned, attention_map
from stata_jax.pruning.metrics import token_scores
from stata_jax.pruning.placement import kept_tokens
from stata_jax.pruning.select import gather_tokens, stable_slots, top_tokens
from stata_jax.registries import SLOTS


class Block(Protocol):
    """What the loop needs of a family's block: attention and MLP, each with its residual added."""

    @property
    def attention(self) -> Any:
        """Maps tokens (T, B, N, D) to tokens and to what was seen on the way, `q` and `k` among it.

        It is told the patch index of each token, (T, B, N - anchor), or None as long as they are all there in order.
        """

    @property
    def mlp(self) -> Any:
        """Maps tokens (T, B, N, D) to tokens and to what was seen on the way."""


def encode(
    tokens: jax.Array,
    blocks: Sequence[Block],
    *,
    train: bool,
    key: jax.Array,
    anchor: bool,
    heads: int,
    scale: float,
    keep_rate: float,
    prune_at: Sequence[int],
    metric: str,
    timestep_wise: bool,
    slots: str,
    align: Aligned,
    lean: bool,
) -> tuple[jax.Array, Seen]:
    """Runs tokens through the blocks; the blocks of `P_I` drop tokens between attention and MLP.

    Args:
      tokens: Shape (T, B, N, D), with the anchor at index 0 if there is one.
      blocks: The L blocks.
      train: Whether batch statistics are used.
      key: A JAX random key, for the metric `random`.
      anchor: Whether there is an anchor token, which is never dropped.
      heads: h.
      scale: The attention scale s.
      keep_rate: gamma, the share of the patch tokens that a pruning block keeps; 1 prunes nothing.
      prune_at: `P_I`, the blocks that prune.
      metric: What ranks the tokens, see `token_scores`.
      timestep_wise: Whether each timestep keeps its own tokens.
      slots: `sorted` or `stable`, the order of the kept tokens, see `stable_slots`.
      align: Which attention maps the alignment losses need.
      lean: Whether the queries and keys of these maps are kept in bytes for the backward pass.

    Returns:
      The tokens that are left, shape (T, B, N_L, D), and what was seen, by name:
        `blocks`: per block what its attention and MLP have seen, and its output under `out`.
        `maps`: per block the attention map `phi`, shape (T, B, h, N_l, N_l), in the Spike-driven Transformer too, whose
          attention has none: of its own `q` and `k`. Under `jax.jit` a map that nobody reads is not computed.
        `order`: per block the indices that put its tokens into the order of the patches, shape (T, B, N_l); None
          where they are in it already.
        `kept`: per pruning block the indices of the kept tokens among its tokens, shape (T, B, K + anchor).
        `positions`: per pruning block the patch index of each kept token, shape (T, B, K), without the anchor.
        `aligned`: the maps that `align` asks for, see `maps_to_align`.

    Raises:
      ValueError: If `slots` is unknown.

    Source: STATA, Algorithm 1.
    """
    if slots not in SLOTS:
        raise ValueError(f"unknown slots {slots!r}: use one of {', '.join(SLOTS)}")
    patches = tokens.shape[2] - anchor
    positions = jnp.broadcast_to(jnp.arange(patches, dtype=jnp.int32), (*tokens.shape[:2], patches))
    order = None
    seen: Seen = {"blocks": [], "maps": [], "order": [], "kept": {}, "positions": {}}
    seen["aligned"] = {"within": {}, "patches": {}, "students": {}, "teachers": {}}
    spikes: list[tuple[jax.Array, jax.Array]] = []
    for l, block in enumerate(blocks):
        with jax.named_scope(f"block{l}"):  # profiles and the report of products show these names
            tokens, attention = block.attention(tokens, train=train, positions=positions if seen["kept"] else None)
        q, k = attention["q"], attention["k"]
        with jax.named_scope(f"block{l}/map"):
            seen["maps"].append(attention_map(q, k, heads=heads, scale=scale))
        seen["order"].append(order)
        spikes.append((q, k))
        with jax.named_scope(f"block{l}/align"):
            tokens = maps_to_align(align, tokens, spikes, seen, anchor=anchor, heads=heads, scale=scale, lean=lean)
        if l in prune_at and keep_rate < 1:
            with jax.named_scope(f"block{l}/scores"):
                scores = token_scores(metric, tokens=tokens[:, :, anchor:], q=q, k=k, key=jax.random.fold_in(key, l))
            keep = kept_tokens(positions.shape[2], keep_rate)
            index = top_tokens(scores, positions, keep=keep, total=patches, timestep_wise=timestep_wise)
            if slots == "stable":
                index = stable_slots(index, gather_tokens(positions, index))
            positions = gather_tokens(positions, index)
            if slots == "stable":
                order = _beside_anchor(jnp.argsort(positions, axis=-1), anchor=anchor)
            index = _beside_anchor(index, anchor=anchor)
            tokens = gather_tokens(tokens, index)
            seen["kept"][l], seen["positions"][l] = index, positions
        with jax.named_scope(f"block{l}"):
            tokens, mlp = block.mlp(tokens, train=train)
        seen["blocks"].append({"attention": attention, "mlp": mlp, "out": tokens})
    return tokens, seen


def _beside_anchor(index: jax.Array, *, anchor: bool) -> jax.Array:
    """Turns indices of patch tokens into indices of all tokens, the anchor's first: (T, B, K) to (T, B, K + anchor)."""
    return jnp.concatenate([jnp.zeros_like(index[..., :1]), index + 1], axis=-1) if anchor else index
