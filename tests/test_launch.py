"""The scripts of launch/: what bash makes of them, and what is collected of runs that a time limit has cut off."""

import json
import pathlib
import subprocess
import sys

import pytest

LAUNCH = pathlib.Path(__file__).parents[1] / "launch"
SCRIPTS = sorted(LAUNCH.rglob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_can_be_read(script):
    subprocess.run(["bash", "-n", script], check=True)
    assert script.read_text().startswith("#!/usr/bin/env bash\n# ") and "\nset -euo pipefail\n" in script.read_text()


def test_what_is_there_is_collected(tmp_path):
    for cell, lines in {
        "dense": [{"epoch": 1, "test/top1": 0.5}, {"epoch": 1, "train/images_per_second": 10.0}],
        "stata": [{"epoch": 1, "train/loss": 2.0}],
    }.items():
        run = tmp_path / cell / "seed0"
        run.mkdir(parents=True)
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"epoch": 1, "tes')
    (tmp_path / "dense" / "seed0" / "summary.json").write_text('{"top1": 0.5, "peak_bytes": 3, "name": "x"}')
    command = [sys.executable, LAUNCH / "gpu" / "collect.py", tmp_path]
    collected = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert collected["runs"] == {
        "dense/seed0": {
            "top1_by_epoch": {"1": 0.5},
            "images_per_second": 10.0,
            "top1": 0.5,
            "peak_bytes": 3,
            "finished": True,
        },
        "stata/seed0": {"top1_by_epoch": {}, "finished": False},
    }
    assert collected["card"] and collected["versions"]["jax"]
