"""What each value of a config may be by itself: a rule for every key."""

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

from stata_jax import registries

STEM_DIVISOR = 8  # the first convolution of the stem has dim / 8 channels
MAX_SEED = 2**32 - 1  # the largest seed that gives a JAX key of its own

Rule = tuple[Callable[[Any], bool], str]  # (is the value possible?, what is possible)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return (_is_whole(value) or isinstance(value, float)) and math.isfinite(value)  # type: ignore[arg-type]


def _is_increasing(value: object) -> bool:
    if not isinstance(value, tuple) or not all(_is_whole(item) for item in value):
        return False
    return all(low < high for low, high in itertools.pairwise((-1, *value)))


def _whole(low: int, high: int | None = None) -> Rule:
    if high is None:
        return lambda value: _is_whole(value) and value >= low, f"must be a whole number of at least {low}"
    return lambda value: _is_whole(value) and low <= value <= high, f"must be a whole number from {low} to {high}"


def _at_least(low: float) -> Rule:
    return lambda value: _is_number(value) and value >= low, f"must be a number of at least {low:g}"


def _within(low: float, high: float) -> Rule:
    return lambda value: _is_number(value) and low <= value <= high, f"must be from {low:g} to {high:g}"


def _text(what: str) -> Rule:
    return lambda value: isinstance(value, str), f"must be {what}"


def _numbers(what: str, is_possible: Callable[[float], bool]) -> Rule:
    def hold(value: object) -> bool:
        return isinstance(value, tuple) and all(_is_number(item) and is_possible(item) for item in value)

    return hold, f"must be {what}"


def _is_range(value: object) -> bool:
    if not isinstance(value, tuple) or len(value) != 2 or not all(map(_is_number, value)):
        return False
    return bool(0 < value[0] <= value[1] <= 1)


def _above_zero() -> Rule:
    return lambda value: _is_number(value) and value > 0, "must be a number above 0"


def _one_of(values: tuple[str, ...]) -> Rule:
    return lambda value: value in values, f"must be one of {', '.join(values)}"


def _name_in(registry: registries.Registry, *others: str) -> Rule:
    names = ", ".join([*registry, *others])
    return lambda value: value in others or registry.is_possible(value), f"must be one of {names}"


def _switch() -> Rule:
    return lambda value: isinstance(value, bool), "must be true or false"


def _positions() -> Rule:
    text = "must be None or block positions in increasing order, such as (0, 2)"
    return lambda value: value is None or _is_increasing(value), text


RULES: dict[str, Rule] = {
    "name": (
        lambda value: isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value) is not None,
        "must be a folder name of letters, digits, '.', '_' and '-' that starts with a letter or a digit",
    ),
    "seed": _whole(0, MAX_SEED),
    "init_from": _text("the name of a folder, or empty"),
    "data.source": _name_in(registries.SOURCES, "none"),
    "data.image_size": _whole(1),
    "data.channels": _whole(1),
    "data.num_classes": _whole(1),
    "data.data_dir": _text("the name of a folder, or empty"),
    "data.manual_dir": _text("the name of a folder, or empty"),
    "data.path": _text("the name of a folder, or empty"),
    "data.train_examples": _whole(0),
    "data.test_examples": _whole(0),
    "data.test_seed": _whole(0, MAX_SEED),
    "data.mean": _numbers("numbers, one for each channel, or ()", lambda value: True),
    "data.std": _numbers("numbers above 0, one for each channel, or ()", lambda value: value > 0),
    "data.workers": _whole(0),
    "data.frames": _one_of(registries.FRAMES),
    "data.split": (lambda value: isinstance(value, str) and value != "", "must be published, number or a file's name"),
    "data.test_crop": (lambda value: _is_number(value) and 0 < value <= 1, "must be above 0 and at most 1"),
    "data.digits.size": _whole(1),
    "data.digits.clutter": _whole(0),
    "data.digits.fragment": _whole(1),
    "data.digits.noise": _at_least(0),
    "data.sensor.threshold": _above_zero(),
    "data.sensor.noise": _at_least(0),
    "augment.flip": _switch(),
    "augment.crop_padding": _whole(0),
    "augment.crop_scale": (_is_range, "must be two shares of an image, above 0 and at most 1, such as (0.08, 1.0)"),
    "augment.randaugment_count": _whole(0),
    "augment.randaugment_operations": _one_of(registries.RANDAUGMENTS),
    "augment.randaugment_magnitude": _within(0, 10),
    "augment.randaugment_std": _at_least(0),
    "augment.randaugment_increasing": _switch(),
    "augment.erasing": _within(0, 1),
    "augment.erasing_noise": _switch(),
    "augment.events": _switch(),
    "augment.event_cutout": _one_of(registries.CUTOUTS),
    "augment.mixup": _at_least(0),
    "augment.cutmix": _at_least(0),
    "augment.mix_probability": _within(0, 1),
    "augment.switch_probability": _within(0, 1),
    "augment.mix_off_epoch": _whole(0),
    "augment.label_smoothing": (lambda value: _is_number(value) and 0 <= value < 1, "must be at least 0 and below 1"),
    "model.family": _name_in(registries.FAMILIES),
    "model.timesteps": _whole(1),
    "model.dim": (
        lambda value: _is_whole(value) and value > 0 and value % STEM_DIVISOR == 0,
        f"must be a positive multiple of {STEM_DIVISOR}",
    ),
    "model.depth": _whole(1),
    "model.heads": _whole(1),
    "model.mlp_ratio": _whole(1),
    "model.pooling": (
        lambda value: isinstance(value, str) and re.fullmatch("[01]{4}", value) is not None,
        "must be four digits that are 0 or 1, such as 0011",
    ),
    "model.attention_scale": _above_zero(),
    "model.qkv_bias": _switch(),
    "model.dvs_mode": _switch(),
    "model.neuron": _one_of(registries.NEURONS),
    "model.tau": _at_least(1),
    "model.threshold": _above_zero(),
    "model.attention_threshold": _above_zero(),
    "model.surrogate_alpha": _above_zero(),
    "model.dtype": _one_of(registries.DTYPES),
    "sparsity.anchor": _switch(),
    "sparsity.keep_rate": (
        lambda value: _is_number(value) and 0 < value <= 1,
        "must be above 0 and at most 1 (1 keeps all tokens)",
    ),
    "sparsity.metric": _name_in(registries.METRICS),
    "sparsity.timestep_wise": _switch(),
    "sparsity.prune_at": _positions(),
    "sparsity.slots": _one_of(registries.SLOTS),
    "sparsity.pool": _one_of(registries.POOLS),
    "sparsity.anchor_init": _at_least(0),
    "align.alpha": _at_least(0),
    "align.beta": _at_least(0),
    "align.intra_time": _switch(),
    "align.intra_heads": _switch(),
    "align.intra_tokens": _one_of(registries.INTRA_TOKENS),
    "align.intra_at": _positions(),
    "align.inter_at": _positions(),
    "align.match": _one_of(registries.MATCHES),
    "align.distance": _one_of(registries.DISTANCES),
    "train.epochs": _whole(1),
    "train.batch_size": _whole(1),
    "train.accumulate": _whole(1),
    "train.optimizer": _one_of(registries.OPTIMIZERS),
    "train.learning_rate": _above_zero(),
    "train.min_learning_rate": _at_least(0),
    "train.warmup_epochs": _at_least(0),
    "train.warmup_learning_rate": _at_least(0),
    "train.cooldown_epochs": _whole(0),
    "train.schedule_by": _one_of(registries.SCHEDULES),
    "train.base_batch_size": _whole(0),
    "train.weight_decay": _at_least(0),
    "train.grad_clip": _at_least(0),
    "train.ema_decay": (lambda value: _is_number(value) and 0 <= value < 1, "must be at least 0 and below 1"),
    "train.loss": _one_of(registries.LOSSES),
    "train.tet_means": (_is_number, "must be a number"),
    "train.tet_lambda": _within(0, 1),
    "train.on_nonfinite": _one_of(registries.ON_NONFINITE),
    "train.batch_norm": _one_of(registries.BATCH_NORMS),
    "train.lean": _switch(),
    "train.recompute": _switch(),
    "train.cpu_devices": _whole(1),
    "train.cpu_threads": _whole(0),
    "train.log_every": _whole(1),
    "eval.batch_size": _whole(1),
    "eval.every_epochs": _whole(1),
    "checkpoint.every_steps": _whole(0),
    "checkpoint.every_minutes": _at_least(0),
    "checkpoint.keep": _whole(1),
}
