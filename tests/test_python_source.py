"""Training and evaluating on a source that is given from Python, and folders that are given as text."""

import json

import pytest
from tiny_source import TinySource, settings

from stata_jax import config, evaluate
from stata_jax.train import loop as train


def test_a_source_from_python_is_trained_on_and_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = TinySource()
    summary = train.train(settings(), "runs/tiny", source=source)
    assert set(source.asked) == {(epoch, step) for epoch in (0, 1) for step in (0, 1, 2)}
    assert summary["test_images"] == 7
    assert json.loads((tmp_path / "runs" / "tiny" / "summary.json").read_text())["top1"] == summary["top1"]
    again = TinySource()
    result = evaluate.evaluate("runs/tiny", source=again)
    assert result["top1"] == pytest.approx(summary["top1"]) and result["images"] == 7
    capsys.readouterr()
    longer = train.train(settings(train__epochs=3), "runs/tiny", source=(third := TinySource()))
    assert {epoch for epoch, _ in third.asked[1:]} == {2} and longer["test_images"] == 7
    said = capsys.readouterr().out
    assert "resuming after step 6 of 9\nfrom here on with train.epochs=3 (it was 2)\n" in said


def test_a_source_that_does_not_fit_is_named(tmp_path):
    class Half:
        train_examples = 3

    class Flat(TinySource):
        image_shape = (16, 16, 3)

    class Unlabelled(TinySource):
        def train_batch(self, epoch, step):
            return {"images": super().train_batch(epoch, step)["image"]}

    class Unmasked(TinySource):
        def test_batch(self, step):
            return {name: part for name, part in super().test_batch(step).items() if name != "mask"}

    with pytest.raises(config.ConfigError, match=r"what train_batch of the source returns lacks image, label$"):
        train.train(settings(), tmp_path, source=Unlabelled())
    with pytest.raises(config.ConfigError, match=r"what test_batch of the source returns lacks mask$"):
        train.train(settings(), tmp_path, source=Unmasked())
    with pytest.raises(config.ConfigError, match=r"the source lacks image_shape, .*train_batch"):
        train.train(settings(), tmp_path, source=Half())
    with pytest.raises(config.ConfigError, match=r"data\.channels is 1, but none has 3"):
        train.train(settings(), tmp_path, source=Flat())
    with pytest.raises(config.ConfigError, match=r"train\.batch_size is 2, but the source has batches of 4"):
        train.train(settings(train__batch_size=2), tmp_path, source=TinySource())
    with pytest.raises(config.ConfigError, match=r"data\.source is 'none'"):
        train.train(settings(), tmp_path)
