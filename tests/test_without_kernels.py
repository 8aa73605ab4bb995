"""The plain code stands alone: without stata_jax.kernels a run is the same, and nothing else is made for hardware."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
SMALL = {
    "data.train_examples": 32,
    "data.test_examples": 16,
    "train.batch_size": 8,
    "train.epochs": 2,
    "train.warmup_epochs": 0.5,
    "train.log_every": 1,
    "eval.batch_size": 16,
    "model.dim": 16,
    "model.depth": 1,
    "data.image_size": 16,
    "data.digits.size": 8,
    "data.digits.fragment": 4,
    "sparsity.prune_at": 0,
}


def start(folder, workdir, *flags, **environment):
    """The command that trains, with the package in a folder and no other.

    Without `site` there is no finder of a package that is installed in place, which would find a part of it that the
    folder lacks.
    """
    path = os.pathsep.join([str(folder), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    command = [sys.executable, "-S", "-m", "stata_jax.main", "--config=digits", f"--workdir={workdir}", *flags]
    environment = os.environ | {"PYTHONPATH": path} | environment
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def run(folder, workdir, **environment):
    """Trains a small network; its metrics by step."""
    done = start(folder, workdir, *(f"--config.{key}={value}" for key, value in SMALL.items()), **environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def with_kernels(tmp_path_factory):
    return run(ROOT, tmp_path_factory.mktemp("with") / "run")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The package without its kernels."""
    folder = tmp_path_factory.mktemp("bare")
    for name in ("stata_jax", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("kernels", "__pycache__"))
    return folder


@pytest.mark.parametrize("how", ["deleted", "turned off"])
def test_a_run_without_kernels_is_the_same(how, with_kernels, bare, tmp_path):
    if how == "deleted":
        plain = run(bare, tmp_path / "run")
    else:
        plain = run(ROOT, tmp_path / "run", STATA_KERNELS="plain", STATA_TUNE="0")
    for name, count, bound in (("train/loss", 8, 1e-4), ("test/top1", 2, 0.0)):
        values, expected = ([line[name] for line in lines if name in line] for lines in (plain, with_kernels))
        assert len(values) == count and values == pytest.approx(expected, rel=bound, abs=0.0)


def test_kernels_that_are_not_there_are_named(bare, tmp_path):
    for flag, words in {
        "--config.train.kernels=gpu": "there are no kernels for gpu: stata_jax.kernels is not installed",
        "--config.train.cpu_devices=2": "train.cpu_devices is 2, but without stata_jax.kernels it can only be 1",
    }.items():
        done = start(bare, tmp_path / "run", flag)
        assert (done.returncode, done.stderr) == (2, f"error: {words}\n")


def test_what_is_made_for_hardware_is_in_kernels_alone():
    hazards = r"optimization_barrier|set_xla_metadata|with_layout_constraint|ctypes|gc\.freeze|os\.environ\["
    files = [*(ROOT / "stata_jax").rglob("*.py"), *(ROOT / "configs").rglob("*.py")]
    found = {file.relative_to(ROOT) for file in files if re.search(hazards, file.read_text())}
    assert found and {str(file.parent) for file in found} == {"stata_jax/kernels"}


def test_files_are_short():
    files = [file for folder in ("stata_jax", "configs", "tests") for file in (ROOT / folder).rglob("*.py")]
    assert {str(file) for file in files if len(file.read_text().splitlines()) > 300} == set()
