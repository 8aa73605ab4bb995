"""What the builders of event data sets take for their recordings, and the splits of CIFAR10-DVS."""

import pytest

from stata_jax.data.sources.cifar10_dvs import CLASSES, Cifar10Dvs, check, load_split, parse_split
from stata_jax.data.sources.dvs128_gesture import Dvs128Gesture
from stata_jax.data.sources.nmnist import Nmnist, survey


def test_the_published_split_takes_nine_tenths_in_the_order_of_file_names():
    split = load_split("published")
    for label in CLASSES:
        names = sorted(f"cifar10_{label}_{number}.aedat" for number in range(1000))
        numbers = [int(name.removesuffix(".aedat").rpartition("_")[2]) for name in names]
        assert numbers[:4] == [0, 1, 10, 100]
        assert split["train"][label] == set(numbers[:900])
        assert split["test"][label] == set(numbers[900:]) == {*range(91, 100), *range(909, 1000)}


def test_the_split_by_number_takes_the_first_nine_tenths():
    split = load_split("number")
    for label in CLASSES:
        assert split["train"][label] == frozenset(range(900))
        assert split["test"][label] == frozenset(range(900, 1000))


@pytest.mark.parametrize("heading", ["", "class,train,test\n", "\ufeffclass,train,test\n", "\ufeff"])
def test_a_split_of_ones_own_may_lack_its_heading(tmp_path, event_files, heading):
    lines = event_files.split.partition("\n")[2]
    (tmp_path / "a.csv").write_text(heading + lines, encoding="utf-8")
    split = load_split(str(tmp_path / "a.csv"))
    assert all(split["train"][label] == {0, 1} and split["test"][label] == {2} for label in CLASSES)


def test_a_split_that_is_no_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"data\.split is 'names', none of published, number and no file that can be"):
        load_split("names")
    with pytest.raises(ValueError, match=r"no file that can be read: Is a directory"):
        load_split(str(tmp_path))


def test_numbers_may_be_ranges_or_single(event_files):
    text = event_files.split.replace("cat,0-1,2", "cat,0 3-5 9,")
    split = parse_split(text, name="a.csv")
    assert split["train"]["cat"] == {0, 3, 4, 5, 9} and split["test"]["cat"] == frozenset()
    assert split["train"]["dog"] == {0, 1} and split["test"]["dog"] == {2}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cat,0-1", r"line 5: 'cat,0-1' is not class,train,test"),
        ("cow,0-1,2", r"line 5: 'cow,0-1,2' is not class"),
        ("cat,0-1,2-", r"line 5: 'cat,0-1,2-' is not class"),
        ("cat,0-1,2-99999999999", r"line 5: 'cat,0-1,2-99999999999' is not class"),
        ("cat,0 5-3,2", r"line 5: 5-3 has no number, for it goes from more to less"),
        ("cat,0-1,2 999-900", r"line 5: 999-900 has no number"),
        ("cat,0-2,2", r"line 5: a recording of cat is in both train and test"),
        ("dog,0-1,2", r"line 7: dog has a line already"),
        ("", r"has no line for cat"),
    ],
)
def test_a_split_that_makes_no_sense_is_named(event_files, line, message):
    with pytest.raises(ValueError, match=rf"a\.csv.* ?{message}"):
        parse_split(event_files.split.replace("cat,0-1,2", line), name="a.csv")


def test_a_recording_in_two_places_is_named(tmp_path, event_files):
    files = event_files.cifar10_dvs()
    event_files.folder(tmp_path, {**files, "bird/again/cifar10_bird_2.aedat": b""})
    split = parse_split(event_files.split, name="a.csv")
    with pytest.raises(ValueError, match=r"bird has cifar10_bird_2\.aedat in two places"):
        check(tmp_path, split)
    (tmp_path / "bird/again/cifar10_bird_2.aedat").rename(tmp_path / "bird/again/._cifar10_bird_2.aedat")
    check(tmp_path, split)


def test_recordings_of_nmnist_are_files_in_folders_of_digits(tmp_path, event_files):
    names = ["0/00002.bin", "Train/9/00003.bin", "Train/10/00004.bin", "00005.bin", "1/._00006.bin", "1/x.txt"]
    event_files.folder(tmp_path, dict.fromkeys(names, b""))
    assert survey(tmp_path) == {"0/00002.bin": (0, "00002.bin"), "Train/9/00003.bin": (9, "00003.bin")}
    event_files.folder(tmp_path, {"again/9/00003.bin": b""})
    with pytest.raises(ValueError, match=r"has 9/00003\.bin in 2 places: keep one of them"):
        survey(tmp_path)


def test_names_are_those_of_the_config():
    assert Cifar10Dvs.name == "cifar10_dvs" and Dvs128Gesture.name == "dvs128_gesture" and Nmnist.name == "nmnist"
