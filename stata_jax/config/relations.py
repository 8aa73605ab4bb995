"""What the values of a config may be beside each other."""

from collections.abc import Callable
from typing import NamedTuple

from ml_collections import ConfigDict

from stata_jax.registries import SOURCES


class Relation(NamedTuple):
    """The key to name, whether its value goes with the others, and the words for what would."""

    key: str
    holds: Callable[[ConfigDict], bool]
    describe: Callable[[ConfigDict], str]


def _at_most(key: str, other: str) -> Relation:
    return Relation(key, lambda c: c[key] <= c[other], lambda c: f"must be at most {other}, {c[other]}")


def _for_source(source: str, relation: Relation) -> Relation:
    return Relation(
        relation.key,
        lambda c: c.data.source != source or relation.holds(c),
        lambda c: f"{relation.describe(c)}, for data.source {source}",
    )


def _within_depth(key: str) -> Relation:
    return Relation(
        key,
        lambda c: not c[key] or max(c[key]) < c.model.depth,
        lambda c: f"must be block positions from 0 to {c.model.depth - 1} (model.depth is {c.model.depth})",
    )


def _shrink(c: ConfigDict) -> int:
    return 2 ** c.model.pooling.count("1")


def _prunes(c: ConfigDict) -> bool:
    """Whether any block drops tokens."""
    return bool(c.sparsity.keep_rate < 1 and c.sparsity.prune_at != ())


def _has(c: ConfigDict, kind: str) -> bool:
    """Whether the data is of a kind, or of a name."""
    return kind in (c.data.source, SOURCES.kind(c.data.source))


def _epoch_steps(c: ConfigDict) -> int:
    # Whole batches only; 1 where the data decides how many there are.
    return c.data.train_examples // c.train.batch_size or 1


def _cosine_epochs(c: ConfigDict) -> int:
    """Epochs of warm-up and cosine, without the cool-down."""
    return int(c.train.epochs - c.train.cooldown_epochs)


def _near_divisors(number: int, value: int) -> str:
    divisors = [divisor for divisor in range(1, number + 1) if number % divisor == 0]
    below = [divisor for divisor in divisors if divisor < value][-1:]
    return " or ".join(map(str, below + [divisor for divisor in divisors if divisor > value][:1]))


def _only_for(kind: str, key: str, default: object, why: str) -> Relation:
    """Of an option that other sources would not heed; `none` may get any source later."""
    return Relation(
        key,
        lambda c: _has(c, kind) or c.data.source == "none" or c[key] == default,
        lambda c: f"must be {default} for data.source {c.data.source}: {why}",
    )


def _for_images(key: str) -> Relation:
    return Relation(
        key,
        lambda c: not _has(c, "recordings") or not c[key],
        lambda c: f"is for images, not for the recordings of data.source {c.data.source}: augment.events is for them",
    )


def _some(key: str) -> Relation:
    return Relation(key, lambda c: c[key] > 0, lambda c: "must be at least 1")


RELATIONS: tuple[Relation, ...] = (
    Relation(
        "model.heads",
        lambda c: c.model.dim % c.model.heads == 0,
        lambda c: f"must divide model.dim, {c.model.dim}: {_near_divisors(c.model.dim, c.model.heads)} would do",
    ),
    Relation(
        "data.image_size",
        lambda c: c.data.image_size % _shrink(c) == 0,
        lambda c: f"must be a multiple of {_shrink(c)}, by which model.pooling {c.model.pooling!r} shrinks the image",
    ),
    Relation(
        "sparsity.metric",
        lambda c: c.sparsity.metric != "anchor" or c.sparsity.anchor or not _prunes(c),
        lambda c: "must be ssa, l1 or random where sparsity.anchor is off and tokens are pruned",
    ),
    _within_depth("sparsity.prune_at"),
    _within_depth("align.intra_at"),
    _within_depth("align.inter_at"),
    Relation(
        "model.dvs_mode", lambda c: not c.model.dvs_mode or c.model.family == "sdt", lambda c: "needs model.family sdt"
    ),
    Relation("model.tau", lambda c: c.model.neuron == "lif" or c.model.tau > 1, lambda c: "must be above 1 for plif"),
    _for_source(
        "digits", Relation("data.num_classes", lambda c: c.data.num_classes >= 10, lambda c: "must be at least 10")
    ),
    *(
        _for_source(source, _at_most(f"data.{key}", f"data.{other}"))
        for source in ("digits", "digits_dvs")
        for key, other in (("digits.size", "image_size"), ("digits.fragment", "digits.size"))
    ),
    Relation(
        "train.batch_size",
        lambda c: not c.data.train_examples or c.train.batch_size <= c.data.train_examples,
        lambda c: f"must be at most data.train_examples, {c.data.train_examples}",
    ),
    *(
        _for_source(source, _some(key))
        for source in ("digits", "digits_dvs")
        for key in ("data.train_examples", "data.test_examples")
    ),
    Relation(
        "data.path",
        lambda c: not c.data.path or c.data.source == "image_folder" or ":" in c.data.source,
        lambda c: "is for data.source image_folder: data.manual_dir names the folder of published files",
    ),
    Relation(
        "data.channels",
        lambda c: not _has(c, "recordings") or c.data.channels == 2,
        lambda c: f"must be 2, the polarities of the events of data.source {c.data.source}",
    ),
    *map(_for_images, ("augment.flip", "augment.crop_padding", "augment.randaugment_count", "augment.erasing")),
    Relation(
        "augment.events",
        lambda c: _has(c, "recordings") or not c.augment.events,
        lambda c: f"must be false, since data.source {c.data.source} has no recordings",
    ),
    _only_for("pictures", "augment.crop_scale", (1.0, 1.0), "augment.crop_padding is for small images"),
    _only_for("pictures", "data.test_crop", 0.875, "its images are tested whole"),
    _only_for("recordings", "augment.event_cutout", "side", "it is for recordings, and augment.erasing for images"),
    _only_for("recordings", "data.frames", "count", "it has no recordings"),
    _only_for("cifar10_dvs", "data.split", "published", "cifar10_dvs alone has several splits"),
    Relation(
        "data.mean",
        lambda c: len(c.data.mean) in (0, c.data.channels),
        lambda c: f"must have a number for each of the {c.data.channels} channels (data.channels), or none",
    ),
    Relation(
        "data.std", lambda c: len(c.data.std) == len(c.data.mean), lambda c: "must have as many numbers as data.mean"
    ),
    _at_most("train.min_learning_rate", "train.learning_rate"),
    _at_most("train.warmup_learning_rate", "train.learning_rate"),
    Relation(
        "train.accumulate",
        lambda c: c.train.batch_size % c.train.accumulate == 0,
        lambda c: (
            f"must divide train.batch_size, {c.train.batch_size}: "
            f"{_near_divisors(c.train.batch_size, c.train.accumulate)} would do"
        ),
    ),
    Relation(
        "train.cooldown_epochs",
        lambda c: c.train.cooldown_epochs < c.train.epochs,
        lambda c: f"must be below train.epochs, {c.train.epochs}, which it is part of",
    ),
    Relation(
        "train.warmup_epochs",
        lambda c: round(c.train.warmup_epochs * _epoch_steps(c)) < _cosine_epochs(c) * _epoch_steps(c),
        lambda c: (
            f"must end at least one step before train.epochs, {c.train.epochs}"
            + (f", less train.cooldown_epochs, {c.train.cooldown_epochs}" if c.train.cooldown_epochs else "")
        ),
    ),
)
