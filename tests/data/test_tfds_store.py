"""Where prepared data is looked for."""

import functools
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from tfds_files import as_tfrecord, replace_format, tfrecord

from stata_jax.data.protocol import DataError
from stata_jax.data.readers.tfds_store import find, folders, open_split
from stata_jax.data.readers.tfds_store import prepare as prepare_or_else


def test_the_folders_are_those_of_tfds_unless_they_are_named(monkeypatch, tmp_path):
    default = Path(tfds.core.constants.DATA_DIR).expanduser()
    assert folders("", "") == (default, default / "downloads" / "manual")
    assert folders("/a/b", "") == (Path("/a/b"), Path("/a/b/downloads/manual"))
    assert folders("/a/b", "/c") == (Path("/a/b"), Path("/c"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert folders("data", "~/archives") == (tmp_path / "data", Path("/home/someone/archives"))


def test_the_newest_whole_version_is_found(tmp_path):
    assert find(tmp_path, "cifar10") is None
    for name in ("2.9.0", "3.0.2", "3.0.10", "3.1.0", "incomplete.X_4.0.0", "newest"):
        (tmp_path / "cifar10" / name).mkdir(parents=True)
        if name != "3.1.0":  # only a folder
            (tmp_path / "cifar10" / name / "dataset_info.json").write_text("{}")
    assert find(tmp_path, "cifar10") == tmp_path / "cifar10" / "3.0.10"
    assert find(tmp_path, "cifar100") is None


prepare = functools.partial(prepare_or_else, instead="do something else")


class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Two examples, or an error of the system's."""

    VERSION = tfds.core.Version("1.0.0")
    before = staticmethod(lambda builder: None)

    def _info(self):
        features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(num_classes=3)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        type(self).before(self)
        for i in range(2):
            yield i, {"image": b"picture", "label": i}


def test_examples_come_with_the_bytes_of_their_picture(tmp_path):
    folder = prepare(Tiny, tmp_path, tmp_path)
    assert folder == tmp_path / "tiny" / "1.0.0"
    examples, classes = open_split(folder, "train")
    assert (classes, len(examples)) == (3, 2)
    assert {example["label"]: example["image"] for example in examples} == {0: b"picture", 1: b"picture"}
    with pytest.raises(DataError, match=f"{folder} has no split 'test', only train"):
        open_split(folder, "test")


def test_tfrecords_are_read_as_well(tmp_path):
    folder = prepare(Tiny, tmp_path, tmp_path)
    before, _ = open_split(folder, "train")
    stored = list(before)
    as_tfrecord(folder)
    examples, classes = open_split(folder, "train")
    assert classes == 3 and list(examples) == stored


def test_what_was_cut_between_two_examples_is_not_used(tmp_path):
    folder = prepare(Tiny, tmp_path, tmp_path)
    as_tfrecord(folder)
    next(folder.glob("*.tfrecord*")).write_bytes(tfrecord([b"x"]))
    with pytest.raises(DataError, match=f"{folder} holds 1 examples in train instead of 2"):
        open_split(folder, "train")


def test_another_format_is_explained(tmp_path):
    folder = prepare(Tiny, tmp_path, tmp_path)
    replace_format(folder, "riegeli")
    with pytest.raises(DataError, match=f"{folder} is stored as riegeli: prepare it with TFDS's file_format array_r"):
        open_split(folder, "train")


def test_an_error_of_the_system_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(builder):
        raise OSError("No space left on device")

    monkeypatch.setattr(Tiny, "before", staticmethod(fail))
    with pytest.raises(DataError, match=f"tiny could not be prepared in {tmp_path}: .*No space left on device"):
        prepare(Tiny, tmp_path, tmp_path)
    assert find(tmp_path, "tiny") is None
    monkeypatch.undo()
    folder = prepare(Tiny, tmp_path, tmp_path)
    assert find(tmp_path, "tiny") == folder


def test_the_work_of_a_faster_process_is_used(tmp_path, monkeypatch):
    def race(builder):
        monkeypatch.undo()
        prepare(Tiny, tmp_path, tmp_path)

    monkeypatch.setattr(Tiny, "before", staticmethod(race))
    folder = prepare(Tiny, tmp_path, tmp_path)
    assert len(open_split(folder, "train")[0]) == 2
    assert [path.name for path in folder.parent.iterdir()] == ["1.0.0"]
