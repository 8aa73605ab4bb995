"""The command that shows where the time of a step goes."""

import json

import jax
import pytest

from stata_jax import roofline
from stata_jax.tools import roofline_run

SMALL = [
    "--config.model.dim=16",
    "--config.model.heads=2",
    "--config.data.image_size=16",
    "--config.model.depth=1",
    "--batch_size=2",
]


def test_a_small_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(roofline_run, "_SIDE", 128)
    monkeypatch.setattr(roofline_run, "_VALUES", 1 << 20)
    flags = ["--model=sdt_2_256", "--keep_rate=0.4", "--rounds=2", *SMALL, f"--output={tmp_path}"]
    assert roofline.main(flags) == 0
    text = (tmp_path / "roofline.md").read_text()
    assert text.strip() in capsys.readouterr().out
    result = json.loads((tmp_path / "roofline.json").read_text())
    rows = {(row["part"], row["kind"]): row for row in result["rows"]}
    for part in ("stem", "attention", "MLP"):
        for kind in ("matmuls", "BN and LIF", "BN", "LIF"):
            assert rows[part, kind]["seconds"] > 0 and rows[part, kind]["least_s"] > 0, (part, kind)
    assert sum(row["share"] for row in result["rows"]) == pytest.approx(1)
    taken = sum(row["seconds"] for row in result["rows"])
    assert taken > 0 and result["step_s"] > 0
    assert 1e8 < result["flops_s"] < 1e14 and 1e8 < result["bytes_s"] < 1e13


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--model is missing"),
        (["--model=sdt_2_256", "--rounds=1"], "--rounds is 1"),
        (["--model=sdt_2_256", "--keep_rate=2"], "sparsity.keep_rate is 2.0"),
        (
            ["--model=sdt_2_256", "--config.model.dtype=bfloat16"],
            "model.dtype is 'bfloat16', but work is counted for 'float32'",
        ),
        (["--model=sdt_2_256", "--config.train.recompute=True"], "train.recompute is True"),
        (["--model=sdt_2_256", "--config.train.accumulate=2"], "train.accumulate is 2"),
    ],
)
def test_mistakes_are_one_sentence(flags, message, capsys):
    assert roofline.main(flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_only_a_processor_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert roofline.main(["--model=sdt_2_256", *SMALL]) == 2
    assert "JAX works on a gpu" in capsys.readouterr().err
