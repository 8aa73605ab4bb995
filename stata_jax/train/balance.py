"""What the alignment losses weigh beside the cross entropy, in the loss and in its gradient."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from stata_jax.train import parallel

_TERMS = ("cross_entropy", "alpha_intra", "beta_inter")
WHOLE = (1.0, 1.0)  # the `balance` of a training step, see `train_step`: the classification, and the alignment
_ALONE = {"classification": (1.0, 0.0), "alignment": (0.0, 1.0)}


def weigh_alignment(step: Callable[..., Any], state: Any, batch: Any, key: jax.Array) -> dict[str, float]:
    """Measures the alignment by two further calls of the compiled training step, whose new states are dropped.

    Args:
      step: The mapped training step, a function of state, batch, key and balance, which takes over its state's memory.
      state: One copy of the state, on the host, so that the devices never hold two.
      batch: A batch on all devices.
      key: The run's JAX random key.

    Returns:
      `cross_entropy`; `alpha_intra` and `beta_inter`, the alignments with their weights; and `gradient_share`, the l2
      norm of the gradient of both together over that of the classification loss, for all parameters.
    """
    seen = {}
    for name, balance in _ALONE.items():
        _, metrics = step(parallel.replicate(state), batch, key, jnp.asarray(balance, jnp.float32))
        seen[name] = {term: float(metrics[term][0]) for term in (*_TERMS, "gradient_norm")}
    norm = seen["classification"]["gradient_norm"]
    share = seen["alignment"]["gradient_norm"] / norm if norm else float("nan")
    return {term: seen["classification"][term] for term in _TERMS} | {"gradient_share": share}


def say_weight(weight: dict[str, float]) -> str:
    """The result of `weigh_alignment` as one line for the terminal."""
    return (
        f"alignment at the first step: intra {weight['alpha_intra']:.3g} and inter {weight['beta_inter']:.3g}, "
        f"weighted, beside a cross entropy of {weight['cross_entropy']:.3g}; its gradient is "
        f"{100 * weight['gradient_share']:.2g} % of the cross entropy's"
    )
