"""The encoder loop of every family, which is the paper's Algorithm 1."""

from collections.abc import Sequence
from typing import Any, Protocol

import jax

from stata_jax.models.aligned import maps_to_align, no_maps
from stata_jax.ops.operations import Operations
from stata_jax.pruning.maps import Aligned, attention_map
from stata_jax.pruning.metrics import token_scores
from stata_jax.pruning.select import Sparsity, all_positions, prune

Aux = dict[str, Any]


class Block(Protocol):
    """What the loop needs of a family's block: attention and MLP, each with its residual added."""

    @property
    def attention(self) -> Any:
        """Maps tokens (T, B, N, D) to tokens, and to the queries and keys of its attention.

        It is told the patch index of each token, (T, B, N - anchor), or None as long as they are all there in order.
        """

    @property
    def mlp(self) -> Any:
        """Maps tokens (T, B, N, D) to tokens."""


def encode(
    tokens: jax.Array,
    blocks: Sequence[Block],
    *,
    train: bool,
    key: jax.Array,
    heads: int,
    scale: float,
    sparsity: Sparsity,
    align: Aligned,
    ops: Operations,
) -> tuple[jax.Array, Aux]:
    """Runs tokens through the blocks; the blocks of `P_I` drop tokens between attention and MLP.

    Args:
      tokens: Shape (T, B, N, D), with the anchor at index 0 if there is one.
      blocks: The L blocks.
      train: Whether batch statistics are used.
      key: A JAX random key, for the metric `random`.
      heads: h.
      scale: The attention scale s.
      sparsity: Which tokens are dropped, and where.
      align: Which attention maps the alignment losses need.
      ops: The operations of the network.

    Returns:
      The tokens that are left, shape (T, B, N_L, D), and by name:
        `maps`: per block the attention map `phi`, shape (T, B, h, N_l, N_l), in the Spike-driven Transformer too, whose
          attention has none: of its own `q` and `k`. Under `jax.jit` a map that nobody reads is not computed.
        `order`: per block the indices that put its tokens into the order of the patches, shape (T, B, N_l); None
          where they are in it already.
        `kept`: per pruning block the indices of the kept tokens among its tokens, shape (T, B, K + anchor).
        `positions`: per pruning block the patch index of each kept token, shape (T, B, K), without the anchor.
        `aligned`: the maps that `align` asks for, see `maps_to_align`.
        `out`: per block its tokens.

    Source: STATA, Algorithm 1.
    """
    aux: Aux = {"maps": [], "order": [], "kept": {}, "positions": {}, "aligned": no_maps(), "out": []}
    positions, order = all_positions(tokens, anchor=sparsity.anchor), None
    patches = positions.shape[2]
    spikes: list[tuple[jax.Array, jax.Array]] = []
    for l, block in enumerate(blocks):
        with jax.named_scope(f"block{l}"):  # profiles show these names
            tokens, q, k = block.attention(tokens, train=train, positions=positions if aux["kept"] else None)
            spikes.append((q, k))
            aux["order"].append(order)
            aux["maps"].append(attention_map(q, k, heads=heads, scale=scale))
            tokens = maps_to_align(
                align, tokens, spikes, aux, anchor=sparsity.anchor, heads=heads, scale=scale, ops=ops
            )
            if l in sparsity.prune_at and sparsity.keep_rate < 1:
                ranked = tokens[:, :, sparsity.anchor :]
                scores = token_scores(sparsity.metric, tokens=ranked, q=q, k=k, key=jax.random.fold_in(key, l))
                tokens, positions, order, kept = prune(tokens, scores, positions, sparsity, patches=patches)
                aux["kept"][l], aux["positions"][l] = kept, positions
            tokens = block.mlp(tokens, train=train)
            aux["out"].append(tokens)
    return tokens, aux
