"""The same training in PyTorch: losses that agree, and what shows where they do not."""

import json

import pytest

from stata_jax import agreement
from stata_jax.config.options import OPTIONS
from stata_jax.tools.agreement import PLAIN, apart_at, as_markdown

TINY = ["--config.model.dim=16", "--config.model.heads=2", "--config.train.batch_size=8"]


@pytest.mark.torch
def test_each_family_learns_as_in_pytorch(tmp_path, capsys):
    flags = ["--config=digits", "--families=spikingformer,spikformer,sdt", "--steps=5", f"--output={tmp_path}", *TINY]
    flags += ["--config.train.learning_rate=1e-3", "--config.data.train_examples=64"]
    assert agreement.main(flags) == 0
    rows = json.loads((tmp_path / "agreement.json").read_text())["rows"]
    assert [row["family"] for row in rows] == ["spikingformer", "spikformer", "sdt"]
    for row in rows:
        assert row["ours"] == pytest.approx(row["torch"], rel=1e-5) and row["ours"][0] > row["ours"][-1]
    assert "| spikformer |" in capsys.readouterr().out
    assert (tmp_path / "agreement.png").stat().st_size > 10_000


def test_where_two_trainings_part():
    assert apart_at([2.0, 1.0, 0.5], [2.0, 1.001, 0.6]) == 3
    assert apart_at([2.0, 1.0], [2.0, 1.0]) is None
    assert apart_at([2.0, float("nan")], [2.0, 1.0]) == 2


def test_no_augmentation_is_ours_alone():
    """Each is off or without effect where the others are off."""
    harmless = "randaugment_operations randaugment_magnitude randaugment_std randaugment_increasing erasing_noise "
    harmless += "event_cutout mix_probability switch_probability mix_off_epoch label_smoothing"
    augmentations = {key for key in OPTIONS if key.startswith("augment.")}
    assert augmentations == {key for key in PLAIN if key.startswith("augment.")} | {
        f"augment.{name}" for name in harmless.split()
    }


def test_the_table_compares_final_losses():
    row = {"family": "sdt", "ours": [2.0] + [1.0] * 20, "torch": [2.02] + [1.5] * 20, "apart_at": 2}
    result = {"steps": 21, "batch_size": 8, "device": "a", "jax": "b"}
    rows = [row | {"seed": 0}, row | {"seed": 1, "ours": [2.0] + [1.1] * 20}]
    line = as_markdown(result | {"rows": rows}).splitlines()[-1]
    assert line.startswith("| sdt | 9.9e-03 | 2, 2 | 1.0500 ± 0.0707 | 1.5000 ± 0.0000 | -0.4500 (")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--config is missing"),
        (["--config=digits", "--families=resnet"], "--families names 'resnet', but PyTorch's networks are"),
        (["--config=digits", "--steps=1"], "--steps is 1, but it must be at least 2"),
        (["--config=digits", "--seeds=a"], "--seeds is 'a'"),
        (["--config=digits", "--families=sdt,sdt"], "--families is 'sdt,sdt', but each may be there once"),
        (["--config=digits", "--perturb=2"], "--perturb is 2.0"),
        (["--config=digits", "--perturb=1e-8"], "--perturb is 1e-08, but it must be 0, or from 2.5e-07"),
    ],
)
def test_mistakes_are_one_sentence(flags, message, capsys):
    assert agreement.main(flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
