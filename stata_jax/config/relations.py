"""What the values of a config may be beside each other."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from stata_jax.registries import METRICS, SOURCES

Problem = tuple[str, str]  # the key to name, and the words for what its value must be

# Options that other data sets would not heed: the kind or name of those that do, the default, and why.
_HEEDED: tuple[tuple[str, str, object, str], ...] = (
    ("pictures", "augment.crop_scale", (1.0, 1.0), "augment.crop_padding is for small images"),
    ("pictures", "data.test_crop", 0.875, "its images are tested whole"),
    ("recordings", "augment.event_cutout", "side", "it is for recordings, and augment.erasing for images"),
    ("recordings", "data.frames", "count", "it has no recordings"),
    ("cifar10_dvs", "data.split", "published", "cifar10_dvs alone has several splits"),
)


def problems(c: ConfigDict) -> Iterator[Problem]:
    """Yields what does not go together in a config whose values are possible one by one."""
    yield from _of_network(c)
    yield from _of_data(c)
    yield from _of_augmentation(c)
    yield from _of_schedule(c)


def _of_network(c: ConfigDict) -> Iterator[Problem]:
    model, sparsity, shrink = c.model, c.sparsity, 2 ** c.model.pooling.count("1")
    if model.dim % model.heads:
        near = _near_divisors(model.dim, model.heads)
        yield "model.heads", f"must divide model.dim, {model.dim}: {near} would do"
    if c.data.image_size % shrink:
        yield (
            "data.image_size",
            f"must be a multiple of {shrink}, by which model.pooling {model.pooling!r} shrinks the image",
        )
    prunes = sparsity.keep_rate < 1 and sparsity.prune_at != ()
    if prunes and sparsity.metric == "anchor" and not sparsity.anchor:
        others = ", ".join(name for name in METRICS if name != "anchor")
        yield "sparsity.metric", f"must be {others} where sparsity.anchor is off and tokens are pruned"
    for key in ("sparsity.prune_at", "align.intra_at", "align.inter_at"):
        if c[key] and max(c[key]) >= model.depth:
            yield key, f"must be block positions from 0 to {model.depth - 1} (model.depth is {model.depth})"
    if model.dvs_mode and model.family != "sdt":
        yield "model.dvs_mode", "needs model.family sdt"
    if model.neuron == "plif" and model.tau <= 1:
        yield "model.tau", "must be above 1 for plif"


def _of_data(c: ConfigDict) -> Iterator[Problem]:
    data, name = c.data, c.data.source
    if name == "digits" and data.num_classes < 10:
        yield "data.num_classes", "must be at least 10, for data.source digits"
    if name in ("digits", "digits_dvs"):
        for key, other in (("digits.size", "image_size"), ("digits.fragment", "digits.size")):
            if data[key] > data[other]:
                yield f"data.{key}", f"must be at most data.{other}, {data[other]}, for data.source {name}"
        for key in ("train_examples", "test_examples"):
            if not data[key]:
                yield f"data.{key}", f"must be at least 1, for data.source {name}"
    if data.train_examples and c.train.batch_size > data.train_examples:
        yield "train.batch_size", f"must be at most data.train_examples, {data.train_examples}"
    if data.path and name != "image_folder" and ":" not in name:
        yield "data.path", "is for data.source image_folder: data.manual_dir names the folder of published files"
    if SOURCES.kind(name) == "recordings" and data.channels != 2:
        yield "data.channels", f"must be 2, the polarities of the events of data.source {name}"
    if len(data.mean) not in (0, data.channels):
        yield "data.mean", f"must have a number for each of the {data.channels} channels (data.channels), or none"
    if len(data.std) != len(data.mean):
        yield "data.std", "must have as many numbers as data.mean"


def _of_augmentation(c: ConfigDict) -> Iterator[Problem]:
    name = c.data.source
    kind = SOURCES.kind(name)
    for key in ("augment.flip", "augment.crop_padding", "augment.randaugment_count", "augment.erasing"):
        if kind == "recordings" and c[key]:
            yield key, f"is for images, not for the recordings of data.source {name}: augment.events is for them"
    if kind != "recordings" and c.augment.events:
        yield "augment.events", f"must be false, since data.source {name} has no recordings"
    for needed, key, default, why in _HEEDED:
        if c[key] != default and needed not in (name, kind) and name != "none":  # which may get any source later
            yield key, f"must be {default} for data.source {name}: {why}"


def _of_schedule(c: ConfigDict) -> Iterator[Problem]:
    train = c.train
    for key in ("min_learning_rate", "warmup_learning_rate"):
        if train[key] > train.learning_rate:
            yield f"train.{key}", f"must be at most train.learning_rate, {train.learning_rate}"
    if train.batch_size % train.accumulate:
        near = _near_divisors(train.batch_size, train.accumulate)
        yield "train.accumulate", f"must divide train.batch_size, {train.batch_size}: {near} would do"
    if train.cooldown_epochs >= train.epochs:
        yield "train.cooldown_epochs", f"must be below train.epochs, {train.epochs}, which it is part of"
    steps = c.data.train_examples // train.batch_size or 1  # in an epoch; 1 where the data decides how many there are
    if round(train.warmup_epochs * steps) >= (train.epochs - train.cooldown_epochs) * steps:
        less = f", less train.cooldown_epochs, {train.cooldown_epochs}" if train.cooldown_epochs else ""
        yield "train.warmup_epochs", f"must end at least one step before train.epochs, {train.epochs}{less}"


def _near_divisors(number: int, value: int) -> str:
    """The divisors of a number that are next to a value which is none."""
    divisors = [divisor for divisor in range(1, number + 1) if number % divisor == 0]
    below = [divisor for divisor in divisors if divisor < value][-1:]
    return " or ".join(map(str, below + [divisor for divisor in divisors if divisor > value][:1]))
