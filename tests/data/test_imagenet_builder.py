"""Pictures of the ImageNet archives."""

import io

import pytest
from imagenet_files import IDS, picture, tar, train_files, validation_files, write_imagenet

from stata_jax.data.builders.imagenet import class_ids, train_examples, validation_examples, validation_ids
from stata_jax.data.protocol import DataError


@pytest.fixture
def train(tmp_path):
    write_imagenet(tmp_path, train_files(), validation_files())
    return tmp_path / "ILSVRC2012_img_train.tar"


@pytest.fixture
def validation(train):
    return train.with_name("ILSVRC2012_img_val.tar")


def test_the_lists_that_come_with_tfds():
    assert len(class_ids()) == 1000 and class_ids() == sorted(class_ids())
    assert [class_ids().index(name) for name in IDS] == [0, 1, 230]
    ids = validation_ids()
    assert len(ids) == 50000 and {ids.count(name) for name in class_ids()[::100]} == {50}


def test_training_pictures_keep_their_bytes(train):
    examples = list(train_examples(train))
    expected = [(name, label, image) for label, files in train_files().items() for name, image in files.items()]
    assert [(e["file_name"], e["label"], e["image"]) for e in examples] == expected


def test_validation_pictures_are_labelled_by_number(validation):
    examples = list(validation_examples(validation))
    ids = validation_ids()
    assert [e["file_name"] for e in examples] == list(validation_files())
    assert [e["label"] for e in examples] == [ids[number - 1] for number in range(7, 0, -1)]


def test_a_damaged_picture_names_itself_and_its_archive(tmp_path, train, validation):
    files = train_files()
    name = f"{IDS[1]}_2.JPEG"
    files[IDS[1]][name] = files[IDS[1]][name][:-300]
    write_imagenet(tmp_path, files, validation_files() | {"ILSVRC2012_val_00000003.JPEG": b"no picture"})
    with pytest.raises(DataError, match=rf"{name} in {IDS[1]}.tar in {train} is not a whole picture \(image file is"):
        list(train_examples(train))
    with pytest.raises(DataError, match=rf"ILSVRC2012_val_00000003.JPEG in {validation} is not a whole picture"):
        list(validation_examples(validation))


def test_an_inner_archive_cut_between_two_pictures(train):
    inner = {f"{IDS[0]}_{i}.JPEG": picture(i) for i in range(3)}
    whole = tar(inner)
    second = io.BytesIO(whole).getvalue().index(f"{IDS[0]}_1.JPEG".encode())
    assert second % 512 == 0
    train.write_bytes(tar({f"{IDS[0]}.tar": whole[:second]}))
    with pytest.raises(DataError, match=rf"{IDS[0]}\.tar in {train} is truncated or damaged"):
        list(train_examples(train))
    train.write_bytes(tar({f"{IDS[0]}.tar": whole}))
    assert len(list(train_examples(train))) == 3


@pytest.mark.parametrize("name", ["n00000000.tar", "readme.txt"])
def test_an_unknown_class(train, name):
    train.write_bytes(tar({name: tar({})}))
    with pytest.raises(DataError, match=f"{name} in {train} is not named after one of the 1000 classes"):
        list(train_examples(train))


@pytest.mark.parametrize("name", ["ILSVRC2012_val_00050001.JPEG", "ILSVRC2012_val_00000000.JPEG", "picture.JPEG"])
def test_an_unknown_validation_picture(validation, name):
    validation.write_bytes(tar({name: picture(0)}))
    with pytest.raises(DataError, match=f"{name} in {validation} is not named after one of the 50000"):
        list(validation_examples(validation))
