"""Each split of CIFAR10-DVS is prepared in a folder of its own."""

import shutil

import numpy as np
import pytest
from prepared_sets import SIZE, SMALL, check_store, open_one, prepared_sets

from stata_jax.data.events import to_frames
from stata_jax.data.readers import aedat2
from stata_jax.data.sources import cifar10_dvs as builder

SPLITS = {"published": ({0, 2}, {1}), "number": ({0, 1}, {2})}  # of three recordings a class


@pytest.fixture
def small(tmp_path, event_files, monkeypatch):
    """A CIFAR10-DVS of three recordings a class, with two splits that go by the names of those of the package."""
    load_split = builder.load_split

    def small_one(split):
        if split not in SPLITS:
            return load_split(split)
        return {
            part: dict.fromkeys(builder.CLASSES, numbers)
            for part, numbers in zip(builder.PARTS, SPLITS[split], strict=True)
        }

    monkeypatch.setattr(builder, "load_split", small_one)
    event_files.zips(tmp_path / "manual", event_files.cifar10_dvs())
    return tmp_path


def check_split(source, split, event_files):
    for store, numbers in zip((source.train, source.test), SPLITS[split], strict=True):
        expected = {}
        for name, data in event_files.cifar10_dvs().items():
            if int(name[-7]) in numbers:
                frames, _ = to_frames(aedat2.decode(data, name="")[0], timesteps=4, by="count", **SIZE)
                expected[frames.tobytes()] = event_files.classes.index(name.partition("/")[0])
        check_store(store, expected)


def test_what_is_prepared_for_one_split_serves_no_other(small, event_files, capsys):
    check_split(open_one("cifar10_dvs", small, split="number"), "number", event_files)
    assert "split number" in capsys.readouterr().out
    check_split(open_one("cifar10_dvs", small, split="published"), "published", event_files)
    assert "split published" in capsys.readouterr().out
    assert prepared_sets(small) == ["count_4", "count_4_number"]
    for split in SPLITS:
        again = open_one("cifar10_dvs", small, split=split, manual_dir=str(small / "gone"))
        check_split(again, split, event_files)


def test_what_the_first_version_prepared_by_number_is_not_taken_for_the_published_split(small, event_files, capsys):
    open_one("cifar10_dvs", small, split="number")
    root = small / "data" / "cifar10_dvs"
    (root / "count_4").mkdir()
    shutil.move(root / "count_4_number" / "2.0.0", root / "count_4" / "1.0.0")
    capsys.readouterr()
    check_split(open_one("cifar10_dvs", small, split="published"), "published", event_files)
    assert "preparing count_4" in capsys.readouterr().out


def test_a_split_of_ones_own_has_a_folder_for_each_content(small, event_files):
    path = small / "mine.csv"
    path.write_text(event_files.split)
    first = open_one("cifar10_dvs", small, split=str(path))
    path.write_text(event_files.split.replace("0-1,2", "0,1"))
    second = open_one("cifar10_dvs", small, split=str(path))
    assert (first.train_examples, second.train_examples, second.test_examples) == (20, 10, 10)
    folders = prepared_sets(small)
    assert len(folders) == 2 and f"count_4_{SMALL}" in folders
    assert not np.array_equal(first.test.frames, second.test.frames)


def test_a_split_in_the_folder_of_the_data_is_not_passed_over(small, event_files):
    path = small / "manual" / "cifar10_dvs_split.csv"
    path.write_text(event_files.split)
    message = r"manual holds a split of its own, cifar10_dvs_split\.csv, but data\.split is 'published': name that file"
    with pytest.raises(ValueError, match=message):
        open_one("cifar10_dvs", small, split="published")
    assert prepared_sets(small) == []
    assert open_one("cifar10_dvs", small, split=str(path)).train_examples == 20


def test_other_data_sets_have_the_split_that_they_come_with(tmp_path, event_files):
    event_files.folder(tmp_path / "manual", event_files.nmnist())
    with pytest.raises(ValueError, match=r"data\.split is 'number', but nmnist has only the split that it is"):
        open_one("nmnist", tmp_path, split="number")
