"""What may change in a run that goes on, and the record of it."""

import json
import shutil

import pytest
from small_runs import untimed
from tiny_source import TinySource, settings

from stata_jax import config
from stata_jax.train import conditions, reuse
from stata_jax.train import loop as train
from stata_jax.train.metrics import write_json


def test_what_cannot_change_is_refused_where_there_is_a_checkpoint_or_a_result(tmp_path):
    settings = config.load("digits", {"train.epochs": 3})
    reuse.check_continues(tmp_path / "missing", settings)
    write_json(tmp_path / "config.json", settings.to_dict())
    another = config.apply_overrides(settings, {"model.tau": 3.0})
    reuse.check_continues(tmp_path, another)  # a run that never came to a checkpoint
    for sign in (tmp_path / "summary.json", tmp_path / "checkpoints" / "8"):
        sign.mkdir(parents=True)
        with pytest.raises(config.ConfigError, match=r"holds a run with model\.tau=2\.0, not 3\.0, and that cannot"):
            reuse.check_continues(tmp_path, another)
        sign.rmdir()
    sign.mkdir()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(config.ConfigError, match=r"config\.json is damaged .*: move .* away"):
        reuse.check_continues(tmp_path, settings)


def test_how_a_batch_is_normalised_is_fixed(tmp_path):
    settings = config.load("digits")
    write_json(tmp_path / "config.json", settings.to_dict())
    (tmp_path / "summary.json").touch()
    with pytest.raises(config.ConfigError, match=r"train\.batch_norm=all, not device, and that cannot change"):
        reuse.check_continues(tmp_path, config.apply_overrides(settings, {"train.batch_norm": "device"}))


def test_a_sweep_takes_no_results_of_another_config(tmp_path):
    settings = config.load("digits")
    write_json(tmp_path / "config.json", settings.to_dict())
    (tmp_path / "summary.json").write_text("{}")
    reuse.check_same(tmp_path, config.apply_overrides(settings, {"train.log_every": 7, "data.workers": 1}))
    for key, value in (("train.epochs", 99), ("data.test_examples", 7), ("train.learning_rate", 0.125)):
        with pytest.raises(config.ConfigError, match=f"holds a run with {key}="):
            reuse.check_same(tmp_path, config.apply_overrides(settings, {key: value}))


def continued(record, changes, *, step=4, devices=1, saved=None):
    """What changes, said, and the record that is saved next."""
    asked = config.load("digits", changes)
    changed = conditions.changes(record, asked, devices=devices, step=step, saved=saved or {})
    record = json.loads(json.dumps(record))
    conditions.note(record, asked, changed, devices=devices)
    return conditions.say(changed), record


def test_the_record_says_what_has_changed_and_after_which_step():
    said, record = continued({}, {}, step=0)
    assert said == "" and record["changes"] == []
    said, record = continued(record, {"train.learning_rate": 0.25}, step=3)
    assert said == "train.learning_rate=0.25 (it was 0.004)"
    said, record = continued(record, {"train.learning_rate": 0.25}, step=4)
    assert said == ""
    said, record = continued(record, {}, step=5, devices=8)
    assert said == "train.learning_rate=0.004 (it was 0.25), devices=8 (it was 1)"
    assert [tuple(change.values()) for change in record["changes"]] == [
        (3, "train.learning_rate", 0.004, 0.25),
        (5, "train.learning_rate", 0.25, 0.004),
        (5, "devices", 1, 8),
    ]


def test_a_checkpoint_without_a_record_of_them_has_those_of_the_saved_config():
    said, _ = continued({}, {"train.epochs": 99}, saved={"train.epochs": 3})
    assert said == "train.epochs=99 (it was 3)"


def stopped_at(step, workdir, **changes):
    """A run that ends in a crash when it asks for the batch after a step."""

    class Ending(TinySource):
        def train_batch(self, epoch, number):
            if 3 * epoch + number == step:
                raise RuntimeError("crashed")
            return super().train_batch(epoch, number)

    with pytest.raises(RuntimeError, match="crashed"):
        train.train(settings(**changes), workdir, source=Ending())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of one epoch."""
    workdir = tmp_path_factory.mktemp("finished")
    train.train(settings(train__epochs=1), workdir, source=TinySource())
    return workdir


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run of two epochs that crashed after its fourth step."""
    workdir = tmp_path_factory.mktemp("begun")
    stopped_at(4, workdir)
    return workdir


def test_a_run_at_two_rates_says_so_for_good(finished, begun, tmp_path, capsys):
    """Also where it is asked for the other rate, ends before a step with it, and is asked for it again."""
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    clean = json.loads((finished / "summary.json").read_text())
    assert clean["changes"] == [] and not (finished / "changes.json").exists()
    other = dict(train__learning_rate=0.25)
    stopped_at(3, tmp_path, **other)
    capsys.readouterr()
    summary = train.train(settings(**other), tmp_path, source=TinySource())
    assert "from here on with train.learning_rate=0.25 (it was 0.004)\n" in capsys.readouterr().out
    expected = [{"step": 3, "key": "train.learning_rate", "was": 0.004, "now": 0.25}]
    assert summary["changes"] == json.loads((tmp_path / "changes.json").read_text()) == expected
    with pytest.raises(config.ConfigError, match=r"has gone on with other values, which changes\.json names"):
        reuse.check_same(tmp_path, settings(**other))
    reuse.check_same(finished, settings(train__epochs=1))
    # Again, as it is finished: it says so still.
    assert train.train(settings(**other), tmp_path, source=TinySource())["changes"] == expected


def test_a_change_that_no_step_was_made_with_is_none(begun, tmp_path):
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    stopped_at(3, tmp_path, train__learning_rate=0.25)
    assert train.train(settings(), tmp_path, source=TinySource())["changes"] == []
    reuse.check_same(tmp_path, settings())


def test_a_finished_run_takes_no_change(finished):
    before = (finished / "config.json").read_text()
    words = r"finished with 3 steps, so train\.learning_rate=3\.0 \(it was 0\.004\) would change nothing of it: leave"
    with pytest.raises(config.ConfigError, match=words):
        train.train(settings(train__epochs=1, train__learning_rate=3.0), finished, source=TinySource())
    assert (finished / "config.json").read_text() == before


def test_the_number_of_devices_is_that_of_the_checkpoint(tmp_path, monkeypatch, capsys):
    """Here the first epoch is said to have been on four."""
    save, saved = train.Checkpoints.save, []

    def save_of_four(self, state, record, **options):
        saved.append(record["conditions"]["devices"])
        save(self, state, record | {"conditions": record["conditions"] | {"devices": 4}}, **options)

    with monkeypatch.context() as patched:
        patched.setattr(train.Checkpoints, "save", save_of_four)
        train.train(settings(train__epochs=1), tmp_path, source=TinySource())
    assert saved == [1]
    capsys.readouterr()
    train.train(settings(train__epochs=1), tmp_path, source=TinySource())  # finished: it is but tested on one
    assert "from here on" not in capsys.readouterr().out and not (tmp_path / "changes.json").exists()
    train.train(settings(), tmp_path, source=TinySource())
    assert "from here on with train.epochs=2 (it was 1), devices=1 (it was 4)\n" in capsys.readouterr().out


class FewTests(TinySource):
    test_examples = 5

    def test_batch(self, step):
        batch = super().test_batch(step)
        number = 6 * step + batch["mask"].cumsum() - 1
        return batch | {"mask": batch["mask"] & (number < 5)}


def test_accuracies_on_other_test_images_are_not_compared(tmp_path, monkeypatch, capsys):
    plain, accuracies = dict(top5=1.0, loss=1.0), iter([0.9, 0.1, 0.3])
    monkeypatch.setattr(
        train._Run, "test", lambda self, state: plain | {"top1": next(accuracies), "images": self.source.test_examples}
    )
    train.train(settings(train__epochs=1), tmp_path, source=TinySource())
    capsys.readouterr()
    summary = train.train(settings(), tmp_path, source=FewTests())
    assert "the best accuracy is that on these test images, from here on" in capsys.readouterr().out
    assert (summary["best_step"], summary["best_top1"]) == (6, 0.1)
    # A finished run is tested on the others, and has its best accuracy on them.
    summary = train.train(settings(), tmp_path, source=TinySource())
    assert (summary["best_step"], summary["best_top1"], summary["test_images"]) == (6, 0.3, 7)
    lines = [line for line in untimed(tmp_path) if "test/top1" in line]
    assert [(line["step"], line["test/top1"], line["test/images"]) for line in lines] == [(3, 0.9, 7), (6, 0.3, 7)]


def test_pictures_from_elsewhere_have_a_best_accuracy_of_their_own():
    record = {"best": {"step": 3, "top1": 0.9, "images": 7}}
    assert not conditions.forget_best(record, [], test_images=7) and "best" in record
    moved = [{"step": 3, "key": "data.path", "was": "/a", "now": "/b"}]
    assert conditions.forget_best(record, moved, test_images=7) and "best" not in record
    assert not conditions.forget_best({}, moved, test_images=7)
