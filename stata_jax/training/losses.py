"""The training objective (Eq. 12): cross entropy plus the two alignment losses."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from stata_jax.models.encoder import surviving_tokens
from stata_jax.sparsity.alignment import inter_alignment, intra_alignment, reorder_map


def stata_loss(
    logits: jax.Array,
    aux: dict[str, Any],
    targets: jax.Array,
    *,
    heads: int,
    scale: float,
    alpha: float,
    beta: float,
    intra_at: Sequence[int],
    inter_at: Sequence[int],
    intra_time: bool,
    intra_heads: bool,
    match: str,
    distance: str,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Total loss and its terms: `L = L_CE + alpha L_intra + beta L_inter`.

    A weight of 0 turns its term off: the term is reported as 0 and nothing is computed for it.

    Args:
      logits: Shape (B, K) for K classes.
      aux: What the model has seen: `q` and `k` of its `blocks`, their `maps`, the `order` and the `kept` tokens.
      targets: Target distribution over the classes, shape (B, K).
      heads: h.
      scale: The attention scale s.
      alpha: Weight of the intra-alignment.
      beta: Weight of the inter-alignment.
      intra_at: `P_a`, blocks for intra-alignment.
      inter_at: `P_r`, blocks for inter-alignment.
      intra_time: Whether timesteps are aligned.
      intra_heads: Whether heads are aligned.
      match: How maps of two sizes are compared.
      distance: `mse` or `norm`.

    Returns:
      The loss, a float32 scalar, and the terms `cross_entropy`, `intra` and `inter` without their weights.

    Source: STATA, Eqs. 10-12.
    """
    cross_entropy = jnp.mean(optax.softmax_cross_entropy(logits, targets))
    intra = inter = jnp.zeros((), jnp.float32)
    maps = aux["maps"]
    if alpha and intra_at:
        spikes = [aux["blocks"][l]["attention"] for l in intra_at]
        settings: dict[str, Any] = {"over_time": intra_time, "over_heads": intra_heads, "kind": distance}
        layers = [intra_alignment(at["q"], at["k"], heads=heads, scale=scale, **settings) for at in spikes]
        intra = sum(layers, intra) / len(layers)
    if beta:
        surviving = {(i, j): surviving_tokens(aux["kept"], i, j) for i in inter_at for j in inter_at if i < j}
        by_layer = {l: maps[l] for l in inter_at}
        if match == "interpolate":
            orders = {l: aux["order"][l] for l in inter_at}
            by_layer = {l: phi if orders[l] is None else reorder_map(phi, orders[l]) for l, phi in by_layer.items()}
        inter = inter_alignment(by_layer, surviving, at=inter_at, match=match, kind=distance)
    total = cross_entropy + alpha * intra + beta * inter
    return total, {"cross_entropy": cross_entropy, "intra": intra, "inter": inter}
