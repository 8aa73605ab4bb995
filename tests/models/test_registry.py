"""The published models by name: their sizes, by shape evaluation alone, and models as a library call."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stata_jax
from stata_jax.models.registry import PUBLISHED
from stata_jax.models.spikingformer import Spikingformer
from stata_jax.train.state import count_parameters

# Trained parameters of the published models, without those that they carry and never use.
GOLDEN = {
    "spikformer_4_384": 9_324_730,
    "spikformer_8_384": 16_816_024,
    "spikformer_8_512": 29_689_384,
    "spikformer_8_768": 66_338_632,
    "spikformer_2_256_dvs": 2_566_666,
    "spikingformer_4_256": 4_152_106,
    "spikingformer_2_384": 5_762_746,
    "spikingformer_4_384": 9_320_122,
    "spikingformer_8_384": 16_816_024,
    "spikingformer_8_512": 29_689_384,
    "spikingformer_8_768": 66_338_632,
    "spikingformer_2_256_dvs": 2_566_666,
    "spikingformer_2_256_gesture": 2_566_923,
    "sdt_2_256": 2_566_954,
    "sdt_2_512": 10_233_418,
    "sdt_8_384": 16_816_024,
    "sdt_6_512": 23_373_352,
    "sdt_8_512": 29_689_384,
    "sdt_10_512": 36_005_416,
    "sdt_8_768": 66_338_632,
    "sdt_2_256_gesture": 2_566_923,
    "sdt_2_256_dvs": 2_566_666,
}


def shapes(model, entry):
    """Shapes of the variables, for one image or recording of the published size."""
    size = entry["input"]
    images = (*size[:-3], 1, *size[-3:])  # recordings have their time axis first
    return jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct(images, jnp.float32))


def test_every_published_name_has_its_row():
    assert GOLDEN.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_sizes(name):
    entry = PUBLISHED[name]
    assert count_parameters(shapes(stata_jax.create_model(name), entry)["params"]) == GOLDEN[name]


def test_dense_by_default():
    model = stata_jax.create_model("spikingformer_4_384")
    assert isinstance(model, Spikingformer)
    assert (model.keep_rate, model.anchor, model.num_classes, model.heads) == (1.0, False, 10, 12)


def test_cifar100_has_the_heads_that_were_published_for_it():
    heads = {
        name: [stata_jax.create_model(name, num_classes=classes).heads for classes in (10, 100)]
        for name in ("spikingformer_4_384", "spikformer_4_384", "sdt_2_512")
    }
    assert heads == {"spikingformer_4_384": [12, 8], "spikformer_4_384": [12, 12], "sdt_2_512": [8, 8]}
    assert stata_jax.create_model("spikingformer_4_384", num_classes=100, heads=6).heads == 6


def test_a_keep_rate_brings_the_anchor_and_the_papers_blocks():
    model = stata_jax.create_model("spikingformer_8_768", num_classes=100, keep_rate=0.2)
    assert (model.anchor, model.prune_at, model.num_classes) == (True, (2, 5), 100)
    shallow = stata_jax.create_model("spikingformer_8_768", keep_rate=0.2, depth=4, metric="ssa", anchor=False)
    assert (shallow.anchor, shallow.prune_at, shallow.metric) == (False, (1,), "ssa")


def test_a_model_classifies():
    model = stata_jax.create_model("sdt_2_256", num_classes=7, keep_rate=0.2, dim=32, timesteps=2)
    images = np.random.default_rng(0).uniform(size=(2, 16, 16, 3)).astype(np.float32)
    logits, aux = jax.jit(lambda images: model.init_with_output(jax.random.key(0), images)[0])(images)
    assert logits.shape == (2, 7)
    assert aux["positions"][0].shape == (2, 2, 4)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("spikingformer_4_348",), {}, "did you mean spikingformer_4_384"),
        (("resnet",), {}, "'resnet': did you mean spikformer_4_384"),
        (("sdt_2_256",), {"keep_rate": 0.0}, "keep_rate is 0.0"),
        (("sdt_2_256",), {"keep_rate": 1.2}, "keep_rate is 1.2"),
        (("sdt_2_256",), {"timestep": 2}, "no setting 'timestep': did you mean timesteps"),
    ],
)
def test_mistakes_are_named(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        stata_jax.create_model(*arguments, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "11"}, "four digits that are 0 or 1"),
        ({"heads": 5}, "got 384 and 5"),
        ({"dim": 100, "heads": 10}, "multiple of 8"),
        ({"dvs_mode": True}, "Spikingformer has no dvs_mode"),
        ({"prune_at": (9,)}, "blocks from 0 to 3"),
        ({"num_classes": 0}, "at least 1"),
        ({"pool": "max"}, "unknown pool 'max'"),
        ({"neuron": "if"}, "unknown neuron 'if'"),
    ],
)
def test_impossible_settings_are_named_at_the_first_use(settings, message):
    model = stata_jax.create_model("spikingformer_4_384", **settings)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))


def test_the_package_is_light_until_a_model_is_asked_for():
    code = "import sys, stata_jax; assert 'jax' not in sys.modules; stata_jax.create_model; assert 'jax' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'create_modell'"):
        _ = stata_jax.create_modell
