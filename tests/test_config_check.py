"""`check`: the borders that are possible, and one impossible value or more for every rule."""

import math
import pathlib

import pytest
from ml_collections import ConfigDict

from stata_jax import config
from stata_jax.config.options import OPTIONS

COMMON = pathlib.Path(__file__).resolve().parents[1] / "configs" / "common.py"


@pytest.fixture
def base() -> ConfigDict:
    return config.load(COMMON)


def config_from_common(**values: object) -> ConfigDict:
    """The defaults with other values; a double underscore stands for the dot of a key."""
    return config.apply_overrides(config.load(COMMON), {key.replace("__", "."): value for key, value in values.items()})


@pytest.mark.parametrize(
    "values",
    [
        {"sparsity__keep_rate": 1.0, "sparsity__anchor": False},
        {"sparsity__anchor": False, "sparsity__metric": "l1", "sparsity__pool": "tokens"},
        {"sparsity__keep_rate": 1e-6},
        {"model__depth": 1, "sparsity__prune_at": (0,)},
        {"sparsity__prune_at": (), "align__intra_at": (3,), "align__inter_at": (0, 1, 2, 3)},
        {"model__pooling": "1111", "data__image_size": 224},
        {"model__dim": 8, "model__heads": 8},
        {"model__tau": 1.0},
        {"model__tau": 1.1, "model__neuron": "plif"},
        {"model__family": "sdt", "model__dvs_mode": True},
        {"data__channels": 3, "data__num_classes": 100},
        {"data__source": "none", "data__num_classes": 2},
        {"train__epochs": 1, "train__warmup_epochs": 0.4, "train__batch_size": 8192},  # one step, none to warm up
        {"train__epochs": 1, "train__warmup_epochs": 0.0, "train__min_learning_rate": 0.0},
        {"train__epochs": 21, "train__cooldown_epochs": 0, "train__schedule_by": "epoch"},
        {"train__epochs": 31, "train__cooldown_epochs": 10, "train__optimizer": "lamb"},
        {"train__accumulate": 192, "train__base_batch_size": 256, "train__ema_decay": 0.9999},
        {"seed": 2**32 - 1},
        {"data__digits__clutter": 0, "data__digits__noise": 0.0, "data__digits__size": 32},
    ],
)
def test_check_accepts_the_borders(values):
    config.check(config_from_common(**values))


IMPOSSIBLE = [
    ("sparsity.keep_rate", 0.0, "above 0 and at most 1"),
    ("sparsity.keep_rate", 1.2, "above 0 and at most 1"),
    ("sparsity.keep_rate", math.nan, "above 0 and at most 1"),
    ("sparsity.metric", "ancor", "anchor, ssa, l1, firing, saliency, random"),
    ("sparsity.slots", "x", "sorted, stable"),
    ("sparsity.prune_at", (1.0,), "increasing order"),
    ("data.mean", (0.5, 0.5), "each of the 1 channels"),
    ("data.std", (0.5,), "as many numbers as data.mean"),
    ("data.std", (0.0,), "above 0"),
    ("data.workers", -1, "from 0 to"),
    ("data.frames", "time", "count, duration"),
    ("data.split", "", "published, number or a file's name"),
    ("data.split", "number", "published for data.source digits: cifar10_dvs alone has several splits"),
    ("data.sensor.threshold", 0.0, "above 0"),
    ("data.sensor.noise", -1.0, "at least 0"),
    ("augment.crop_padding", -1, "from 0 to"),
    ("data.path", "pictures", "is for data.source image_folder: data.manual_dir names the folder of published files"),
    ("augment.crop_scale", (0.0, 1.0), "above 0 and at most 1"),
    ("augment.crop_scale", (0.9, 0.5), "above 0 and at most 1"),
    ("augment.crop_scale", (0.5,), "above 0 and at most 1"),
    ("augment.crop_scale", (0.5, 1.0), "for data.source digits"),
    ("augment.randaugment_count", -1, "from 0 to"),
    ("augment.randaugment_operations", "six", "fifteen, five"),
    ("augment.event_cutout", "edge", "side, area"),
    ("augment.extra", "no_such_module:blur", "module:object"),
    ("augment.extra", "json:dumps,", "module:object"),
    ("data.test_crop", 0.0, "above 0 and at most 1"),
    ("data.test_crop", 1.01, "above 0 and at most 1"),
    ("augment.randaugment_magnitude", 11.0, "from 0 to 10"),
    ("augment.randaugment_std", -0.1, "at least 0"),
    ("augment.erasing", 1.1, "from 0 to 1"),
    ("augment.cutmix", -1.0, "at least 0"),
    ("augment.mix_probability", 2.0, "from 0 to 1"),
    ("augment.switch_probability", -0.5, "from 0 to 1"),
    ("augment.mix_off_epoch", -1, "at least 0"),
    ("sparsity.pool", "x", "all, tokens"),
    ("sparsity.prune_at", (0, 4), "from 0 to 3"),
    ("sparsity.prune_at", (-1, 2), "increasing order"),
    ("sparsity.prune_at", (2, 2), "increasing order"),
    ("align.intra_at", (2, 1), "increasing order"),
    ("align.intra_at", (9,), "from 0 to 3"),
    ("align.inter_at", (9,), "from 0 to 3"),
    ("sparsity.anchor_init", -1.0, "at least 0"),
    ("align.match", "x", "interpolate, gather"),
    ("align.distance", "l2", "norm, mse"),
    ("align.intra_tokens", "all", "patches, slots"),
    ("align.alpha", -0.1, "at least 0"),
    ("align.beta", math.inf, "at least 0"),
    ("model.family", "vit", "spikformer, spikingformer, sdt"),
    ("model.neuron", "izhikevich", "lif, plif"),
    ("train.loss", "mse", "cross_entropy, tet"),
    ("train.tet_means", math.nan, "a number"),
    ("train.tet_lambda", 1.1, "from 0 to 1"),
    ("train.batch_norm", "none", "all, device"),
    ("train.frozen", "(", "must be a regular expression"),
    ("train.kernels", "auto-pool", "auto, plain, cpu, gpu"),
    ("train.kernels", "tpu", "auto, plain, cpu, gpu"),
    ("model.heads", 7, "divide model.dim, 384: 6 or 8 would do"),
    ("model.heads", 500, "384 would do"),
    ("model.heads", 0, "from 1 to"),
    ("model.dim", 100, "multiple of 8"),
    ("model.dim", 0, "multiple of 8"),
    ("model.depth", 0, "from 1 to"),
    ("model.timesteps", 0, "from 1 to"),
    ("model.mlp_ratio", 0, "from 1 to"),
    ("model.pooling", "011", "four digits"),
    ("model.pooling", "0012", "four digits"),
    ("model.pooling", "00110", "four digits"),
    ("model.tau", 0.9, "at least 1"),
    ("model.threshold", 0.0, "above 0"),
    ("model.attention_threshold", -1.0, "above 0"),
    ("model.attention_scale", 0.0, "above 0"),
    ("model.surrogate_alpha", 0.0, "above 0"),
    ("model.dtype", "float16", "float32, bfloat16"),
    ("data.source", "mnist", "digits"),
    ("data.image_size", 30, "multiple of 4"),
    ("data.image_size", 12, "must be at most data.image_size, 12"),
    ("data.channels", 0, "from 1 to"),
    ("data.num_classes", 9, "must be at least 10, for data.source digits"),
    ("data.train_examples", 191, "must be at most data.train_examples, 191"),
    ("data.train_examples", 0, "at least 1"),
    ("data.test_examples", 0, "at least 1"),
    ("data.test_seed", -1, "from 0"),
    ("data.digits.size", 33, "at most data.image_size, 32"),
    ("data.digits.fragment", 17, "at most data.digits.size, 16"),
    ("data.digits.clutter", -1, "from 0 to"),
    ("data.digits.noise", -0.1, "at least 0"),
    ("augment.mixup", -0.1, "at least 0"),
    ("augment.label_smoothing", 1.0, "below 1"),
    ("train.epochs", 0, "from 1 to"),
    ("model.dim", 65_544, "at most 65536"),
    ("train.batch_size", 2**20 + 1, "from 1 to 1048576"),
    ("train.learning_rate", 1e300, "above 0"),
    ("train.epochs", 20, "before train.epochs, 20"),
    ("train.batch_size", 0, "from 1 to"),
    ("train.accumulate", 0, "from 1 to"),
    ("train.accumulate", 5, "must divide train.batch_size, 192: 4 or 6 would do"),
    ("train.optimizer", "sgd", "adamw, lamb"),
    ("train.schedule_by", "epochs", "step, epoch"),
    ("train.cooldown_epochs", -1, "from 0 to"),
    ("train.cooldown_epochs", 310, "must be below train.epochs, 310"),
    ("train.cooldown_epochs", 290, "before train.epochs, 310, less train.cooldown_epochs, 290"),
    ("train.base_batch_size", -1, "from 0 to"),
    ("train.ema_decay", 1.0, "at least 0 and below 1"),
    ("train.ema_decay", -0.1, "at least 0 and below 1"),
    ("train.learning_rate", 0.0, "above 0"),
    ("train.min_learning_rate", 1e-3, "at most train.learning_rate"),
    ("train.warmup_learning_rate", 1e-3, "at most train.learning_rate"),
    ("train.warmup_epochs", -1.0, "at least 0"),
    ("train.warmup_epochs", 309.999, "one step before"),
    ("train.weight_decay", -0.1, "at least 0"),
    ("train.grad_clip", -0.1, "at least 0"),
    ("train.log_every", 0, "at least 1"),
    ("train.cpu_devices", 0, "from 1 to"),
    ("train.cpu_threads", -1, "from 0 to"),
    ("train.on_nonfinite", "go", "one of stop, skip"),
    ("eval.batch_size", 0, "from 1 to"),
    ("eval.every_epochs", 0, "at least 1"),
    ("checkpoint.every_steps", -1, "at least 0"),
    ("checkpoint.every_minutes", -1.0, "at least 0"),
    ("checkpoint.keep", 0, "at least 1"),
    ("seed", -1, "from 0 to 4294967295"),
    ("seed", 2**32, "from 0 to 4294967295"),
    ("name", "", "folder name"),
    ("name", "a/b", "folder name"),
    ("name", "..", "folder name"),
    ("name", "a\n", "folder name"),
]


STRINGS = ("init_from", "data.data_dir", "data.manual_dir")


def test_every_key_but_the_switches_is_tried(base):
    free = {key for key in OPTIONS if isinstance(base[key], bool)} | set(STRINGS)  # any string will do
    assert {key for key, _, _ in IMPOSSIBLE} == OPTIONS.keys() - free


@pytest.mark.parametrize(("key", "value", "possible"), IMPOSSIBLE)
def test_check_refuses_the_impossible(base, key, value, possible):
    changed = config.apply_overrides(base, {key: value})
    with pytest.raises(config.ConfigError) as caught:
        config.check(changed)
    text = str(caught.value)
    assert possible in text and text.count("\n") == 0
    # A value that breaks the rule of another key is in that key's sentence.
    assert text.startswith(f"{key} is {changed[key]!r}, but") or f"{key}, {value}" in text


def test_check_of_the_anchor_metric_without_an_anchor():
    with pytest.raises(
        config.ConfigError, match=r"sparsity\.metric is 'anchor', but it must be ssa, l1, firing, saliency, random"
    ):
        config.check(config_from_common(sparsity__anchor=False))


@pytest.mark.parametrize(
    "key", ["augment.flip", "augment.crop_padding", "augment.randaugment_count", "augment.erasing"]
)
def test_check_of_augmentation_that_recordings_cannot_have(key):
    settings = config.load("configs/digits_dvs.py")
    config.check(settings)
    value = True if key == "augment.flip" else 1
    with pytest.raises(config.ConfigError, match=rf"{key} is {value}\S*, but it is for images, not for the recordings"):
        config.check(config.apply_overrides(settings, {key: value}))
    with pytest.raises(config.ConfigError, match=r"data\.channels is 1, but it must be 2"):
        config.check(config.apply_overrides(settings, {"data.channels": 1}))


@pytest.mark.parametrize(
    ("key", "value", "used", "unused"),
    [
        ("augment.crop_scale", (0.5, 1.0), ("imagenet", "image_folder"), ("cifar10", "digits", "cifar10_dvs")),
        ("data.test_crop", 0.95, ("imagenet", "image_folder"), ("cifar10", "cifar100", "digits", "nmnist")),
        ("augment.event_cutout", "area", ("cifar10_dvs", "nmnist", "digits_dvs"), ("cifar10", "digits", "imagenet")),
        ("data.frames", "duration", ("dvs128_gesture", "digits_dvs"), ("cifar100", "digits", "image_folder")),
        ("data.split", "number", ("cifar10_dvs",), ("dvs128_gesture", "nmnist", "digits", "imagenet")),
    ],
)
def test_check_of_options_that_a_source_does_not_heed(key, value, used, unused):
    for name in used:
        config.check(config.load(name, {key: value}))
    config.check(config_from_common(data__source="none", **{key.replace(".", "__"): value}))
    for name in unused:
        with pytest.raises(config.ConfigError, match=rf"{key} is .*, but it must be .* for data\.source {name}: "):
            config.check(config.load(name, {key: value}))


def test_check_of_digits_in_recordings():
    settings = config.load("configs/digits_dvs.py")
    for key, value, most in (("size", 33, "data.image_size, 32"), ("fragment", 17, "data.digits.size, 16")):
        with pytest.raises(config.ConfigError, match=rf"data\.digits\.{key} is {value}, but it must be at most {most}"):
            config.check(config.apply_overrides(settings, {f"data.digits.{key}": value}))


def test_check_of_options_that_do_not_go_together():
    with pytest.raises(config.ConfigError, match=r"augment\.events is True, but .* digits has no recordings"):
        config.check(config_from_common(augment__events=True))
    with pytest.raises(config.ConfigError, match=r"model\.dvs_mode is True, but it needs model\.family sdt"):
        config.check(config_from_common(model__dvs_mode=True))
    with pytest.raises(config.ConfigError, match=r"model\.tau is 1\.0, but it must be above 1 for plif"):
        config.check(config_from_common(model__neuron="plif", model__tau=1.0))


@pytest.mark.parametrize("lost", ["model", "model.depth"])
def test_check_of_a_config_without_a_key(base, lost):
    with base.unlocked():
        del base[lost]
    with pytest.raises(config.ConfigError, match=r"has no key model\.\w+: start from configs/common\.py"):
        config.check(base)


def test_check_of_types_that_a_file_may_have_set(base):
    base.model.depth = True  # ConfigDict lets a bool pass as an int
    with pytest.raises(config.ConfigError, match=r"model\.depth is True"):
        config.check(base)
