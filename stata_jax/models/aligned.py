"""The attention maps for the alignment losses, made as the blocks are passed (Sections 4.3 and 4.4)."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from stata_jax.ops.operations import Operations
from stata_jax.pruning.maps import Aligned, maps_within, matched_map
from stata_jax.pruning.select import surviving_tokens


def no_maps() -> dict[str, Any]:
    """What `maps_to_align` adds to, before the first block."""
    return {"within": {}, "patches": {}, "students": {}, "teachers": {}}


@jax.named_scope("align")
def maps_to_align(
    align: Aligned,
    tokens: jax.Array,
    spikes: Sequence[tuple[jax.Array, jax.Array]],
    aux: dict[str, Any],
    *,
    anchor: bool,
    heads: int,
    scale: float,
    ops: Operations,
) -> jax.Array:
    """Makes the maps that a block completes, and adds them to `aux`.

    The gradients of queries and keys are larger than those of maps. The tokens pass through here so that they are not
    computed before the backward pass has come to this block.

    Args:
      align: Which maps are aligned.
      tokens: What comes out of the block's attention, shape (T, B, N, D).
      spikes: Queries and keys of the blocks up to this one, both of shape (T, B, N_l, D).
      aux: `order`, `kept` and `positions` of these blocks, and `aligned`, to which are added
        `within`: for a block of `P_a` what `maps_within` returns;
        `patches`: for a block of `P_a` whose timesteps are compared patch by patch, the patch of each of its tokens,
          (T, B, N_l), with -1 for the anchor; none before the first pruning, where slots are patches;
        `students`: for blocks i < j of `P_r`, the map of block i for the tokens of block j, (T, B, h, N_j, N_j);
        `teachers`: the map of block j, (T, B, h, N_j, N_j), through which no gradient passes.
      anchor: Whether there is an anchor token, the first one.
      heads: h.
      scale: The attention scale s.
      ops: The operations of the network.

    Returns:
      The tokens, to go on with.
    """
    l, aligned = len(spikes) - 1, aux["aligned"]
    if l in align.intra_at:
        within = functools.partial(
            maps_within, heads=heads, scale=scale, intra_time=align.intra_time, intra_heads=align.intra_heads
        )
        tokens, aligned["within"][l] = ops.read_beside(within, tokens, spikes[l])
        if aux["positions"] and align.intra_tokens == "patches":
            patches = aux["positions"][max(aux["positions"])]  # what the last pruning has left
            aligned["patches"][l] = jnp.pad(patches, ((0, 0), (0, 0), (int(anchor), 0)), constant_values=-1)
    shallower = [i for i in align.inter_at if i < l and l in align.inter_at]
    if not shallower:
        return tokens
    # Interpolation takes neighbours in a map for neighbours in the image.
    orders = aux["order"] if align.match == "interpolate" else [None] * len(spikes)
    matched = functools.partial(
        matched_map, tokens=spikes[l][0].shape[2], match=align.match, anchor=anchor, heads=heads, scale=scale
    )
    for i in shallower:
        # A map that learns from several blocks with the same tokens is made once.
        same = [j for j in shallower if i < j and not any(j <= pruned for pruned in aux["kept"])]
        if same:
            student = aligned["students"][i, same[0]]
        else:
            index = orders[i] if align.match == "interpolate" else surviving_tokens(aux["kept"], i, l)
            tokens, student = ops.read_beside(matched, tokens, spikes[i], index)
        aligned["students"][i, l] = student
    # Beside the tokens too, so that it is made now, and not from queries and keys that are kept until there is a loss.
    tokens, aligned["teachers"][l] = ops.read_beside(matched, tokens, jax.lax.stop_gradient(spikes[l]), orders[l])
    return tokens
