"""What the values of a config may be: every key has a rule, and some keys have a rule that depends on others.

`check` looks at a config before anything is compiled, so that an impossible value costs a second and one sentence.
"""

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

SOURCES = ("digits", "none")
FAMILIES = ("spikformer", "spikingformer", "sdt")
NEURONS = ("lif", "plif")
LOSSES = ("cross_entropy", "tet")
OPTIMIZERS = ("adamw", "lamb")
SCHEDULES = ("step", "epoch")
DTYPES = ("float32", "bfloat16")
METRICS = ("anchor", "ssa", "l1", "random")
SLOTS = ("sorted", "stable")
POOLS = ("all", "tokens")
MATCHES = ("interpolate", "gather")
DISTANCES = ("mse", "norm")

STEM_DIVISOR = 8  # the first convolution of the stem has dim / 8 channels
MAX_SEED = 2**32 - 1  # the largest seed that gives a JAX key of its own

Rule = tuple[Callable[[Any], bool], str]  # (is the value possible?, what is possible)
Relation = tuple[str, Callable[[ConfigDict], bool], Callable[[ConfigDict], str]]  # (key to name, possible?, what is)


class ConfigError(ValueError):
    """A mistake in a config or a flag, said to the user in one sentence."""


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


def _above_zero() -> Rule:
    return lambda value: _is_number(value) and value > 0, "must be a number above 0"


def _one_of(values: tuple[str, ...]) -> Rule:
    return lambda value: value in values, f"must be one of {', '.join(values)}"


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
    "init_from": (lambda value: isinstance(value, str), "must be the name of a folder, or empty"),
    "data.source": _one_of(SOURCES),
    "data.image_size": _whole(1),
    "data.channels": _whole(1),
    "data.num_classes": _whole(1),
    "data.train_examples": _whole(1),
    "data.test_examples": _whole(1),
    "data.test_seed": _whole(0, MAX_SEED),
    "data.digits.size": _whole(1),
    "data.digits.clutter": _whole(0),
    "data.digits.fragment": _whole(1),
    "data.digits.noise": _at_least(0),
    "augment.mixup": _at_least(0),
    "augment.label_smoothing": (lambda value: _is_number(value) and 0 <= value < 1, "must be at least 0 and below 1"),
    "model.family": _one_of(FAMILIES),
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
    "model.neuron": _one_of(NEURONS),
    "model.tau": _at_least(1),
    "model.threshold": _above_zero(),
    "model.attention_threshold": _above_zero(),
    "model.surrogate_alpha": _above_zero(),
    "model.dtype": _one_of(DTYPES),
    "sparsity.anchor": _switch(),
    "sparsity.keep_rate": (
        lambda value: _is_number(value) and 0 < value <= 1,
        "must be above 0 and at most 1 (1 keeps all tokens)",
    ),
    "sparsity.metric": _one_of(METRICS),
    "sparsity.timestep_wise": _switch(),
    "sparsity.prune_at": _positions(),
    "sparsity.slots": _one_of(SLOTS),
    "sparsity.pool": _one_of(POOLS),
    "sparsity.anchor_init": _at_least(0),
    "align.alpha": _at_least(0),
    "align.beta": _at_least(0),
    "align.intra_time": _switch(),
    "align.intra_heads": _switch(),
    "align.intra_at": _positions(),
    "align.inter_at": _positions(),
    "align.match": _one_of(MATCHES),
    "align.distance": _one_of(DISTANCES),
    "train.epochs": _whole(1),
    "train.batch_size": _whole(1),
    "train.accumulate": _whole(1),
    "train.optimizer": _one_of(OPTIMIZERS),
    "train.learning_rate": _above_zero(),
    "train.min_learning_rate": _at_least(0),
    "train.warmup_epochs": _at_least(0),
    "train.warmup_learning_rate": _at_least(0),
    "train.cooldown_epochs": _whole(0),
    "train.schedule_by": _one_of(SCHEDULES),
    "train.base_batch_size": _whole(0),
    "train.weight_decay": _at_least(0),
    "train.grad_clip": _at_least(0),
    "train.ema_decay": (lambda value: _is_number(value) and 0 <= value < 1, "must be at least 0 and below 1"),
    "train.loss": _one_of(LOSSES),
    "train.tet_means": (_is_number, "must be a number"),
    "train.tet_lambda": (lambda value: _is_number(value) and 0 <= value <= 1, "must be from 0 to 1"),
    "train.lean": _switch(),
    "train.log_every": _whole(1),
    "eval.batch_size": _whole(1),
    "eval.every_epochs": _whole(1),
    "checkpoint.every_steps": _whole(0),
    "checkpoint.keep": _whole(1),
}


def _at_most(key: str, other: str) -> Relation:
    return key, lambda c: c[key] <= c[other], lambda c: f"must be at most {other}, {c[other]}"


def _for_source(source: str, relation: Relation) -> Relation:
    key, holds, describe = relation
    return key, lambda c: c.data.source != source or holds(c), lambda c: f"{describe(c)}, for data.source {source}"


def _within_depth(key: str) -> Relation:
    return (
        key,
        lambda c: not c[key] or max(c[key]) < c.model.depth,
        lambda c: f"must be block positions from 0 to {c.model.depth - 1} (model.depth is {c.model.depth})",
    )


def _shrink(c: ConfigDict) -> int:
    return 2 ** c.model.pooling.count("1")


def _prunes(c: ConfigDict) -> bool:
    """Whether any block drops tokens."""
    return bool(c.sparsity.keep_rate < 1 and c.sparsity.prune_at != ())


def _epoch_steps(c: ConfigDict) -> int:
    return c.data.train_examples // c.train.batch_size  # whole batches only


def _cosine_epochs(c: ConfigDict) -> int:
    """Epochs of warm-up and cosine, without the cool-down."""
    return int(c.train.epochs - c.train.cooldown_epochs)


def _near_divisors(number: int, value: int) -> str:
    divisors = [divisor for divisor in range(1, number + 1) if number % divisor == 0]
    below = [divisor for divisor in divisors if divisor < value][-1:]
    return " or ".join(map(str, below + [divisor for divisor in divisors if divisor > value][:1]))


RELATIONS: tuple[Relation, ...] = (
    (
        "model.heads",
        lambda c: c.model.dim % c.model.heads == 0,
        lambda c: f"must divide model.dim, {c.model.dim}: {_near_divisors(c.model.dim, c.model.heads)} would do",
    ),
    (
        "data.image_size",
        lambda c: c.data.image_size % _shrink(c) == 0,
        lambda c: f"must be a multiple of {_shrink(c)}, by which model.pooling {c.model.pooling!r} shrinks the image",
    ),
    (
        "sparsity.metric",
        lambda c: c.sparsity.metric != "anchor" or c.sparsity.anchor or not _prunes(c),
        lambda c: "must be ssa, l1 or random where sparsity.anchor is off and tokens are pruned",
    ),
    _within_depth("sparsity.prune_at"),
    _within_depth("align.intra_at"),
    _within_depth("align.inter_at"),
    ("model.dvs_mode", lambda c: not c.model.dvs_mode or c.model.family == "sdt", lambda c: "needs model.family sdt"),
    ("model.tau", lambda c: c.model.neuron == "lif" or c.model.tau > 1, lambda c: "must be above 1 for plif"),
    _for_source("digits", ("data.num_classes", lambda c: c.data.num_classes >= 10, lambda c: "must be at least 10")),
    _for_source("digits", _at_most("data.digits.size", "data.image_size")),
    _for_source("digits", _at_most("data.digits.fragment", "data.digits.size")),
    _at_most("train.batch_size", "data.train_examples"),
    _at_most("train.min_learning_rate", "train.learning_rate"),
    _at_most("train.warmup_learning_rate", "train.learning_rate"),
    (
        "train.accumulate",
        lambda c: c.train.batch_size % c.train.accumulate == 0,
        lambda c: (
            f"must divide train.batch_size, {c.train.batch_size}: "
            f"{_near_divisors(c.train.batch_size, c.train.accumulate)} would do"
        ),
    ),
    (
        "train.cooldown_epochs",
        lambda c: c.train.cooldown_epochs < c.train.epochs,
        lambda c: f"must be below train.epochs, {c.train.epochs}, which it is part of",
    ),
    (
        "train.warmup_epochs",
        lambda c: round(c.train.warmup_epochs * _epoch_steps(c)) < _cosine_epochs(c) * _epoch_steps(c),
        lambda c: (
            f"must end at least one step before train.epochs, {c.train.epochs}"
            + (f", less train.cooldown_epochs, {c.train.cooldown_epochs}" if c.train.cooldown_epochs else "")
        ),
    ),
)


def check(config: ConfigDict) -> None:
    """Checks every value of a config, alone and against the others.

    Args:
      config: a config with the keys of `configs/common.py`.

    Raises:
      ConfigError: a key is missing or has an impossible value; the sentence says what is possible.
    """
    for key, (is_possible, possible) in RULES.items():
        try:
            value = config[key]
        except (KeyError, TypeError) as error:  # TypeError: a group of keys is a plain value
            raise ConfigError(f"the config has no key {key}: start from configs/common.py") from error
        if not is_possible(value):
            raise ConfigError(f"{key} is {value!r}, but it {possible}")
    for key, holds, describe in RELATIONS:
        if not holds(config):
            raise ConfigError(f"{key} is {config[key]!r}, but it {describe(config)}")
