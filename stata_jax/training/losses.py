"""The training objective (Eq. 12): cross entropy plus the two alignment losses."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from stata_jax.models.encoder import surviving_tokens
from stata_jax.sparsity.alignment import inter_alignment, intra_alignment
from stata_jax.sparsity.select import gather_tokens
from stata_jax.spiking.bytes import keeping_bytes

CLASSIFICATION = ("cross_entropy", "tet")


def tet_loss(step_logits: jax.Array, targets: jax.Array, *, means: float, lamb: float) -> jax.Array:
    """Temporal efficient training: every timestep classifies by itself.

        L_TET = (1 - lambda) mean_t CE(z[t], y) + lambda mean((z - means)^2)

    Args:
      step_logits: `z`, shape (T, B, K) for K classes.
      targets: Target distribution over the classes, shape (B, K).
      means: What the second term draws all logits to.
      lamb: Weight of the second term, lambda, from 0 to 1.

    Returns:
      The loss, a float32 scalar.

    Source: Deng et al., "Temporal Efficient Training of Spiking Neural Network via Gradient Re-weighting", ICLR 2022.
    """
    each = jnp.mean(optax.softmax_cross_entropy(step_logits, jnp.broadcast_to(targets, step_logits.shape)))
    return (1 - lamb) * each + lamb * jnp.mean(jnp.square(step_logits - means))


def stata_loss(
    logits: jax.Array,
    aux: dict[str, Any],
    targets: jax.Array,
    *,
    classification: str,
    tet_means: float,
    tet_lambda: float,
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
    lean: bool = False,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Total loss and its terms: `L = L_CE + alpha L_intra + beta L_inter`, where `L_CE` may be `tet_loss`.

    A weight of 0 turns its term off: the term is reported as 0 and nothing is computed for it.

    Args:
      logits: Shape (B, K) for K classes.
      aux: What the model has seen: `step_logits`, `q` and `k` of its `blocks`, the `order` and the `kept` tokens.
      targets: Target distribution over the classes, shape (B, K).
      classification: What stands for `L_CE`: `cross_entropy`, or `tet`.
      tet_means: See `tet_loss`.
      tet_lambda: Likewise.
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
      lean: Whether `q` and `k` are kept in bytes for the gradients of their maps.

    Returns:
      The loss, a float32 scalar, and the terms `cross_entropy`, `intra`, `inter` and, where it is used, `tet`, all
      without their weights.

    Raises:
      ValueError: If `classification` is unknown.

    Source: STATA, Eqs. 10-12.
    """
    if classification not in CLASSIFICATION:
        raise ValueError(f"unknown loss {classification!r}: use one of {', '.join(CLASSIFICATION)}")
    cross_entropy = jnp.mean(optax.softmax_cross_entropy(logits, targets))
    terms = {"cross_entropy": cross_entropy}
    if classification == "tet":
        terms["tet"] = tet_loss(aux["step_logits"], targets, means=tet_means, lamb=tet_lambda)
    intra = inter = jnp.zeros((), jnp.float32)
    if alpha and intra_at:
        settings: dict[str, Any] = {"over_time": intra_time, "over_heads": intra_heads, "kind": distance}
        of_layer = keeping_bytes(functools.partial(intra_alignment, heads=heads, scale=scale, **settings), lean=lean)
        intra = sum((of_layer(*_spikes(aux, l)) for l in intra_at), intra) / len(intra_at)
    if beta:
        surviving = {(i, j): surviving_tokens(aux["kept"], i, j) for i in inter_at for j in inter_at if i < j}
        spikes = {l: _spikes(aux, l) for l in inter_at}
        if match == "interpolate":  # takes neighbours in a map for neighbours in the image
            for l in inter_at:
                if (order := aux["order"][l]) is not None:
                    spikes[l] = tuple(gather_tokens(x, order) for x in spikes[l])
        inter = inter_alignment(
            spikes, surviving, heads=heads, scale=scale, at=inter_at, match=match, kind=distance, lean=lean
        )
    total = terms[classification] + alpha * intra + beta * inter
    return total, terms | {"intra": intra, "inter": inter}


def _spikes(aux: dict[str, Any], block: int) -> tuple[jax.Array, ...]:
    """Queries and keys of a block."""
    seen = aux["blocks"][block]["attention"]
    return seen["q"], seen["k"]
