"""Folders as users name them, also where there is no home folder."""

import os
import subprocess
import sys

import pytest
from small_runs import CONFIG, FLAGS

from stata_jax import config, convert, energy, evaluate, loader_speed, paths
from stata_jax.train import reuse

# A user without an entry in the password file, as in many containers.
HOMELESS = """
import os, pwd, runpy, sys
os.environ.pop("HOME", None)
def nobody(number): raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = nobody
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def homeless(tmp_path, *command):
    env = {key: value for key, value in os.environ.items() if key not in ("HOME", "JAX_COMPILATION_CACHE_DIR")}
    command = [sys.executable, "-c", HOMELESS, *command]
    return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)


def test_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.expand("~/runs/x") == tmp_path / "runs" / "x"
    assert paths.expand(tmp_path / "y") == tmp_path / "y"
    assert paths.cache_folder() == tmp_path / ".cache" / "stata_jax"


def test_without_a_home_folder_a_run_is_a_run(tmp_path):
    """It keeps no compiled programs, and leaves nothing in a folder called ~."""
    small = [
        "model.depth=1",
        "sparsity.prune_at=0",
        "align.alpha=0",
        "align.beta=0",
        "train.epochs=2",
        "train.kernels=plain",
    ]
    flags = [f"--config={CONFIG}", "--workdir=run", *FLAGS, *(f"--config.{each}" for each in small)]
    done = homeless(tmp_path, "stata_jax.main", *flags)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "test top-1" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    "flags",
    [
        ["--config=CONFIG", "--workdir=~/run"],
        ["--config=CONFIG", "--workdir=run", "--config.init_from=~/run"],
        ["--config=digits_dvs", "--workdir=run"],
        ["--config=cifar100", "--workdir=run"],
        ["--config=cifar10_dvs", "--workdir=run", "--config.data.manual_dir=~/downloads"],
    ],
)
def test_a_home_folder_that_is_needed_is_named(tmp_path, flags):
    done = homeless(tmp_path, "stata_jax.main", *(flag.replace("CONFIG", CONFIG) for flag in flags))
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ~") and "HOME is not set" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "~").exists()


def test_an_unknown_home_is_an_error_of_one_sentence(monkeypatch):
    monkeypatch.setattr(paths.os.path, "expanduser", lambda path: path)
    with pytest.raises(config.ConfigError, match=r"~/x: there is no home folder for ~"):
        paths.expand("~/x")
    assert paths.cache_folder() is None


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (evaluate.evaluate, "holds no run"),
        (energy.measure, "holds no run"),
        (reuse.read_variables, "holds no checkpoint"),
        (loader_speed.trained_at, "metrics.jsonl"),
        (lambda folder: convert.export_checkpoint(folder, f"{folder}/x.safetensors"), "holds no run"),
        (lambda folder: convert.import_checkpoint(f"{folder}/x.npz", f"{folder}/new", family="sdt"), "x.npz"),
    ],
)
def test_folders_may_be_text(tmp_path, use, said):
    with pytest.raises(config.ConfigError, match=said):
        use(str(tmp_path))
