"""The benchmarks end to end: from small archives in the published layout to a trained and evaluated network."""

import json
import pathlib

import numpy as np
import pytest
from cifar_files import binary_files, random_batches, tar_gz, write_cifar10
from imagenet_files import train_files, validation_files, write_imagenet
from PIL import Image

from stata_jax import evaluate, main

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
SMALL = {"model.dim": 16, "model.depth": 1, "model.timesteps": 2, "model.heads": 2}
SMALL |= {
    "train.batch_size": 4,
    "eval.batch_size": 4,
    "train.epochs": 2,
    "train.warmup_epochs": 0.0,
    "train.cooldown_epochs": 1,
}
PLAIN = {"augment.randaugment_count": 0}  # its program compiles for long; that of cifar10 has it
EVENTS = {"data.image_size": 32, "data.train_examples": 8, "data.test_examples": 6}
# What differs from the config, and how many training and test examples the archives then give.
CASES = {
    "cifar10": ({"train.ema_decay": 0.9}, 20, 7),
    "cifar100": (PLAIN | {"train.accumulate": 2}, 8, 5),
    "imagenet:sdt": (PLAIN | {"data.image_size": 32}, 12, 7),
    "cifar10_dvs": (EVENTS | {"data.split": "small.csv"}, 8, 6),
    "dvs128_gesture:spikformer": (EVENTS, 8, 6),
    "nmnist": ({}, 30, 20),
}


def write_archives(name, folder, event_files):
    if name == "cifar10":
        write_cifar10(folder)
    elif name == "cifar100":
        files = binary_files(random_batches(("train", "test"), (8, 5), 100), folder="cifar-100-binary", classes=100)
        tar_gz(folder / "cifar-100-binary.tar.gz", files)
    elif name == "imagenet":
        write_imagenet(folder, train_files(), validation_files())
    elif name == "cifar10_dvs":
        event_files.zips(folder, event_files.cifar10_dvs())
        (folder / "small.csv").write_text(event_files.split)
    elif name == "nmnist":
        event_files.zips(folder, event_files.nmnist())
    else:
        event_files.tar(folder, event_files.gesture())


@pytest.mark.parametrize("case", CASES)
def test_from_archives_to_an_evaluated_network(case, tmp_path, event_files, capsys):
    changes, train_examples, test_examples = CASES[case]
    if "data.split" in changes:
        changes = changes | {"data.split": str(tmp_path / "manual" / changes["data.split"])}
    name = case.partition(":")[0]
    write_archives(name, tmp_path / "manual", event_files)
    folders = {"data.data_dir": str(tmp_path / "data"), "data.manual_dir": str(tmp_path / "manual")}
    workdir = tmp_path / "run"
    config = str(CONFIGS / case.replace(name, f"{name}.py"))
    flags = [f"--config.{key}={value}" for key, value in (SMALL | folders | changes).items()]
    assert main.main([f"--config={config}", f"--workdir={workdir}", *flags]) == 0, capsys.readouterr().err
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["test_images"] == test_examples
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 2 * (train_examples // 4)
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    assert losses and np.isfinite(losses).all()
    with Image.open(workdir / "tokens.png") as picture:
        assert min(picture.size) > 100
    again = evaluate.evaluate(workdir)
    assert (again["top1"], again["images"]) == (summary["top1"], test_examples)


def test_data_that_is_missing_ends_in_one_sentence(tmp_path, capsys):
    flags = [f"--config.data.data_dir={tmp_path}", f"--workdir={tmp_path / 'run'}"]
    assert main.main([f"--config={CONFIGS / 'dvs128_gesture.py'}", *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: dvs128_gesture is not prepared yet") and "DvsGesture.tar.gz" in error
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be_made_ends_in_one_sentence(tmp_path, capsys):
    (tmp_path / "file").touch()
    flags = [f"--config.data.data_dir={tmp_path / 'file' / 'data'}", f"--workdir={tmp_path / 'run'}"]
    assert main.main([f"--config={CONFIGS / 'digits_dvs.py'}", *flags]) == 2
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: the data of data.source digits_dvs cannot be read or written")
    assert str(tmp_path / "file") in error


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("data.image_size=64", "data.image_size is 64, but cifar10 has 32x32 pixels"),
        ("data.num_classes=5", "data.num_classes is 5, but cifar10 has 10 classes"),
        ("train.batch_size=21", "there are 20 training images, too few for one batch: lower train.batch_size, 21"),
    ],
)
def test_a_config_that_does_not_suit_the_data(flag, said, tmp_path, capsys):
    write_cifar10(tmp_path / "downloads" / "manual")
    flags = [f"--config.data.data_dir={tmp_path}", f"--workdir={tmp_path / 'run'}", "--config.train.batch_size=4"]
    assert main.main([f"--config={CONFIGS / 'cifar10.py'}", *flags, f"--config.{flag}"]) == 2
    *_, error = capsys.readouterr().err.splitlines()  # after the progress of the preparation
    assert error.startswith(f"error: {said}")
