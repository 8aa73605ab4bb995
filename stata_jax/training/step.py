"""One step of training and of evaluation: pure functions of state and batch."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from stata_jax.data.augment import mixup, smooth_one_hot
from stata_jax.training.state import TrainState

Batch = dict[str, jax.Array]
Objective = Callable[[jax.Array, dict[str, Any], jax.Array], tuple[jax.Array, dict[str, jax.Array]]]


def train_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    objective: Objective,
    num_classes: int,
    label_smoothing: float,
    mixup_alpha: float,
    axis_name: str,
) -> tuple[TrainState, dict[str, Any]]:
    """Updates the parameters on one batch; runs on each device over its share of the batch.

    Args:
      state: The state, the same on all devices.
      batch: This device's `image` (B, H, W, C), floating, and `label` (B,).
      key: The run's JAX random key; the step and the device are folded in here.
      model: The network.
      optimizer: The optimiser.
      objective: From logits, aux and targets to the loss and its terms.
      num_classes: Number of classes.
      label_smoothing: Share of a label's weight spread over all classes.
      mixup_alpha: Strength of mixup; 0 for none.
      axis_name: Name of the device axis.

    Returns:
      The next state, and metrics averaged over the devices: `loss`, its terms, `accuracy` against the heavier label
      of a mixed image, `gradient_norm` and the firing `rates` by layer.
    """
    key = jax.random.fold_in(jax.random.fold_in(key, state.step), jax.lax.axis_index(axis_name))
    mixup_key, model_key = jax.random.split(key)
    targets = smooth_one_hot(batch["label"], num_classes=num_classes, smoothing=label_smoothing)
    images, targets = mixup(mixup_key, batch["image"], targets, alpha=mixup_alpha)

    def loss_of(params: Any) -> tuple[jax.Array, tuple[Any, dict[str, Any]]]:
        variables = {"params": params, "batch_stats": state.batch_stats}
        (logits, aux), updated = model.apply(variables, images, train=True, key=model_key, mutable=["batch_stats"])
        loss, terms = objective(logits, aux, targets)
        hits = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
        metrics = {"loss": loss, **terms, "accuracy": jnp.mean(hits.astype(jnp.float32)), "rates": aux["rates"]}
        return loss, (updated["batch_stats"], metrics)

    gradient, (batch_stats, metrics) = jax.grad(loss_of, has_aux=True)(state.params)
    gradient, metrics = jax.lax.pmean((gradient, metrics), axis_name)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics["gradient_norm"] = optax.tree.norm(gradient)
    return TrainState(state.step + 1, params, batch_stats, opt_state), metrics


def eval_step(
    variables: dict[str, Any], batch: Batch, key: jax.Array, *, model: nn.Module, axis_name: str
) -> dict[str, jax.Array]:
    """Counts hits on one batch; images with a false mask are padding and do not count.

    Args:
      variables: `params` and `batch_stats`.
      batch: This device's `image` (B, H, W, C), `label` (B,) and `mask` (B,).
      key: A JAX random key, for the metric `random` alone.
      model: The network.
      axis_name: Name of the device axis.

    Returns:
      Sums over all devices: `top1`, `top5` (int32 hits), `loss` (cross entropy) and `count` (int32 images).
    """
    logits, _ = model.apply(variables, batch["image"], key=jax.random.fold_in(key, jax.lax.axis_index(axis_name)))
    mask, label = batch["mask"], batch["label"]
    # The rank of the true class; logits that are not below it count against it, so that a silent network scores
    # nothing, nor one whose logits are NaN.
    true = jnp.take_along_axis(logits, label[:, None], axis=-1)
    rank = jnp.sum(~(logits < true), axis=-1) - 1
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    sums = {
        "top1": jnp.sum((mask & (rank < 1)).astype(jnp.int32)),
        "top5": jnp.sum((mask & (rank < 5)).astype(jnp.int32)),
        "loss": jnp.sum(jnp.where(mask, losses, 0.0)),
        "count": jnp.sum(mask.astype(jnp.int32)),
    }
    return jax.lax.psum(sums, axis_name)
