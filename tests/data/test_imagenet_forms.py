"""ImageNet in each of its forms gives the same images."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from imagenet_files import IDS, train_files, unpack_train, unpack_validation, validation_files, write_imagenet

from stata_jax.data.builders.imagenet import validation_ids
from stata_jax.data.options import SourceOptions
from stata_jax.data.picture_source import PictureSource
from stata_jax.data.protocol import DataError
from stata_jax.data.sources.imagenet import open_imagenet

VALIDATION = "ILSVRC2012_img_val.tar"
OPTIONS = {
    "image_size": 16,
    "crop_scale": (1.0, 1.0),
    "workers": 0,
    "batch_size": 12,
    "eval_batch_size": 7,
    "seed": 0,
}


def make(folder: Path, **changes) -> PictureSource:
    return open_imagenet(SourceOptions(**OPTIONS | changes, data_dir=str(folder)))


def manual(folder: Path) -> Path:
    return folder / "downloads" / "manual"


def by_name(batch: dict[str, np.ndarray], order: list[str]) -> dict[str, tuple[bytes, int]]:
    return {
        name: (image.tobytes(), int(label))
        for name, image, label in zip(order, batch["image"], batch["label"], strict=True)
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> tuple[dict[str, tuple[bytes, int]], list[tuple[bytes, int]]]:
    """Of the prepared archives: test images by name; and those of an epoch, sorted."""
    folder = tmp_path_factory.mktemp("prepared")
    write_imagenet(manual(folder), train_files(), validation_files())
    source = make(folder)
    epoch = source.train_batch(0, 0)
    assert (folder / "stata_imagenet2012").exists()
    return by_name(source.test_batch(0), list(validation_files())), sorted(labelled(epoch))


def labelled(batch: dict[str, np.ndarray]) -> list[int]:
    return batch["label"].tolist()


FORMS = {
    "folders of classes": lambda place: unpack_validation(place / "val", validation_files(), ids=validation_ids()),
    "a flat folder": lambda place: unpack_validation(place / "val", validation_files()),
    "the archive": lambda place: write_imagenet(place, {}, validation_files()),
}


def order_of(form: str) -> list[str]:
    """Names of the test images in the order of a form."""
    names = sorted(validation_files())
    if form == "folders of classes":
        return sorted(names, key=lambda name: (validation_ids()[int(name[-13:-5]) - 1], name))
    return list(validation_files()) if form == "the archive" else names


@pytest.mark.parametrize("below", [".", "imagenet", "ILSVRC/Data/CLS-LOC"])
@pytest.mark.parametrize("form", FORMS)
def test_folders_give_what_the_archives_give(tmp_path, expected, form, below):
    place = manual(tmp_path) / (below if form != "the archive" else ".")
    FORMS[form](place)
    (manual(tmp_path) / "ILSVRC2012_img_train.tar").unlink(missing_ok=True)
    unpack_train(manual(tmp_path) / below / "train", train_files())
    source = make(tmp_path)
    assert (source.num_classes, source.train_examples, source.test_examples) == (1000, 12, 7)
    batch = source.test_batch(0)
    assert batch["mask"].all()
    assert by_name(batch, order_of(form)) == expected[0]
    assert sorted(labelled(source.train_batch(0, 0))) == expected[1]
    assert not (tmp_path / "stata_imagenet2012").exists()  # nothing is prepared


@pytest.mark.parametrize("form", FORMS)
def test_the_validation_images_alone_suffice_to_test(tmp_path, expected, form):
    FORMS[form](manual(tmp_path))
    (manual(tmp_path) / "ILSVRC2012_img_train.tar").unlink(missing_ok=True)
    source = make(tmp_path, batch_size=1000)
    assert by_name(source.test_batch(0), order_of(form)) == expected[0]
    message = (
        "there is no training image: put ILSVRC2012_img_train.tar from https://image-net.org/download-images into "
        f"{manual(tmp_path)}, unpacked into {manual(tmp_path)}/train with a folder a class"
    )
    with pytest.raises(DataError, match=message):
        source.train_batch(0, 0)
    with pytest.raises(DataError, match=message):
        _ = source.steps_per_epoch


def test_what_is_prepared_comes_before_folders_and_folders_before_archives(tmp_path):
    write_imagenet(manual(tmp_path), train_files(), validation_files())
    unpack_train(manual(tmp_path) / "train", train_files(3))
    assert make(tmp_path, batch_size=9).train_examples == 9
    (manual(tmp_path) / "train").rename(manual(tmp_path) / "moved")
    assert make(tmp_path).train_examples == 12
    (manual(tmp_path) / "moved").rename(manual(tmp_path) / "train")
    assert make(tmp_path).train_examples == 12


def test_a_damaged_picture_is_left_out(tmp_path, capsys):
    name = "ILSVRC2012_val_00000002.JPEG"
    write_imagenet(manual(tmp_path), {}, validation_files() | {name: validation_files()[name][:300]})
    (manual(tmp_path) / "ILSVRC2012_img_train.tar").unlink()
    assert make(tmp_path).test_batch(0)["mask"].tolist() == [True] * 5 + [False, True]
    told = capsys.readouterr().err
    assert told.startswith(f"{name} in {manual(tmp_path)}/{VALIDATION} cannot be decoded: ")
    assert told.endswith(": it is left out (1 of 7 test pictures damaged so far)\n")


def test_an_archive_cut_short_is_told(tmp_path):
    write_imagenet(manual(tmp_path), {}, validation_files())
    path = manual(tmp_path) / VALIDATION
    (manual(tmp_path) / "ILSVRC2012_img_train.tar").unlink()
    whole = path.read_bytes()
    for length in (0, 512, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=f"{path} is truncated or damaged"):
            make(tmp_path)
    write_imagenet(manual(tmp_path), {}, {})
    (manual(tmp_path) / "ILSVRC2012_img_train.tar").unlink()
    with pytest.raises(DataError, match=f"there is no file in {path}: get it again"):
        make(tmp_path)


def test_other_names_are_told(tmp_path):
    unpack_train(manual(tmp_path) / "train", train_files())
    unpack_validation(manual(tmp_path) / "val", validation_files() | {"holiday_00000001.JPEG": b""})
    with pytest.raises(DataError, match=r"holiday_00000001\.JPEG in .*val is not named after one of the 50000 validat"):
        make(tmp_path)
    (manual(tmp_path) / "val" / "holiday_00000001.JPEG").unlink()
    (manual(tmp_path) / "train" / IDS[0]).rename(manual(tmp_path) / "train" / "tench")
    with pytest.raises(DataError, match=r"train/tench is not named .* such as n01440764: data\.source=image_folder"):
        make(tmp_path)


def test_every_form_is_named_where_there_is_none(tmp_path):
    with pytest.raises(DataError) as caught:
        make(tmp_path)
    assert str(caught.value) == (
        "ImageNet is not there: put ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from "
        f"https://image-net.org/download-images, where one has to register, into {manual(tmp_path)}, packed or "
        "unpacked into folders train and val, or name with data.data_dir the folder in which tensorflow-datasets has "
        "prepared imagenet2012"
    )
    (manual(tmp_path) / "val").mkdir(parents=True)
    with pytest.raises(DataError, match=f"there is no picture in {manual(tmp_path)}/val: unpack {VALIDATION} into it"):
        make(tmp_path)


WITHOUT = """
import sys
sys.modules["array_record"] = None
from pathlib import Path
from stata_jax.data.readers.imagenet_forms import find_splits
from stata_jax.data.protocol import DataError

try:
    train, test = find_splits(Path(sys.argv[1]), Path(sys.argv[1]) / "downloads" / "manual")
    print(len(test.examples))
except DataError as error:
    print(error)
"""


def without_array_record(folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", WITHOUT, str(folder)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_array_record_the_archives_have_to_be_unpacked(tmp_path):
    write_imagenet(manual(tmp_path), train_files(), validation_files())
    told = without_array_record(tmp_path)
    assert told.startswith("preparing stata_imagenet2012 needs the package array_record, which cannot be imported here")
    assert told.endswith(
        f"unpack ILSVRC2012_img_train.tar into {manual(tmp_path)}/train, a folder a class, and leave the other as it is"
    )
    unpack_train(manual(tmp_path) / "train", train_files())
    assert without_array_record(tmp_path) == "7"
