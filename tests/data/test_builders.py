"""The split of CIFAR10-DVS."""

import pathlib

import pytest

from stata_jax.data.builders.cifar10_dvs import CLASSES, Cifar10Dvs, check, load_split, parse_split
from stata_jax.data.builders.dvs128_gesture import Dvs128Gesture


def test_the_split_in_the_package_is_nine_to_one():
    split = load_split(pathlib.Path("nowhere"))
    for label in CLASSES:
        assert split["train"][label] == frozenset(range(900))
        assert split["test"][label] == frozenset(range(900, 1000))


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
        ("cat,0-2,2", r"line 5: a recording of cat is in both train and test"),
        ("dog,0-1,2", r"has no line for cat"),
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


def test_names_are_those_of_the_config():
    assert Cifar10Dvs.name == "cifar10_dvs" and Dvs128Gesture.name == "dvs128_gesture"
