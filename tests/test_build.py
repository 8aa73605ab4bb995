"""From config to parts."""

import dataclasses
import pathlib

import jax.numpy as jnp
import pytest

from configs import common, digits
from stata_jax import build, config


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
        "sparsity.anchor_init": 3.0,
    }
    settings = common.get_config()
    keys = {f"{part}.{key}" for part in ("model", "sparsity") for key in settings[part]} - {"model.family"}
    assert changed.keys() == keys
    model = build.model(config.apply_overrides(settings, changed), axis_name="batch")
    for key, value in changed.items():
        assert getattr(model, key.split(".")[1]) == (jnp.bfloat16 if key == "model.dtype" else value), key
    fields = {field.name for field in dataclasses.fields(model)} - {"parent", "name", "num_classes", "axis_name", "lean"}
    assert fields == {key.split(".")[1] for key in keys}  # and no field lacks a key


def test_objective_takes_every_align_key():
    settings = common.get_config()
    options = build.objective(settings).keywords
    assert set(settings.align) <= set(options)
    assert options["scale"] == settings.model.attention_scale
    train = settings.train
    assert options["classification"] == train.loss
    assert (options["tet_means"], options["tet_lambda"]) == (train.tet_means, train.tet_lambda)


@pytest.mark.parametrize("lean", [True, False])
def test_model_takes_the_lean_mode(lean):
    settings = config.apply_overrides(common.get_config(), {"train.lean": lean})
    assert build.model(settings).lean is lean


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


def test_every_config_file_is_possible():
    folder = pathlib.Path(common.__file__).parent
    for path in sorted(folder.glob("*.py")):
        config.check(config.load(path))
