"""The published event data sets, from small files in their layout to batches."""

import shutil
import sys
import zipfile

import numpy as np
import pytest
from prepared_sets import SIZE, SMALL, check_store, open_one, prepared_sets

from stata_jax.data import prepared
from stata_jax.data.events import Events, select, to_frames
from stata_jax.data.readers import aedat2, aedat3
from stata_jax.data.recordings import DiskStore, MemoryStore
from stata_jax.data.sources import cifar10_dvs as cifar10_dvs_builder


@pytest.fixture(scope="module")
def cifar10_dvs(tmp_path_factory, event_files):
    """CIFAR10-DVS prepared from archives."""
    root = tmp_path_factory.mktemp("cifar10_dvs")
    event_files.zips(root / "manual", event_files.cifar10_dvs())
    return root, open_one("cifar10_dvs", root)


@pytest.fixture(scope="module")
def gesture(tmp_path_factory, event_files):
    """DVS128 Gesture prepared from its archive."""
    root = tmp_path_factory.mktemp("dvs128_gesture")
    event_files.tar(root / "manual" / "dvs128_gesture", event_files.gesture())
    return root, open_one("dvs128_gesture", root)


def test_cifar10_dvs_holds_the_frames_of_its_split(cifar10_dvs, event_files):
    _, source = cifar10_dvs
    assert (source.num_classes, source.train_examples, source.test_examples) == (10, 20, 10)
    assert source.image_shape == (4, 128, 128, 2)
    for store, numbers in ((source.train, (0, 1)), (source.test, (2,))):
        expected = {}
        for name, data in event_files.cifar10_dvs().items():
            label, number = name.split("/")[0], int(name[-7])
            if number in numbers:
                frames, _ = to_frames(aedat2.decode(data, name="")[0], timesteps=4, by="count", **SIZE)
                expected[frames.tobytes()] = event_files.classes.index(label)
        check_store(store, expected)


def test_gesture_holds_the_frames_of_its_labelled_spans(gesture, event_files):
    _, source = gesture
    assert (source.num_classes, source.train_examples, source.test_examples) == (11, 22, 11)
    files = event_files.gesture()
    for store, names in ((source.train, ("user01_led", "user02_lab")), (source.test, ("user24_led",))):
        expected = {}
        for name in names:
            events, _ = aedat3.decode(files[f"DvsGesture/{name}.aedat"], name="")
            for label in range(11):
                begin = 1000 * (label + 1)
                part = select(events, (events.t >= begin) & (events.t < begin + 900))
                frames, _ = to_frames(part, timesteps=4, by="count", **SIZE)
                expected[frames.tobytes()] = label
        check_store(store, expected)


@pytest.mark.parametrize("name", ["cifar10_dvs", "dvs128_gesture"])
def test_what_is_prepared_is_used_without_the_published_files(name, request, monkeypatch, capsys):
    root, source = request.getfixturevalue("gesture" if name == "dvs128_gesture" else name)
    monkeypatch.setattr(prepared, "_IN_MEMORY", 0)
    again = open_one(name, root, manual_dir=str(root / "gone"))
    out = capsys.readouterr().out
    assert "preparing" not in out and "0 saturated counts" in out
    assert isinstance(source.train, MemoryStore) and isinstance(again.train, DiskStore)
    for step in range(source.steps_per_epoch):
        for field, value in source.train_batch(1, step).items():
            np.testing.assert_array_equal(again.train_batch(1, step)[field], value)
    np.testing.assert_array_equal(again.test_batch(2)["mask"], source.test_batch(2)["mask"])
    assert "tensorflow" not in sys.modules


def test_folders_serve_as_well_and_saturation_is_reported(tmp_path, event_files, capsys):
    files = event_files.cifar10_dvs()
    many = np.zeros(600, np.int32)
    files["cat/cifar10_cat_0.aedat"] = aedat2.encode(Events(np.arange(600), many, many, many.astype(np.uint8)))
    files["cat/cifar10_cat_1.aedat"] += b"half"
    event_files.folder(tmp_path / "manual", files)
    open_one("cifar10_dvs", tmp_path, frames="duration", timesteps=2)
    out = capsys.readouterr().out
    assert "20 training and 10 test recordings of 2x128x128x2 counts" in out
    assert "0 backward timestamps, 1 cut records, 2 saturated counts, 0 special events" in out
    assert f"split {tmp_path}/small.csv" in out
    assert prepared_sets(tmp_path) == [f"duration_2_{SMALL}"]


def test_gesture_from_its_folder_equals_the_archive(tmp_path, gesture, event_files):
    event_files.folder(tmp_path / "manual", event_files.gesture())
    for store, other in zip(
        (lambda s: (s.train, s.test))(open_one("dvs128_gesture", tmp_path)),
        (gesture[1].train, gesture[1].test),
        strict=True,
    ):
        np.testing.assert_array_equal(store.frames, other.frames)
        np.testing.assert_array_equal(store.labels, other.labels)


def test_gestures_of_the_first_version_which_lost_spans_are_prepared_again(tmp_path, gesture, event_files, capsys):
    shutil.copytree(gesture[0] / "data", tmp_path / "data")
    (whole,) = (tmp_path / "data").glob("*/count_4/*")
    whole.rename(whole.with_name("1.0.0"))
    event_files.folder(tmp_path / "manual", event_files.gesture())
    again = open_one("dvs128_gesture", tmp_path)
    assert "preparing count_4" in capsys.readouterr().out
    assert again.train_examples == gesture[1].train_examples


def test_missing_files_are_explained_in_one_message(tmp_path, event_files):
    with pytest.raises(ValueError, match=r"manual lacks airplane\.zip, .*truck\.zip: put there .*figshare\.com"):
        open_one("cifar10_dvs", tmp_path)
    with pytest.raises(ValueError, match=r"manual lacks DvsGesture\.tar\.gz: put there .*ibm\.ent\.box\.com"):
        open_one("dvs128_gesture", tmp_path)
    event_files.zips(tmp_path / "manual", event_files.cifar10_dvs())
    (tmp_path / "manual" / "ship.zip").unlink()
    with pytest.raises(ValueError, match=r"manual lacks ship\.zip: put"):
        open_one("cifar10_dvs", tmp_path)
    with pytest.raises(ValueError, match=r"data.downloads.manual lacks airplane"):
        open_one("cifar10_dvs", tmp_path, manual_dir="")


def damage_cifar10_dvs(manual, files, kind):
    """Spoils one thing and returns what the message has to name."""
    victim = "horse/cifar10_horse_1.aedat"
    if kind == "truncated archive":
        data = (manual / "horse.zip").read_bytes()
        (manual / "horse.zip").write_bytes(data[: len(data) // 2])
        return r"horse\.zip is cut off or damaged"
    if kind == "recording missing":
        del files[victim]
        message = r"horse\.zip lacks 1 recordings of the split, the first cifar10_horse_1\.aedat"
    elif kind == "backwards":
        head = len(files[victim]) - 300 * 8
        records = [files[victim][i : i + 8] for i in range(head, len(files[victim]), 8)]
        files[victim] = files[victim][:head] + b"".join(reversed(records))
        message = r"horse\.zip/horse/cifar10_horse_1\.aedat has timestamps that run backwards"
    elif kind == "outside":
        files[victim] = files[victim][:-8] + b"\x01" + files[victim][-7:]
        message = r"horse\.zip/horse/cifar10_horse_1\.aedat has 1 addresses outside"
    else:
        head = len(files[victim]) - 300 * 8
        files[victim] = files[victim][: head + (24 if kind == "short" else 0)]
        few = r"has 3 events, too few for 4 frames" if kind == "short" else "holds no event"
        message = r"horse\.zip/horse/cifar10_horse_1\.aedat " + few
    (manual / "horse.zip").unlink()
    with zipfile.ZipFile(manual / "horse.zip", "w") as archive:
        for name, data in files.items():
            if name.startswith("horse/"):
                archive.writestr(name, data)
    return message


@pytest.mark.parametrize("kind", ["truncated archive", "recording missing", "backwards", "outside", "short", "empty"])
def test_damage_leaves_nothing_and_a_second_try_works(tmp_path, cifar10_dvs, event_files, kind):
    manual = tmp_path / "manual"
    shutil.copytree(cifar10_dvs[0] / "manual", manual)
    message = damage_cifar10_dvs(manual, event_files.cifar10_dvs(), kind)
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            open_one("cifar10_dvs", tmp_path)
        assert prepared_sets(tmp_path) == []
    if kind in ("truncated archive", "empty"):  # mended, once before and once after TFDS had begun to write
        shutil.copy(cifar10_dvs[0] / "manual" / "horse.zip", manual)
        mended = open_one("cifar10_dvs", tmp_path)
        np.testing.assert_array_equal(mended.train.frames, cifar10_dvs[1].train.frames)


LABELS = "DvsGesture/user24_led_labels.csv"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (LABELS, None, r"DvsGesture lacks user24_led_labels\.csv, which trials_to_test\.txt asks for"),
        (LABELS, b"class\n12,1,2\n", r"user24_led_labels\.csv, line 2: class 12 is not from 1 to 11"),
        (LABELS, b"class\n1,2,1\n", r"user24_led_labels\.csv, line 2: the end 1 is not after the start 2"),
        (LABELS, b"class\n1,90000,91000\n", r"user24_led_labels\.csv, span 1: 90000 to 91000 microseconds lie outside"),
        (LABELS, b"class\n1,5000,5001\n", r"user24_led\.aedat, span 1 has \d events, too few for 4 frames"),
        (
            "DvsGesture/user24_led.aedat",
            None,
            r"DvsGesture lacks user24_led\.aedat, which trials_to_test\.txt asks for",
        ),
        ("DvsGesture/user24_led.aedat", b"#!AER-DAT3.1\r\n", r"user24_led\.aedat has no line '#!END-HEADER'"),
        ("DvsGesture/trials_to_test.txt", None, r"DvsGesture lacks trials_to_test\.txt"),
        ("DvsGesture/trials_to_test.txt", b"\n", r"DvsGesture/trials_to_test\.txt lists nothing"),
    ],
)
def test_gesture_files_that_disagree_are_named(tmp_path, event_files, name, data, message):
    event_files.folder(tmp_path / "manual", event_files.gesture())
    if data is None:
        (tmp_path / "manual" / name).unlink()
    else:
        (tmp_path / "manual" / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        open_one("dvs128_gesture", tmp_path)
    assert prepared_sets(tmp_path) == []


def test_a_set_that_another_process_prepares_meanwhile_is_used(tmp_path, cifar10_dvs, monkeypatch, capsys):
    root, source = cifar10_dvs
    check = cifar10_dvs_builder.check

    def others_finish(*args):
        check(*args)
        shutil.copytree(root / "data" / "cifar10_dvs", tmp_path / "data" / "cifar10_dvs", dirs_exist_ok=True)

    monkeypatch.setattr(cifar10_dvs_builder, "check", others_finish)
    again = open_one("cifar10_dvs", tmp_path, manual_dir=str(root / "manual"))
    assert "preparing" in capsys.readouterr().out
    np.testing.assert_array_equal(again.train.frames, source.train.frames)
    assert prepared_sets(tmp_path) == [f"count_4_{SMALL}"]


def test_a_truncated_gesture_archive_is_named(tmp_path, gesture):
    archive = (gesture[0] / "manual" / "dvs128_gesture" / "DvsGesture.tar.gz").read_bytes()
    (tmp_path / "manual").mkdir()
    (tmp_path / "manual" / "DvsGesture.tar.gz").write_bytes(archive[: len(archive) // 2])
    with pytest.raises(ValueError, match=r"DvsGesture\.tar\.gz is cut off or damaged"):
        open_one("dvs128_gesture", tmp_path)
    assert prepared_sets(tmp_path) == []


@pytest.mark.parametrize("lost", ["train.array_record-00000-of-00001", "dataset_info.json"])
def test_a_prepared_set_that_lost_a_file_is_named(tmp_path, gesture, lost):
    shutil.copytree(gesture[0] / "data", tmp_path / "data")
    (file,) = (tmp_path / "data").glob(f"*/*/*/*{lost}")
    file.unlink()
    with pytest.raises(ValueError, match=r"dvs128_gesture in .*count_4.* is damaged .*: delete that folder"):
        open_one("dvs128_gesture", tmp_path)


def test_options_that_do_not_exist(tmp_path):
    with pytest.raises(ValueError, match=r"data\.frames must be one of count, duration, got 'time'"):
        open_one("cifar10_dvs", tmp_path, frames="time")
    with pytest.raises(ValueError, match=r"model\.timesteps must be at least 1, got 0"):
        open_one("cifar10_dvs", tmp_path, timesteps=0)


def test_a_missing_array_record_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "array_record.python", None)
    with pytest.raises(ValueError, match=r"frames of cifar10_dvs needs the package array_record, which cannot be im"):
        open_one("cifar10_dvs", tmp_path)
