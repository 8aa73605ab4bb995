"""The shipped configs against the published recipes, value by value, and options that reach where they are used."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax import build, config, convert, reuse
from stata_jax.configs import FOLDER

CIFAR10 = {"data.mean": (0.4914, 0.4822, 0.4465), "data.std": (0.2470, 0.2435, 0.2616)}
# Epochs are the paper's where it gives them; otherwise the published ones, and 10 of cool-down in all of them.
CIFAR = CIFAR10 | {
    "train.optimizer": "adamw",
    "train.epochs": 310,
    "train.batch_size": 192,
    "train.weight_decay": 0.06,
    "augment.flip": True,
    "augment.crop_padding": 0,
    "augment.randaugment_count": 1,
    "augment.randaugment_magnitude": 9.0,
    "augment.randaugment_std": 0.4,
    "augment.mixup": 0.5,
    "augment.cutmix": 0.0,
    "augment.mix_probability": 1.0,
    "augment.mix_off_epoch": 0,
    "augment.erasing_noise": False,
}
AUTHORS = {
    "spikformer": {"augment.randaugment_operations": "five", "augment.erasing": 0.25, "model.heads": 12},
    "spikingformer": {"augment.randaugment_operations": "fifteen", "augment.erasing": 0.25},
    "sdt": {"augment.randaugment_operations": "fifteen", "augment.erasing": 0.0, "model.heads": 8},
}
IMAGENET = {
    "data.mean": (0.485, 0.456, 0.406),
    "data.std": (0.229, 0.224, 0.225),
    "train.epochs": 310,
    "train.batch_size": 128,
    "augment.flip": True,
    "augment.randaugment_count": 2,
    "augment.randaugment_std": 0.5,
    "augment.randaugment_operations": "fifteen",
    "augment.cutmix": 1.0,
    "augment.switch_probability": 0.5,
    "augment.mix_off_epoch": 0,
    "augment.erasing_noise": False,
}
WHOLE = IMAGENET | {
    "augment.crop_scale": (1.0, 1.0),
    "data.test_crop": 1.0,
    "augment.randaugment_magnitude": 9.0,
    "augment.mixup": 0.8,
    "augment.erasing": 0.25,
}
CROPPED = IMAGENET | {
    "augment.crop_scale": (0.08, 1.0),
    "data.test_crop": 0.95,
    "augment.randaugment_magnitude": 7.0,
    "augment.mixup": 0.2,
    "augment.erasing": 0.0,
}
EVENTS = {
    "augment.events": True,
    "augment.mixup": 0.5,
    "augment.mix_probability": 0.5,
    "augment.mix_off_epoch": 75,
    "train.batch_size": 16,
}
PLAIN = {"augment.events": False, "augment.mixup": 0.0, "augment.cutmix": 0.0}


def rates(peak, least, warmup, start, decay, optimizer="adamw"):
    return {
        "train.optimizer": optimizer,
        "train.learning_rate": peak,
        "train.min_learning_rate": least,
        "train.warmup_epochs": warmup,
        "train.warmup_learning_rate": start,
        "train.weight_decay": decay,
    }


SPIKES = rates(5e-4, 1e-5, 20.0, 1e-5, 0.06)
RECIPES = {
    "cifar10:spikformer": CIFAR | AUTHORS["spikformer"] | SPIKES,
    "cifar100:spikformer": CIFAR | AUTHORS["spikformer"] | SPIKES,
    "cifar10:spikingformer": CIFAR | AUTHORS["spikingformer"] | SPIKES | {"model.heads": 12},
    "cifar100:spikingformer": CIFAR | AUTHORS["spikingformer"] | SPIKES | {"model.heads": 8},
    "cifar10:sdt": CIFAR | AUTHORS["sdt"] | rates(3e-4, 1e-5, 20.0, 1e-6, 0.06),
    "cifar100:sdt": CIFAR | AUTHORS["sdt"] | rates(3e-4, 1e-5, 20.0, 1e-6, 0.06),
    "imagenet:spikformer": WHOLE | rates(5e-4, 1e-5, 20.0, 1e-6, 0.05),
    "imagenet:spikingformer": WHOLE | rates(5e-4, 1e-5, 20.0, 1e-6, 0.05),
    "imagenet:sdt": CROPPED | rates(1e-3, 2e-5, 20.0, 1e-5, 0.01, "lamb"),
    "cifar10_dvs:spikformer": EVENTS | rates(1e-3, 1e-5, 10.0, 1e-5, 0.06) | {"train.epochs": 106},
    "cifar10_dvs:spikingformer": EVENTS | rates(1e-3, 1e-5, 10.0, 1e-5, 0.06) | {"train.epochs": 106},
    "dvs128_gesture:spikformer": EVENTS | rates(1e-3, 1e-5, 10.0, 1e-5, 0.06) | {"train.epochs": 202},
    "dvs128_gesture:spikingformer": EVENTS | rates(1e-3, 1e-5, 10.0, 1e-5, 0.06) | {"train.epochs": 202},
    "cifar10_dvs:sdt": PLAIN | rates(7.5e-3, 3e-4, 10.0, 1e-3, 1e-4) | {"train.epochs": 210, "train.batch_size": 32},
    "dvs128_gesture:sdt": PLAIN
    | rates(3e-4, 1e-5, 10.0, 1e-6, 0.06, "lamb")
    | {"train.epochs": 210, "train.batch_size": 16},
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_config_is_the_published_recipe(name):
    settings = config.load(name)
    config.check(settings)
    wanted = RECIPES[name] | {
        "train.cooldown_epochs": 10,
        "train.schedule_by": "epoch",
        "augment.label_smoothing": 0.1,
        "augment.randaugment_increasing": True,
    }
    assert {key: settings[key] for key in wanted} == wanted


def test_every_family_of_every_published_data_set_has_its_row():
    names = {"cifar10", "cifar100", "imagenet", "cifar10_dvs", "dvs128_gesture"}
    assert {path.stem for path in FOLDER.glob("*.py")} >= names
    assert RECIPES.keys() == {f"{name}:{family}" for name in names for family in AUTHORS}


@pytest.mark.parametrize("crop", [1.0, 0.5])
def test_the_test_crop_of_a_config_is_what_testing_sees(crop, tmp_path):
    """Of a picture that is black but for the middle quarter of its side, by its own source and by a folder's."""
    from PIL import Image

    side = np.zeros((64, 64, 3), np.uint8)
    side[16:48, 16:48] = 255
    for split in ("train", "val"):
        for label in "ab":
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            Image.fromarray(side).save(folder / "x.png")
    values = {"data.path": str(tmp_path), "data.num_classes": 2, "data.test_crop": crop, "data.image_size": 32}
    settings = config.load("image_folder", values | {"train.batch_size": 2, "eval.batch_size": 2})
    image = build.source(settings).test_batch(0)["image"][0]
    assert np.mean(image) / 255 == pytest.approx(1.0 if crop == 0.5 else 0.25, abs=0.02)


def test_the_operations_of_a_config_are_those_that_are_drawn():
    """None of the five changes the colours of an image of one grey, which inverting and brightening do."""
    images = jnp.full((400, 8, 8, 3), 60, jnp.uint8)
    values = {"data.mean": (), "data.std": (), "augment.mixup": 0.0, "augment.erasing": 0.0}
    seen = {}
    for operations in ("five", "fifteen"):
        settings = config.load("cifar100", values | {"augment.randaugment_operations": operations})
        made, _ = build.augment(settings, steps_per_epoch=1)(
            jax.random.key(0), images, jnp.zeros(400, jnp.int32), jnp.int32(0)
        )
        seen[operations] = {*np.unique(np.rint(np.asarray(made) * 255).astype(int))}
    # 128 comes from outside; bicubic interpolation of grey is that grey, for outside pixels are no neighbours.
    assert seen["five"] == {60, 128} and seen["fifteen"] > {60, 128, 195}


FIXTURES = sorted((pathlib.Path(__file__).parent / "fixtures").glob("*_imagenet.npz"))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_converted_imagenet_model_is_tested_as_its_authors_do(path, tmp_path, capsys):
    with np.load(path) as arrays:
        state = {n.removeprefix("state/"): arrays[n] for n in arrays.files if n.startswith("state/")}
        meta = json.loads(str(arrays["meta"]))
    np.savez(tmp_path / "a.npz", **state)
    flags = [f"--family={meta['family']}", f"--heads={meta['heads']}", f"--timesteps={meta['T']}"]
    assert convert.main([f"--input={tmp_path / 'a.npz'}", f"--output={tmp_path / 'run'}", *flags]) == 0
    crop = 0.95 if meta["family"] == "sdt" else 1.0
    assert reuse.read_settings(tmp_path / "run").data.test_crop == crop
    assert f"data.test_crop={crop}" in capsys.readouterr().out
