"""From a config to the parts of a run: the only place where configs are read into plain arguments."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from stata_jax import speed
from stata_jax.build_data import (
    augment,
    augment_options,
    checked_source,
    image_shape,
    model_input,
    prepare,
    sized,
    source,
    source_options,
)
from stata_jax.config.values import named
from stata_jax.errors import ConfigError
from stata_jax.models.transformer import SpikingTransformer
from stata_jax.pruning.coverage import coverage_sums
from stata_jax.pruning.maps import Aligned
from stata_jax.pruning.placement import align_positions, prune_positions
from stata_jax.registries import FAMILIES
from stata_jax.train import optimizer as optimizers
from stata_jax.train.losses import stata_loss
from stata_jax.train.parallel import AXIS
from stata_jax.train.step import Objective, eval_step, train_step

__all__ = [
    "augment_options",
    "checked_source",
    "image_shape",
    "model_input",
    "sized",
    "source",
    "source_options",
]  # of build_data


def placement(config: ConfigDict) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The blocks `P_I`, `P_a` and `P_r`: those given, or the paper's for this depth."""
    depth, sparsity, align = config.model.depth, config.sparsity, config.align
    prune_at = prune_positions(depth) if sparsity.prune_at is None else tuple(sparsity.prune_at)
    intra_at = align_positions(depth) if align.intra_at is None else tuple(align.intra_at)
    inter_at = align_positions(depth) if align.inter_at is None else tuple(align.inter_at)
    return prune_at if sparsity.keep_rate < 1 else (), intra_at, inter_at


def processor(config: ConfigDict) -> None:
    """Sets up a command's process: as many devices and threads of the processor as `train` says, tuned for speed.

    For commands alone, before the first array: a library call leaves the process as it is.

    Args:
      config: A checked config.

    Raises:
      ConfigError: If JAX has been used already in this process, with another number of devices.
    """
    speed.split_processor(config.train.cpu_devices, threads=config.train.cpu_threads)
    speed.tune()
    speed.check_split(config.train.cpu_devices, threads=config.train.cpu_threads)


def check_devices(config: ConfigDict, *, parts: Sequence[str]) -> None:
    """Raises where a batch does not divide over the devices, or a device's share not into its micro-batches.

    Args:
      config: A checked config.
      parts: Whose `batch_size` to check: `train`, `eval`.

    Raises:
      ConfigError: Naming the first batch size that does not divide.
    """
    devices = jax.device_count()
    for part in parts:
        size = config[part].batch_size
        if size % devices:
            raise ConfigError(f"{part}.batch_size is {size}, which does not divide over {devices} devices")
        count = config.train.accumulate if part == "train" else 1
        if size // devices % count:
            raise ConfigError(
                f"train.accumulate is {count}, which does not divide the {size // devices} examples of a step on each "
                f"of {devices} devices (train.batch_size is {size})"
            )


def model(config: ConfigDict, *, axis_name: str | None = None) -> SpikingTransformer:
    """The network; for training, see `aligned` as well.

    Args:
      config: A checked config.
      axis_name: Name of the device axis for batch statistics, None outside a mapped step.

    Returns:
      A Flax module.
    """
    settings: dict[str, Any] = config.model.to_dict() | config.sparsity.to_dict()
    family = settings.pop("family")
    settings |= {"dtype": jnp.dtype(settings["dtype"]).type, "prune_at": placement(config)[0]}
    return FAMILIES[family](
        num_classes=config.data.num_classes,
        axis_name=axis_name,
        ops=speed.operations(config.train.kernels, in_bytes=config.train.lean, remat=config.train.recompute),
        **settings,
    )


def aligned(config: ConfigDict) -> Aligned:
    """The attention maps that the losses with a weight align: what a network is to hand out for `objective`."""
    _, intra_at, inter_at = placement(config)
    values = named(Aligned, config.align)
    values |= {"intra_at": intra_at if config.align.alpha else (), "inter_at": inter_at if config.align.beta else ()}
    return Aligned(**values)


def objective(config: ConfigDict) -> Objective:
    """The training loss, Eq. 12, of a network that hands out the maps of `aligned`."""
    values = named(stata_loss, config.train, config.align)
    return functools.partial(stata_loss, classification=config.train.loss, **values)


def step(config: ConfigDict, optimizer: optax.GradientTransformation, *, steps_per_epoch: int) -> Callable[..., Any]:
    """The per-device training step, a function of state, batch and key."""
    return functools.partial(
        train_step,
        model=model(config, axis_name=AXIS if config.train.batch_norm == "all" else None).clone(align=aligned(config)),
        optimizer=optimizer,
        objective=objective(config),
        augment=augment(config, steps_per_epoch=steps_per_epoch),
        axis_name=AXIS,
        accumulate=config.train.accumulate,
        ema_decay=config.train.ema_decay,
        skip_nonfinite=config.train.on_nonfinite == "skip",
    )


def test_step(config: ConfigDict) -> Callable[..., Any]:
    """The per-device evaluation step, a function of variables, batch and key."""
    patch = 2 ** config.model.pooling.count("1")
    place = dict(size=config.data.digits.size, grid=config.data.image_size // patch, patch=patch)
    return functools.partial(
        eval_step,
        model=model(config, axis_name=AXIS),
        prepare=prepare(config),
        axis_name=AXIS,
        cover=functools.partial(coverage_sums, **place) if placement(config)[0] else None,
    )


def optimizer(config: ConfigDict, *, steps_per_epoch: int) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimiser and its learning rate by step."""
    train = config.train
    scale = train.batch_size / train.base_batch_size if train.base_batch_size else 1.0
    rates = {
        "peak": scale * train.learning_rate,
        "start": scale * train.warmup_learning_rate,
        "end": scale * train.min_learning_rate,
    }
    epochs = train.epochs - train.cooldown_epochs
    if train.schedule_by == "epoch":
        schedule = optimizers.epoch_cosine(
            **rates, warmup_epochs=train.warmup_epochs, cosine_epochs=epochs, steps_per_epoch=steps_per_epoch
        )
    else:
        warmup_steps = round(train.warmup_epochs * steps_per_epoch)
        schedule = optimizers.warmup_cosine(**rates, warmup_steps=warmup_steps, total_steps=epochs * steps_per_epoch)
    make = {"adamw": optimizers.adamw, "lamb": optimizers.lamb}[train.optimizer]
    made = make(schedule, weight_decay=train.weight_decay, grad_clip=train.grad_clip)
    return optimizers.freeze(made, train.frozen) if train.frozen else made, schedule
