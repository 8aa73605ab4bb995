"""The shipped configs against the published recipes, value by value, and options that reach where they are used."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from stata_jax import build, config, convert, evaluate
from stata_jax.configs import FOLDER
from stata_jax.train import reuse
from stata_jax.train.checkpoint import Checkpoints
from stata_jax.train.metrics import write_json
from stata_jax.train.state import create_state


def network(timesteps, dim, depth, pooling, size, channels):
    """What all families have alike; sizes, patches and timesteps are those of the paper."""
    return {
        "model.timesteps": timesteps,
        "model.dim": dim,
        "model.depth": depth,
        "model.pooling": pooling,
        "model.mlp_ratio": 4,
        "model.neuron": "lif",
        "model.tau": 2.0,
        "model.threshold": 1.0,
        "model.attention_threshold": 0.5,
        "model.surrogate_alpha": 4.0,
        "model.attention_scale": 0.125,
        "model.qkv_bias": False,
        "model.dvs_mode": False,
        "data.image_size": size,
        "data.channels": channels,
        "train.loss": "cross_entropy",
        "train.grad_clip": 0.0,
    }


CIFAR10 = {"data.mean": (0.4914, 0.4822, 0.4465), "data.std": (0.2470, 0.2435, 0.2616)}
# Epochs are the paper's where it gives them; otherwise the published ones, and 10 of cool-down in all of them.
CIFAR = {
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
    "spikformer": network(4, 384, 4, "0011", 32, 3)
    | {"augment.randaugment_operations": "five", "augment.erasing": 0.25, "model.heads": 12, "model.qkv_bias": True},
    "spikingformer": network(4, 384, 4, "0011", 32, 3)
    | {"augment.randaugment_operations": "fifteen", "augment.erasing": 0.25},
    "sdt": network(4, 512, 2, "0011", 32, 3)
    | {"augment.randaugment_operations": "fifteen", "augment.erasing": 0.0, "model.heads": 8},
}
IMAGENET = network(4, 768, 8, "1111", 224, 3) | {
    "model.heads": 8,
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
# T = 16, 128x128 pixels and patches of 16x16 are the paper's; the Spike-driven Transformer's own differ.
RECORDINGS = network(16, 256, 2, "1111", 128, 2) | {
    "data.mean": (),
    "data.std": (),
    "data.frames": "count",
    "data.split": "published",
}
EVENTS = RECORDINGS | {
    "model.heads": 16,
    "augment.events": True,
    "augment.cutmix": 0.0,
    "augment.mixup": 0.5,
    "augment.mix_probability": 0.5,
    "augment.mix_off_epoch": 75,
    "train.batch_size": 16,
}
WEAK = {"model.attention_scale": 0.25}
FAST = {"model.tau": 1.5}
PLAIN = RECORDINGS | {"augment.events": False, "augment.mixup": 0.0, "augment.cutmix": 0.0, "model.heads": 8}
TET = {"train.loss": "tet", "train.tet_means": 1.0, "train.tet_lambda": 0.001, "model.dvs_mode": True}
LAMB = {"train.grad_clip": 1.0}  # of timm's LAMB, if it is not told otherwise


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
    "cifar10:spikformer": CIFAR | CIFAR10 | AUTHORS["spikformer"] | SPIKES,
    "cifar100:spikformer": CIFAR | CIFAR10 | AUTHORS["spikformer"] | SPIKES,
    "cifar10:spikingformer": CIFAR | CIFAR10 | AUTHORS["spikingformer"] | SPIKES | {"model.heads": 12},
    "cifar100:spikingformer": CIFAR | CIFAR10 | AUTHORS["spikingformer"] | SPIKES | {"model.heads": 8},
    "cifar10:sdt": CIFAR | CIFAR10 | AUTHORS["sdt"] | rates(3e-4, 1e-5, 20.0, 1e-6, 0.06),
    "cifar100:sdt": CIFAR | AUTHORS["sdt"] | rates(3e-4, 1e-5, 20.0, 1e-6, 0.06),
    "imagenet:spikformer": WHOLE | rates(5e-4, 1e-5, 20.0, 1e-6, 0.05),
    "imagenet:spikingformer": WHOLE | rates(5e-4, 1e-5, 20.0, 1e-6, 0.05),
    "imagenet:sdt": CROPPED | LAMB | rates(1e-3, 2e-5, 20.0, 1e-5, 0.01, "lamb"),
    "cifar10_dvs:spikformer": EVENTS | WEAK | rates(1e-3, 1e-5, 10.0, 1e-5, 0.06) | {"train.epochs": 106},
    "cifar10_dvs:spikingformer": EVENTS | FAST | rates(1e-3, 1e-5, 10.0, 1e-5, 0.06) | {"train.epochs": 106},
    "dvs128_gesture:spikformer": EVENTS | WEAK | rates(1e-3, 1e-5, 10.0, 1e-5, 0.06) | {"train.epochs": 202},
    "dvs128_gesture:spikingformer": EVENTS | FAST | rates(1e-3, 1e-5, 10.0, 1e-5, 0.06) | {"train.epochs": 202},
    "cifar10_dvs:sdt": PLAIN
    | TET
    | rates(7.5e-3, 3e-4, 10.0, 1e-3, 1e-4)
    | {"train.epochs": 210, "train.batch_size": 32},
    "dvs128_gesture:sdt": PLAIN
    | LAMB
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


CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000, "cifar10_dvs": 10, "dvs128_gesture": 11}


@pytest.mark.parametrize("name", CLASSES)
def test_a_config_has_the_classes_and_all_examples_of_its_data(name):
    data = config.load(name).data
    assert (data.source, data.num_classes, data.train_examples, data.test_examples) == (name, CLASSES[name], 0, 0)


def test_cifar_100_of_the_spike_driven_transformer_is_normalised_as_of_the_other_families():
    """Which is not as published: its authors' file has mean and deviation of CIFAR-100, as the docstring says."""
    settings, own = config.load("cifar100:sdt"), {"data.mean": (0.5071, 0.4867, 0.4408)}
    own |= {"data.std": (0.2675, 0.2565, 0.2761)}
    assert {key: settings[key] for key in CIFAR10} == CIFAR10
    text = " ".join((FOLDER / "cifar100.py").read_text().split())
    for key, values in own.items():
        assert f"--config.{key}={','.join(map(str, values))}" in text
    config.check(config.load("cifar100:sdt", own))


def test_every_family_of_every_published_data_set_has_its_row():
    names = {"cifar10", "cifar100", "imagenet", "cifar10_dvs", "dvs128_gesture"}
    assert {path.stem for path in FOLDER.glob("*.py")} >= names
    assert RECIPES.keys() == {f"{name}:{family}" for name in names for family in AUTHORS}


def write_pictures(folder, pictures):
    for split in ("train", "val"):
        for number, picture in enumerate(pictures):
            path = folder / split / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    return str(folder)


@pytest.mark.parametrize("crop", [1.0, 0.5])
def test_the_test_crop_of_a_config_is_what_testing_sees(crop, tmp_path):
    """Of a picture that is white in the middle, on half of its side, and black around that, in a folder."""
    side = np.zeros((64, 64, 3), np.uint8)
    side[16:48, 16:48] = 255
    values = {
        "data.path": write_pictures(tmp_path, [side, side]),
        "data.num_classes": 2,
        "data.test_crop": crop,
        "data.image_size": 32,
    }
    settings = config.load("image_folder", values | {"train.batch_size": 2, "eval.batch_size": 2})
    image = build.source(settings).test_batch(0)["image"][0]
    assert np.mean(image) / 255 == pytest.approx(1.0 if crop == 0.5 else 0.25, abs=0.02)


def test_a_run_is_evaluated_on_the_test_crop(tmp_path):
    """Half of the side of pictures is as good as the whole of pictures that are no more than that half."""
    pictures = np.random.RandomState(0).randint(0, 256, (8, 64, 64, 3)).astype(np.uint8)
    whole = write_pictures(tmp_path / "whole", pictures)
    middle = write_pictures(tmp_path / "middle", pictures[:, 16:48, 16:48])
    values = {"data.path": whole, "data.num_classes": 2, "data.image_size": 32, "data.test_crop": 0.5}
    values |= {"model.dim": 16, "model.heads": 2, "model.depth": 2, "model.pooling": "0011", "train.batch_size": 4}
    settings = config.load("image_folder:dense", values | {"eval.batch_size": 8})
    optimizer, _ = build.optimizer(settings, steps_per_epoch=2)
    state = create_state(build.model(settings), optimizer, jnp.zeros((1, 32, 32, 3)), key=jax.random.key(0))
    # Small variances, so that neurons fire.
    stats = jax.tree.map_with_path(lambda path, x: x * (0.01 if path[-1].key == "var" else 1.0), state.batch_stats)
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    checkpoints.save(dataclasses.replace(state, batch_stats=stats), {}, best=None)
    checkpoints.close()
    write_json(tmp_path / "run" / "config.json", settings.to_dict())

    def loss(**overrides):
        changes = {f"data.{key}": value for key, value in overrides.items()}
        return evaluate.evaluate(tmp_path / "run", overrides=changes)["loss"]

    assert loss() == loss(path=middle, test_crop=1.0) != loss(test_crop=1.0)


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
