"""The command that draws a batch before and after its augmentation."""

import pathlib
import types

import numpy as np
import pytest

from stata_jax import build, contact_sheet
from stata_jax.data.augment.pipeline import AugmentOptions
from stata_jax.tools import sheets

CONFIG = str(pathlib.Path(__file__).parents[1] / "configs" / "digits.py")
FLAGS = [f"--config={CONFIG}", "--config.train.batch_size=4"]


@pytest.fixture
def drawn(monkeypatch):
    """What would be drawn, and with which title."""
    sheet = {}

    def keep(before, after, path, *, title):
        sheet.update(before=before, after=after, path=path, title=title)

    monkeypatch.setattr(sheets, "contact_sheet", keep)
    return sheet


def options_are(monkeypatch, **changes):
    options = AugmentOptions(num_classes=10, **changes)
    monkeypatch.setattr(build, "augment_options", lambda settings, *, steps_per_epoch: options, raising=False)


def test_it_draws_a_batch_before_and_after(monkeypatch, drawn, tmp_path, capsys):
    options_are(monkeypatch, flip=True, mean=(0.5,), std=(0.25,))
    output = tmp_path / "sheet.png"
    assert contact_sheet.main([*FLAGS, f"--output={output}", "--epoch=2"]) == 0
    assert drawn["path"] == output and drawn["title"].startswith("digits, epoch 2")
    before, after = drawn["before"], drawn["after"]
    assert before.shape == (4, 32, 32, 1)
    for image, result in zip(before, after, strict=True):  # normalisation is taken back
        same, mirrored = (np.allclose(result, other, atol=1e-5) for other in (image, image[:, ::-1]))
        assert same != mirrored
    assert capsys.readouterr().out == f"{output}: 4 of a batch of 4, before and after\n"


def test_recordings_come_in_the_size_that_the_network_gets(monkeypatch, drawn):
    counts = np.arange(4 * 2 * 8 * 8 * 2, dtype=np.uint16).reshape(4, 2, 8, 8, 2).astype(np.uint8)
    batch = {"image": counts, "label": np.zeros(4, np.int32)}
    source = types.SimpleNamespace(image_shape=(2, 8, 8, 2), steps_per_epoch=1, train_batch=lambda epoch, step: batch)
    monkeypatch.setattr(build, "source", lambda settings: source)
    sizes = [f"--config.data.{key}=4" for key in ("image_size", "digits.size", "digits.fragment")]
    assert contact_sheet.main([FLAGS[0].replace("digits.py", "digits_dvs.py"), *sizes]) == 0
    means = counts.reshape(4, 2, 4, 2, 4, 2, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(drawn["before"], means)
    np.testing.assert_allclose(drawn["after"], means)


def test_it_writes_the_file(monkeypatch, tmp_path):
    options_are(monkeypatch)
    output = tmp_path / "sheet.png"
    assert contact_sheet.main([*FLAGS, f"--output={output}"]) == 0
    assert output.read_bytes().startswith(b"\x89PNG")


def test_mistakes_are_one_sentence(monkeypatch, tmp_path, capsys):
    options_are(monkeypatch)
    assert contact_sheet.main([*FLAGS, f"--output={tmp_path}"]) == 2
    assert contact_sheet.main([*FLAGS, "--epoch=-1"]) == 2
    assert contact_sheet.main([*FLAGS, "--epoch=14"]) == 2
    assert contact_sheet.main([]) == 2
    first, second, late, third = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: cannot write {tmp_path}") and "--output" in first
    assert second == "error: --epoch must be from 0 to 13 (train.epochs), got -1"
    assert late == "error: --epoch must be from 0 to 13 (train.epochs), got 14"
    assert third.startswith("error: --config is missing")
