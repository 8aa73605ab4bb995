"""A whole run of the digits as events, small: from nothing to a picture, and evaluated afterwards."""

import json
import pathlib

import pytest
from PIL import Image

from stata_jax import evaluate, main

CONFIG = str(pathlib.Path(__file__).parents[1] / "configs" / "digits_dvs.py")
SMALL = {
    "model.timesteps": 4,
    "model.dim": 16,
    "model.heads": 2,
    "sparsity.prune_at": "0,1",
    "data.train_examples": 16,
    "data.test_examples": 8,
    "train.batch_size": 8,
    "train.epochs": 1,
    "eval.batch_size": 8,
}


def test_a_run_makes_its_recordings_and_evaluates_again(tmp_path, capsys):
    workdir, data = tmp_path / "run", tmp_path / "data"
    flags = [f"--config.{key}={value}" for key, value in (SMALL | {"data.data_dir": data}).items()]
    assert main.main([f"--config={CONFIG}", f"--workdir={workdir}", *flags]) == 0
    assert "making 16 + 8 recordings, once" in capsys.readouterr().out
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["test_images"] == 8
    assert summary["tokens_attention"] == [65, 14] and summary["tokens_mlp"] == [14, 4]
    assert all(len(share) == 4 for block in summary["coverage"].values() for share in block.values())
    assert 0.2 < summary["coverage_chance"] <= 0.25  # 16 of 64 patches, but for boxes that stick out
    with Image.open(workdir / "tokens.png") as picture:
        assert picture.size[0] == pytest.approx(150 * (9 * 1.28 + 0.08), abs=2)  # a recording, two blocks of 4 panels

    assert evaluate.main([f"--workdir={workdir}"]) == 0
    said = capsys.readouterr().out
    assert "8 test recordings" in said and "making" not in said  # those of the training run
    assert f"top-1 {100 * summary['top1']:.2f} %" in said
