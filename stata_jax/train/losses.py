"""The training objective (Eq. 12): cross entropy plus the two alignment losses."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from stata_jax.pruning.align import inter_alignment, intra_alignment
from stata_jax.registries import LOSSES


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
    alpha: float,
    beta: float,
    distance: str,
    balance: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Total loss and its terms: `L = L_CE + alpha L_intra + beta L_inter`, where `L_CE` may be `tet_loss`.

    A weight of 0 turns its term off: the term is reported as 0 and nothing is computed for it.

    Args:
      logits: Shape (B, K) for K classes.
      aux: What the model has seen: `step_logits`, and the maps that are `aligned`, see `maps_to_align`.
      targets: Target distribution over the classes, shape (B, K).
      classification: What stands for `L_CE`: `cross_entropy`, or `tet`.
      tet_means: See `tet_loss`.
      tet_lambda: Likewise.
      alpha: Weight of the intra-alignment.
      beta: Weight of the inter-alignment.
      distance: `norm` or `mse`.
      balance: Factors of `L_CE` and of both alignments together, shape (2,), by which a compiled step can tell what
        each contributes; None: 1 and 1.

    Returns:
      The loss, a float32 scalar, and the terms `cross_entropy`, `intra`, `inter` and, where it is used, `tet`, all
      without their weights, and `alpha_intra` and `beta_inter`, the alignments with theirs.

    Raises:
      ValueError: If `classification` is unknown.

    Source: STATA, Eqs. 10-12.
    """
    if classification not in LOSSES:
        raise ValueError(f"unknown loss {classification!r}: use one of {', '.join(LOSSES)}")
    cross_entropy = jnp.mean(optax.softmax_cross_entropy(logits, targets))
    terms = {"cross_entropy": cross_entropy}
    if classification == "tet":
        terms["tet"] = tet_loss(aux["step_logits"], targets, means=tet_means, lamb=tet_lambda)
    terms |= dict.fromkeys(("intra", "inter", "alpha_intra", "beta_inter"), jnp.zeros((), jnp.float32))
    total = terms[classification] if balance is None else balance[0] * terms[classification]
    if alpha:
        terms["intra"] = intra_alignment(aux["aligned"]["within"], kind=distance, patches=aux["aligned"]["patches"])
        terms["alpha_intra"] = alpha * terms["intra"]
        total += terms["alpha_intra"] if balance is None else balance[1] * terms["alpha_intra"]
    if beta:
        terms["inter"] = inter_alignment(aux["aligned"]["students"], aux["aligned"]["teachers"], kind=distance)
        terms["beta_inter"] = beta * terms["inter"]
        total += terms["beta_inter"] if balance is None else balance[1] * terms["beta_inter"]
    return total, terms
