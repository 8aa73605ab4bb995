"""N-MNIST from small files in the published layout to frames; and recordings that somebody converted to AEDAT 4."""

import numpy as np
import pytest
from prepared_sets import check_store, open_one, prepared_sets

from stata_jax.data.events import to_frames
from stata_jax.data.readers import nmnist

AEDAT4 = b"#!AER-DAT4.0\r\n" + bytes(40)


def expected_frames(files, part):
    frames = {}
    for name, data in files.items():
        if name.startswith(part):
            events, _ = nmnist.decode(data, name="")
            counts, _ = to_frames(events, timesteps=4, by="count", height=34, width=34, name="")
            frames[counts.tobytes()] = int(name.split("/")[1])
    return frames


@pytest.mark.parametrize("form", ["zips", "folder"])
def test_nmnist_holds_the_frames_of_its_recordings(tmp_path, event_files, capsys, form):
    files = event_files.nmnist()
    getattr(event_files, form)(tmp_path / "manual", files)
    source = open_one("nmnist", tmp_path)
    assert (source.num_classes, source.train_examples, source.test_examples) == (10, 30, 20)
    assert source.image_shape == (4, 34, 34, 2)
    check_store(source.train, expected_frames(files, "Train"))
    check_store(source.test, expected_frames(files, "Test"))
    assert "30 training and 20 test recordings of 4x34x34x2 counts" in capsys.readouterr().out
    assert prepared_sets(tmp_path) == ["count_4"]


def test_an_archive_comes_before_its_folder_and_each_may_be_either(tmp_path, event_files):
    files = event_files.nmnist()
    event_files.zips(tmp_path / "manual", files)
    (tmp_path / "manual" / "Test.zip").unlink()
    event_files.folder(tmp_path / "manual", {"Train/0/00001.bin": b"", "Test/7/1.bin": files["Test/7/00047.bin"]})
    source = open_one("nmnist", tmp_path)
    assert (source.train_examples, source.test_examples) == (30, 1)
    assert source.test.labels.tolist() == [7]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Test/3/00043.bin": b""}, r"Test/3/00043\.bin holds no event"),
        ({"Test/3/00043.bin": bytes([0, 0, 0, 0, 1] * 3)}, r"Test/3/00043\.bin has 3 events, too few for 4 frames"),
        ({"Test/3/00043.bin": bytes([0, 34, 0, 0, 1] * 9)}, r"Test/3/00043\.bin has 9 addresses outside the 34x34"),
        ({"Test/3/00043.bin": AEDAT4}, r"Test/3/00043\.bin is an AEDAT 4 file"),
        ({"Test/again/3/00043.bin": b""}, r"Test has 3/00043\.bin in 2 places"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, event_files, changes, message):
    event_files.folder(tmp_path / "manual", event_files.nmnist() | changes)
    with pytest.raises(ValueError, match=message):
        open_one("nmnist", tmp_path)
    assert prepared_sets(tmp_path) == []


def test_missing_archives_are_named(tmp_path, event_files):
    with pytest.raises(ValueError, match=r"manual lacks Train\.zip, Test\.zip: put there .*garrickorchard\.com"):
        open_one("nmnist", tmp_path)
    event_files.folder(tmp_path / "manual", {"Train/readme.txt": b"", "Test/7/1.bin": b""})
    with pytest.raises(ValueError, match=r"Train has no file such as 7/00015\.bin"):
        open_one("nmnist", tmp_path)


@pytest.mark.parametrize(
    ("name", "files", "found"),
    [
        ("cifar10_dvs", "cifar10_dvs", "horse/cifar10_horse_1.aedat4"),
        ("dvs128_gesture", "gesture", "DvsGesture/user02_lab.aedat4"),
        ("nmnist", "nmnist", "Test/0/00040.aedat4"),
    ],
)
@pytest.mark.parametrize("renamed", [True, False])
def test_aedat_4_is_called_what_it_is(tmp_path, event_files, name, files, found, renamed):
    """Whether it has the name of the format or that of the recording that it replaces."""
    files = getattr(event_files, files)()
    replaced = next(path for path in files if path.startswith(found.partition(".")[0] + "."))
    if renamed:
        files = {path: data for path, data in files.items() if name != "nmnist" or not path.startswith("Test")}
        files.pop(replaced, None)
    files[found if renamed else replaced] = AEDAT4
    event_files.folder(tmp_path / "manual", files)
    shown = found if renamed else replaced
    with pytest.raises(ValueError, match=rf"{shown} is an AEDAT 4 file, .* dv_processing.*encode writes them$"):
        open_one(name, tmp_path)
    assert prepared_sets(tmp_path) == []


def test_a_list_of_trials_may_name_aedat_4(tmp_path, event_files):
    files = event_files.gesture()
    files["DvsGesture/user24_led.aedat4"] = AEDAT4
    files["DvsGesture/trials_to_test.txt"] = b"user24_led.aedat4\n"
    event_files.folder(tmp_path / "manual", files)
    with pytest.raises(ValueError, match=r"DvsGesture/user24_led\.aedat4 is an AEDAT 4 file"):
        open_one("dvs128_gesture", tmp_path)


def test_a_clock_that_started_again_is_known_by_duration(tmp_path, event_files):
    files = event_files.nmnist()
    times = [0, 3000, 6000, None, 808, 8190]  # the marker, then 9000 and 16382
    files["Test/5/00045.bin"] = b"".join(
        bytes([0, 240, 0, 0, 0]) if t is None else bytes([t % 7, 3, 0, t >> 8, t & 255]) for t in times
    )
    event_files.folder(tmp_path / "manual", files)
    source = open_one("nmnist", tmp_path, frames="duration")
    sums = source.test.frames.sum((2, 3, 4), dtype=np.int64)
    # Runs of 4095 microseconds: 0 and 3000, 6000, 9000, 16382.
    assert [2, 1, 1, 1] in sums[source.test.labels == 5].tolist()
