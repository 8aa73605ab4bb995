"""One step of training and of evaluation: pure functions of state and batch."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from stata_jax.models.rates import firing_rates
from stata_jax.train.state import TrainState, time_major
from stata_jax.varying import varying

Batch = dict[str, jax.Array]
# (logits, aux, targets) to the loss and its terms; `balance` is a keyword of those that have an alignment.
Objective = Callable[..., tuple[jax.Array, dict[str, jax.Array]]]
# (key, images, labels, step) to (images, targets), batch first: from what a source gives to what a model is trained on.
Augment = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
Prepare = Callable[[jax.Array], jax.Array]  # images as a source gives them to those that a model takes, batch first
# (kept patches by block, corner, mask) to sums over the images, as in `stata_jax.pruning.coverage.coverage_sums`.
Cover = Callable[[dict[int, jax.Array], jax.Array, jax.Array], dict[str, Any]]


def train_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    balance: jax.Array | None = None,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    objective: Objective,
    augment: Augment,
    axis_name: str | None,
    accumulate: int = 1,
    ema_decay: float = 0.0,
    skip_nonfinite: bool = False,
) -> tuple[TrainState, dict[str, Any]]:
    """Updates the parameters on one batch; runs on each device over its share of the batch.

    It may be mapped by `jax.pmap`, or by `jax.shard_map` with or without `check_vma`. Without an axis name it is a
    function of the whole batch for `jax.jit`, which divides it over devices where the arrays are so divided.

    Args:
      state: The state, the same on all devices.
      batch: This device's `image`, images (B, H, W, C) or recordings (B, T, H, W, C), and `label` (B,).
      key: The run's JAX random key; the step and the device are folded in here.
      balance: Factors of the classification and of the alignment in the loss, shape (2,), see `stata_loss`; None: 1.
      model: The network. With the axis name it normalises by the batch of all devices; without, each device by its
        share.
      optimizer: The optimiser.
      objective: From logits, aux and targets to the loss and its terms.
      augment: Makes floating images and targets (B, K) of this device's share, whole.
      axis_name: Name of the device axis, or None for the whole batch.
      accumulate: Number of micro-batches that the share is split into, one after the other: the memory of one, and one
        update by the mean of their gradients. Each is normalised by its own statistics, and the running ones take them
        in turn.
      ema_decay: Share of the old in `state.ema`, where the state keeps averages.
      skip_nonfinite: Whether a step that is not finite leaves everything as it was but for `state.step`.

    Returns:
      The next state, and metrics averaged over the devices and the micro-batches: `loss`, its terms, `accuracy` against
      the heavier label of a mixed image, `gradient_norm`, of the mean gradient, and the firing `rates` by layer; and
      `finite`, 1 where the loss, the gradient and what they lead to are finite and else 0, the same on all devices.
    """
    key = _of_device(jax.random.fold_in(key, state.step), axis_name)
    augment_key, model_key = jax.random.split(key)
    images, targets = augment(augment_key, batch["image"], batch["label"], state.step)
    # This device's gradient is wanted. Of parameters that JAX knows to be the same on all devices it would be the sum.
    own_params, running = varying((state.params, state.batch_stats), () if axis_name is None else (axis_name,))

    def gradient_of(batch_stats: Any, images: jax.Array, targets: jax.Array, key: jax.Array) -> Any:
        def loss_of(params: Any) -> tuple[jax.Array, tuple[Any, dict[str, Any]]]:
            variables = {"params": params, "batch_stats": batch_stats}
            inputs = time_major(images)
            collections = ["batch_stats", "intermediates"]
            (logits, aux), updated = model.apply(variables, inputs, train=True, key=key, mutable=collections)
            loss, terms = objective(logits, aux, targets, **({} if balance is None else {"balance": balance}))
            hits = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
            metrics: dict[str, Any] = {"loss": loss, **terms, "accuracy": jnp.mean(hits.astype(jnp.float32))}
            metrics["rates"] = firing_rates(updated["intermediates"])
            return loss, (updated["batch_stats"], metrics)

        return jax.grad(loss_of, has_aux=True)(own_params)

    if accumulate == 1:
        gradient, (batch_stats, metrics) = gradient_of(running, images, targets, model_key)
    else:
        parts = [x.reshape(accumulate, x.shape[0] // accumulate, *x.shape[1:]) for x in (images, targets)]
        keys = jax.random.split(model_key, accumulate)
        gradient, batch_stats, metrics = _in_turn(gradient_of, own_params, running, (*parts, keys))
    if axis_name is not None:  # running statistics too: those of devices that normalise by their share differ
        gradient, batch_stats, metrics = jax.lax.pmean((gradient, batch_stats, metrics), axis_name)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics["gradient_norm"] = optax.tree.norm(gradient)
    ema = state.ema
    if ema is not None:
        ema = optax.incremental_update({"params": params, "batch_stats": batch_stats}, ema, 1 - ema_decay)
    after = TrainState(state.step + 1, params, batch_stats, opt_state, ema)
    finite = _all_finite((metrics["loss"], metrics["gradient_norm"], params, batch_stats))
    metrics["finite"] = finite.astype(jnp.float32)  # of means over the devices, so the same on all of them
    if skip_nonfinite:
        before = dataclasses.replace(state, step=after.step)
        after = jax.tree.map(lambda new, old: jnp.where(metrics["finite"] > 0, new, old), after, before)
    return after, metrics


def _all_finite(tree: Any) -> jax.Array:
    """Whether all numbers are finite.

    The loss alone does not tell: a membrane that is NaN is not above its threshold, and so the network goes on with the
    spikes of its other neurons. The parameters are looked at too, for a step may be too long for float32, and the
    running statistics, which a later step might not use.
    """
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _of_device(key: jax.Array, axis_name: str | None) -> jax.Array:
    return key if axis_name is None else jax.random.fold_in(key, jax.lax.axis_index(axis_name))


def _in_turn(gradient_of: Callable[..., Any], params: Any, batch_stats: Any, parts: Any) -> tuple[Any, Any, Any]:
    """Mean gradient and metrics over micro-batches, the leading axis of `parts`, and the last running statistics."""

    def add(carry: tuple[Any, Any], part: Any) -> tuple[tuple[Any, Any], Any]:
        batch_stats, total = carry
        gradient, (batch_stats, metrics) = gradient_of(batch_stats, *part)
        return (batch_stats, jax.tree.map(jnp.add, total, gradient)), metrics

    start = (batch_stats, jax.tree.map(jnp.zeros_like, params))
    (batch_stats, total), metrics = jax.lax.scan(add, start, parts)
    count = parts[0].shape[0]
    mean = jax.tree.map(lambda x: x / count, total)
    return mean, batch_stats, jax.tree.map(lambda x: jnp.mean(x, axis=0), metrics)


def eval_step(
    variables: dict[str, Any],
    batch: Batch,
    key: jax.Array,
    *,
    model: nn.Module,
    prepare: Prepare,
    axis_name: str | None,
    cover: Cover | None = None,
) -> dict[str, Any]:
    """Counts hits on one batch; images with a false mask are padding and do not count.

    Args:
      variables: `params` and `batch_stats`.
      batch: This device's `image`, images (B, H, W, C) or recordings (B, T, H, W, C), `label` (B,) and `mask` (B,), and
        `corner`, (B, 2) or (B, T, 2), where the source knows it.
      key: A JAX random key, for the metric `random` alone.
      model: The network.
      prepare: Makes floating images of those in the batch.
      axis_name: As in `train_step`.
      cover: Says how well the kept patches cover what is at `corner`; None for a network that drops none.

    Returns:
      Sums over all devices: `top1`, `top5` (int32 hits), `loss` (cross entropy) and `count` (int32 images), and
      `coverage`, what `cover` returns, where there are both it and a `corner`.
    """
    images = time_major(prepare(batch["image"]))
    logits, aux = model.apply(variables, images, key=_of_device(key, axis_name))
    mask, label = batch["mask"], batch["label"]
    # The rank of the true class; logits that are not below it count against it, so that a silent network scores
    # nothing, nor one whose logits are NaN.
    true = jnp.take_along_axis(logits, label[:, None], axis=-1)
    rank = jnp.sum(~(logits < true), axis=-1) - 1
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    sums: dict[str, Any] = {
        "top1": jnp.sum((mask & (rank < 1)).astype(jnp.int32)),
        "top5": jnp.sum((mask & (rank < 5)).astype(jnp.int32)),
        "loss": jnp.sum(jnp.where(mask, losses, 0.0)),
        "count": jnp.sum(mask.astype(jnp.int32)),
    }
    if cover is not None and "corner" in batch:
        sums["coverage"] = cover(aux["positions"], batch["corner"], mask)
    return sums if axis_name is None else jax.lax.psum(sums, axis_name)
