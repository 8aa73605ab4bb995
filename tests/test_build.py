"""From config to parts."""

import dataclasses
import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from picture_folders import split, write

from stata_jax import build, config, registries, speed
from stata_jax.configs import common, digits, variants
from stata_jax.errors import ConfigError
from stata_jax.ops.operations import PLAIN
from stata_jax.pruning.maps import Aligned
from stata_jax.pruning.placement import align_positions

# Of the augmentation, those that go on by name: crops of pictures are cut where they are decoded, epochs become steps.
AUGMENT = [item for item in common.get_config().augment.items() if item[0] not in ("crop_scale", "mix_off_epoch")]


def test_placement_is_the_papers_unless_given():
    settings = common.get_config()  # depth 4
    assert build.placement(settings) == ((1,), (0, 2, 3), (0, 2, 3))
    given = {"sparsity.prune_at": (0, 3), "align.intra_at": (1,), "align.inter_at": (0, 1)}
    assert build.placement(config.apply_overrides(settings, given)) == ((0, 3), (1,), (0, 1))
    assert build.placement(config.apply_overrides(settings, {"sparsity.keep_rate": 1.0}))[0] == ()


def test_every_model_and_sparsity_key_reaches_the_model():
    """Each key is a field of the model of the same name, set from the config."""
    changed = {
        "model.timesteps": 2,
        "model.dim": 48,
        "model.depth": 3,
        "model.heads": 6,
        "model.mlp_ratio": 2,
        "model.pooling": "1111",
        "model.attention_scale": 0.25,
        "model.qkv_bias": True,
        "model.dvs_mode": True,
        "model.neuron": "plif",
        "model.tau": 1.5,
        "model.threshold": 0.9,
        "model.attention_threshold": 0.4,
        "model.surrogate_alpha": 3.0,
        "model.dtype": "bfloat16",
        "sparsity.anchor": False,
        "sparsity.keep_rate": 0.7,
        "sparsity.metric": "ssa",
        "sparsity.timestep_wise": False,
        "sparsity.prune_at": (0, 2),
        "sparsity.slots": "stable",
        "sparsity.pool": "tokens",
        "sparsity.rescale": True,
        "sparsity.anchor_init": 3.0,
    }
    settings = common.get_config()
    keys = {f"{part}.{key}" for part in ("model", "sparsity") for key in settings[part]} - {"model.family"}
    assert changed.keys() == keys
    model = build.model(config.apply_overrides(settings, changed), axis_name="batch")
    for key, value in changed.items():
        assert getattr(model, key.split(".")[1]) == (jnp.bfloat16 if key == "model.dtype" else value), key
    others = {"parent", "name", "num_classes", "axis_name", "ops", "align"}
    fields = {field.name for field in dataclasses.fields(model)} - others
    assert fields == {key.split(".")[1] for key in keys}  # and no field lacks a key


def test_every_augment_key_reaches_the_pipeline():
    settings = common.get_config()
    changed = {f"augment.{key}": not value if isinstance(value, bool) else type(value)() for key, value in AUGMENT}
    options = build.augment_options(config.apply_overrides(settings, changed), steps_per_epoch=4)
    assert all(getattr(options, key) == changed[f"augment.{key}"] for key, _ in AUGMENT)
    options = build.augment_options(config.apply_overrides(settings, {"augment.mix_off_epoch": 3}), steps_per_epoch=4)
    assert options.mix_off_step == 12


def test_every_data_key_reaches_the_source():
    """Those of the pictures as they are seen, and of the sensor, have names of their own."""
    settings = config.load("digits_dvs", {"data.test_seed": 5, "data.data_dir": "/a", "train.batch_size": 7, "seed": 3})
    options = build.source_options(settings)
    data = settings.data
    others = {"digits", "sensor", "mean", "std"}
    assert all(getattr(options, key) == value for key, value in data.items() if key not in others)
    assert all(getattr(options, key) == value for key, value in data.digits.items())
    assert (options.threshold, options.noise_hz) == (data.sensor.threshold, data.sensor.noise)
    assert (options.batch_size, options.eval_batch_size, options.seed) == (7, settings.eval.batch_size, 3)
    assert (options.timesteps, options.crop_scale) == (settings.model.timesteps, settings.augment.crop_scale)


def test_objective_and_maps_take_every_align_key():
    values = {"intra_at": (1,), "inter_at": (0, 2), "intra_time": False, "intra_heads": False, "match": "gather"}
    values["intra_tokens"] = "slots"
    settings = common.get_config()
    options = build.objective(settings).keywords
    assert set(settings.align) == set(values) | {"alpha", "beta", "distance"}
    assert {"alpha", "beta", "distance"} <= set(options)
    train = settings.train
    assert options["classification"] == train.loss
    assert (options["tet_means"], options["tet_lambda"]) == (train.tet_means, train.tet_lambda)
    changed = config.apply_overrides(settings, {f"align.{key}": value for key, value in values.items()})
    of_maps = dict(intra_time=False, intra_heads=False, match="gather", intra_tokens="slots")
    assert build.aligned(changed) == Aligned((1,), (0, 2), **of_maps)
    optimizer, _ = build.optimizer(changed, steps_per_epoch=1)
    assert build.step(changed, optimizer, steps_per_epoch=1).keywords["model"].align == build.aligned(changed)


def test_a_weight_of_zero_aligns_nothing():
    for weight, blocks in [("alpha", "intra_at"), ("beta", "inter_at")]:
        settings = config.apply_overrides(common.get_config(), {f"align.{weight}": 0.0})
        assert getattr(build.aligned(settings), blocks) == ()
        other = {"intra_at", "inter_at"} - {blocks}
        assert getattr(build.aligned(settings), other.pop()) == align_positions(settings.model.depth)


@pytest.mark.parametrize(
    ("changes", "kernels", "options"),
    [
        ({}, "cpu", {}),
        ({"train.kernels": "plain"}, "plain", {}),
        ({"train.kernels": "gpu", "train.lean": False}, "gpu", {"in_bytes": False}),
        ({"train.recompute": True}, "auto", {"remat": True}),
        ({"train.kernels": "gpu-max_pool"}, "gpu-max_pool", {}),
    ],
)
def test_model_takes_the_operations_of_the_config(changes, kernels, options):
    settings = config.apply_overrides(common.get_config(), changes)
    assert build.model(settings).ops == speed.operations(kernels, **options)


def test_the_environment_goes_before_the_config(monkeypatch):
    monkeypatch.setenv("STATA_KERNELS", "plain")
    assert build.model(common.get_config()).ops == PLAIN
    monkeypatch.setenv("STATA_KERNELS", "fast")
    with pytest.raises(ConfigError, match="is 'fast', but it must be one of auto, plain, cpu, gpu"):
        build.model(common.get_config())


def test_operations_that_are_left_out_stay_plain():
    left = speed.operations("cpu-max_pool-lif")
    assert (left.max_pool, left.lif) == (PLAIN.max_pool, PLAIN.lif)
    assert dataclasses.replace(speed.operations("cpu"), max_pool=PLAIN.max_pool, lif=PLAIN.lif) == left
    assert set(registries.REPLACED) == {
        field.name
        for field in dataclasses.fields(PLAIN)
        if getattr(PLAIN, field.name) != getattr(speed.operations("cpu"), field.name)
    }
    with pytest.raises(ConfigError, match=r"is 'cpu-pool', but it must be one of .*auto-max_pool: lif, .*max_pool"):
        speed.operations("cpu-pool")


@pytest.mark.parametrize("family", variants.FAMILIES)
def test_queries_and_keys_can_be_frozen_in_each_family(family):
    settings = config.load(f"digits:{family}", {"train.frozen": "attention/[qk]/"})
    optimizer, _ = build.optimizer(settings, steps_per_epoch=1)
    variables = jax.eval_shape(build.model(settings).init, jax.random.key(0), jnp.zeros((1, 32, 32, 1)))
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), variables["params"])
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    moved = {jax.tree_util.keystr(path) for path, leaf in jax.tree_util.tree_leaves_with_path(updates) if leaf.any()}
    of_queries = {path for path in moved if "'q'" in path or "'k'" in path}
    assert not of_queries and any("'v'" in path for path in moved)


def test_step_takes_accumulation_and_averaging():
    settings = config.apply_overrides(common.get_config(), {"train.accumulate": 3, "train.ema_decay": 0.5})
    options = build.step(settings, build.optimizer(settings, steps_per_epoch=1)[0], steps_per_epoch=1).keywords
    assert (options["accumulate"], options["ema_decay"]) == (3, 0.5)


def test_evaluation_looks_at_the_digit_where_tokens_are_dropped():
    values = {"data.digits.size": 12, "data.image_size": 64, "model.pooling": "0111"}
    settings = config.apply_overrides(digits.get_config(), values)
    assert build.test_step(settings).keywords["cover"].keywords == {"size": 12, "grid": 8, "patch": 8}
    assert build.test_step(digits.get_config("dense")).keywords["cover"] is None


def test_augment_smooths_and_mixes():
    settings = config.apply_overrides(common.get_config(), {"augment.mixup": 0.5, "augment.label_smoothing": 0.2})
    images, labels = jnp.arange(4, dtype=jnp.float32).reshape(4, 1, 1, 1), jnp.asarray([0, 1, 2, 3])
    mixed, targets = build.augment(settings, steps_per_epoch=1)(jax.random.key(0), images, labels, jnp.int32(0))
    share = float(mixed[0, 0, 0, 0]) / 3  # of the partner in the mirrored place
    assert 0 < share < 1
    hard = 0.8 * np.eye(10)[:4] + 0.02
    np.testing.assert_allclose(targets, (1 - share) * hard + share * hard[::-1], rtol=1e-5)


RECIPE = {"train.epochs": 310, "train.cooldown_epochs": 10, "train.warmup_epochs": 20.0}


def rates(steps, **train):
    """Learning rates at steps of epochs of 4, from the config."""
    values = RECIPE | {f"train.{key}": value for key, value in train.items()}
    _, schedule = build.optimizer(config.apply_overrides(common.get_config(), values), steps_per_epoch=4)
    return [float(schedule(jnp.asarray(step))) for step in steps]


def test_learning_rate_of_the_recipe():
    """Peak 5e-4, from and to 1e-5, cosine to epoch 300."""
    steps = [0, 40, 80, 640, 1200, 1239]
    assert rates(steps) == pytest.approx([1e-5, 2.55e-4, 5e-4, 2.55e-4, 1e-5, 1e-5], rel=1e-5)
    steps = [0, 3, 4, 80, 83, 600, 603, 1199, 1200, 1239]
    expected = [1e-5, 1e-5, 3.45e-5, 4.946461e-4, 4.946461e-4, 2.55e-4, 2.55e-4, 1.001343e-5, 1e-5, 1e-5]
    assert rates(steps, schedule_by="epoch") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("schedule_by", ["step", "epoch"])
def test_batch_size_rule_scales_all_rates(schedule_by):
    steps = [0, 40, 80, 640, 1200, 1239]
    plain = np.asarray(rates(steps, schedule_by=schedule_by))
    scaled = rates(steps, schedule_by=schedule_by, batch_size=48, base_batch_size=192)
    np.testing.assert_allclose(scaled, plain / 4, rtol=1e-5)


def test_optimizer_takes_every_option():
    """Zero gradients leave the decay alone, which LAMB scales to the parameter's own size."""
    moves = {}
    for name in ("adamw", "lamb"):
        settings = config.apply_overrides(common.get_config(), {"train.optimizer": name, "train.weight_decay": 0.5})
        optimizer = build.optimizer(settings, steps_per_epoch=1)[0]
        params = {"w": jnp.ones((2, 2))}
        moves[name], _ = optimizer.update({"w": jnp.zeros((2, 2))}, optimizer.init(params), params)
    np.testing.assert_allclose(moves["adamw"]["w"], -0.5e-5, rtol=1e-5)
    np.testing.assert_allclose(moves["lamb"]["w"], -1e-5, rtol=1e-5)


def test_a_share_that_micro_batches_do_not_divide(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    settings = config.apply_overrides(common.get_config(), {"train.accumulate": 96})
    config.check(settings)
    build.check_devices(settings, parts=("eval",))
    message = r"train\.accumulate is 96, which does not divide the 48 examples of a step on each of 4 devices"
    with pytest.raises(config.ConfigError, match=message):
        build.check_devices(settings, parts=("train", "eval"))
    build.check_devices(config.apply_overrides(settings, {"train.accumulate": 48}), parts=("train",))


@pytest.mark.parametrize("variant", digits.VARIANTS)
def test_every_digits_variant_is_a_possible_config(variant):
    settings = digits.get_config(variant)
    config.check(settings)
    assert settings.name.startswith("digits")
    assert build.source(settings).steps_per_epoch == 256


def test_variants_differ_in_what_they_say():
    stata = digits.get_config()
    random, baseline, dense = (digits.get_config(variant) for variant in ("random", "baseline", "dense"))
    assert (stata.sparsity.metric, random.sparsity.metric, random.sparsity.anchor) == ("anchor", "random", True)
    assert random.align == stata.align
    assert (baseline.sparsity.metric, baseline.sparsity.anchor, baseline.align.alpha) == ("random", False, 0.0)
    assert (dense.sparsity.keep_rate, dense.sparsity.anchor, dense.align.beta) == (1.0, False, 0.0)
    assert len({digits.get_config(variant).name for variant in digits.VARIANTS}) == len(digits.VARIANTS)


def test_a_folder_of_pictures_becomes_batches_as_the_config_says(tmp_path):
    write(tmp_path / "train", split({"cat": 3, "dog": 2}))
    write(tmp_path / "test", split({"cat": 1, "dog": 1}, start=100))
    settings = config.load("image_folder")
    values = {"data.path": str(tmp_path), "train.batch_size": 5, "eval.batch_size": 2, "data.image_size": 16}
    with pytest.raises(config.ConfigError, match=r"data\.num_classes is 10, but there are 2 folders .* \(cat, dog\)"):
        build.source(config.apply_overrides(settings, values))
    settings = config.apply_overrides(settings, values | {"data.num_classes": 2})
    config.check(settings)
    source = build.source(settings)
    batch = source.test_batch(0)
    images = build.prepare(settings)(jnp.asarray(batch["image"]))
    mean, std = (np.asarray(settings.data[name]) for name in ("mean", "std"))
    for image, grey in zip(images, (100, 101), strict=True):
        np.testing.assert_allclose(image, np.broadcast_to((grey / 255 - mean) / std, (16, 16, 3)), rtol=1e-5)
    drawn = build.augment(settings, steps_per_epoch=1)(
        jax.random.key(0), jnp.asarray(source.train_batch(0, 0)["image"]), jnp.zeros(5, jnp.int32), jnp.int32(0)
    )
    assert drawn[0].shape == (5, 16, 16, 3)


def test_every_config_file_is_possible():
    folder = pathlib.Path(common.__file__).parent
    paths = sorted(set(folder.glob("*.py")) - {folder / "variants.py", folder / "grids.py"})
    assert len(paths) == 12
    for path in paths:
        config.check(config.load(path))
    for path in set(paths) - {folder / "common.py"}:
        for family, pruning in itertools.product(variants.FAMILIES, variants.PRUNING):
            settings = config.load(f"{path}:{family}-{pruning}")
            config.check(settings)
            assert settings.model.family == family
            assert (settings.sparsity.keep_rate == 1) == (pruning == "dense")
            words = [word for word in (family, pruning) if word not in ("spikingformer", "stata")]
            assert settings.name == "_".join([path.stem, *words])
