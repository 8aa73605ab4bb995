"""AdamW with warm-up and cosine decay by step."""

from typing import Any

import jax
import optax


def warmup_cosine(*, peak: float, start: float, end: float, warmup_steps: int, total_steps: int) -> optax.Schedule:
    """Learning rate by step: linear from `start` to `peak`, then a half cosine to `end`.

    Args:
      peak: Highest rate.
      start: Rate at step 0, if there is a warm-up.
      end: Rate that the cosine reaches after the last step.
      warmup_steps: Steps of the linear part, fewer than `total_steps`.
      total_steps: Steps of the whole run.

    Returns:
      A function from step to learning rate.
    """
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=start if warmup_steps else peak,
        peak_value=peak,
        warmup_steps=warmup_steps,
        decay_steps=total_steps,
        end_value=end,
    )

    def rate(step: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):  # optax mixes whole numbers and floats
            return schedule(step)

    return rate


def decayed(params: Any) -> Any:
    """Which parameters decay: matrices and kernels; biases, norms and the anchor, which are vectors, do not."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def adamw(schedule: optax.Schedule, *, weight_decay: float, grad_clip: float) -> optax.GradientTransformation:
    """AdamW, after clipping the gradient's global norm if `grad_clip` is above 0.

    Args:
      schedule: Learning rate by step.
      weight_decay: Decoupled decay of matrices and kernels.
      grad_clip: Largest global norm of the gradient; 0 for none.

    Returns:
      The optimiser.
    """
    optimizer = optax.adamw(schedule, weight_decay=weight_decay, mask=decayed)
    if grad_clip:
        optimizer = optax.chain(optax.clip_by_global_norm(grad_clip), optimizer)

    def update(gradient: Any, state: Any, params: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
            return optimizer.update(gradient, state, params)

    return optax.GradientTransformation(optimizer.init, update)
