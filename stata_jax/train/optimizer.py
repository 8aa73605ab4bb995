"""Learning rates, by step or by epoch, and the optimisers: AdamW and LAMB."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import optax

from stata_jax.errors import ConfigError


def warmup_cosine(*, peak: float, start: float, end: float, warmup_steps: int, total_steps: int) -> optax.Schedule:
    """Learning rate by step: linear from `start` to `peak`, then a half cosine to `end`.

    Args:
      peak: Highest rate.
      start: Rate at step 0, if there is a warm-up.
      end: Rate that the cosine reaches after `total_steps`, and that all later steps have.
      warmup_steps: Steps of the linear part, fewer than `total_steps`.
      total_steps: Steps of both parts.

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


def epoch_cosine(
    *, peak: float, start: float, end: float, warmup_epochs: float, cosine_epochs: int, steps_per_epoch: int
) -> optax.Schedule:
    """Learning rate by step that is constant within an epoch.

    For epochs e, counted from 0:

        e < W:       start + (peak - start) e / W
        W <= e < T:  end + (peak - end) (1 + cos(pi e / T)) / 2
        T <= e:      end

    The cosine runs from epoch 0, behind the warm-up as it were, so that its first rate is below the peak. The published
    recipes were trained with these rates (timm's cosine schedule).

    Args:
      peak: Rate that the warm-up leads to.
      start: Rate of epoch 0, if there is a warm-up.
      end: Rate that the cosine reaches, and that all later epochs have.
      warmup_epochs: W, below T.
      cosine_epochs: T, epochs with the warm-up and without the cool-down.
      steps_per_epoch: Steps in an epoch.

    Returns:
      A function from step to learning rate.
    """

    def rate(step: Any) -> Any:
        epoch = (jnp.asarray(step, jnp.int32) // steps_per_epoch).astype(jnp.float32)
        turn = jnp.minimum(epoch / cosine_epochs, 1.0)
        cosine = end + (peak - end) * (1 + jnp.cos(jnp.pi * turn)) / 2
        return jnp.where(epoch < warmup_epochs, start + (peak - start) * epoch / max(warmup_epochs, 1e-9), cosine)

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
    return _clipped(optax.adamw(schedule, weight_decay=weight_decay, mask=decayed), grad_clip)


def lamb(schedule: optax.Schedule, *, weight_decay: float, grad_clip: float) -> optax.GradientTransformation:
    """LAMB: Adam's direction, by parameter as long as the parameter itself, times the learning rate.

        u = m / (sqrt(v) + 1e-6)                      m, v: Adam's moments, bias corrected
        p <- p - rate |p| / |u + d p| (u + d p)       where p decays, d the weight decay
        p <- p - rate u                               elsewhere

    The ratio is 1 where either norm is 0. It is the LAMB of timm, with which the Spike-driven Transformer was trained:
    nothing is scaled where nothing decays, hence no bias, norm or anchor, and nothing at all if `weight_decay` is 0;
    timm clips the global norm at 1 unless it is told otherwise, which is `grad_clip=1` here.

    Args:
      schedule: Learning rate by step.
      weight_decay: Decay d of matrices and kernels.
      grad_clip: Largest global norm of the gradient; 0 for none.

    Returns:
      The optimiser.

    Source: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", ICLR 2020.
    """
    steps = [optax.scale_by_adam(eps=1e-6)]
    if weight_decay:
        scaled = optax.chain(optax.add_decayed_weights(weight_decay), optax.scale_by_trust_ratio())
        steps.append(optax.masked(scaled, decayed))
    return _clipped(optax.chain(*steps, optax.scale_by_learning_rate(schedule)), grad_clip)


def _clipped(optimizer: optax.GradientTransformation, grad_clip: float) -> optax.GradientTransformation:
    """The optimiser behind a bound on the gradient's global norm, if `grad_clip` is above 0; its state is the same."""
    clip = optax.clip_by_global_norm(grad_clip) if grad_clip else None

    def update(gradient: Any, state: Any, params: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
            if clip is not None:
                gradient, _ = clip.update(gradient, clip.init(params))
            return optimizer.update(gradient, state, params)

    return optax.GradientTransformation(optimizer.init, update)


def freeze(optimizer: optax.GradientTransformation, pattern: str) -> optax.GradientTransformation:
    """The optimiser without updates of some parameters; its state is the same.

    Args:
      optimizer: Any.
      pattern: A regular expression that is found in the paths of these parameters, such as `block0/attention/q/`.

    Returns:
      The optimiser. Its `init` raises ConfigError where the expression is found in no path.
    """

    def is_frozen(path: Any) -> bool:
        return re.search(pattern, jax.tree_util.keystr(path, simple=True, separator="/")) is not None

    def init(params: Any) -> Any:
        paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        if not any(map(is_frozen, paths)):
            names = sorted({jax.tree_util.keystr(path[:2], simple=True, separator="/") for path in paths})
            raise ConfigError(f"train.frozen is {pattern!r}, which no parameter has: there are {', '.join(names)}")
        return optimizer.init(params)

    def update(gradient: Any, state: Any, params: Any) -> Any:
        updates, state = optimizer.update(gradient, state, params)
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: jnp.zeros_like(leaf) if is_frozen(path) else leaf, updates
        ), state

    return optax.GradientTransformation(init, update)
