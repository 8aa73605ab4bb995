"""Your own pictures: which are found, as what, and what becomes of damaged ones."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from picture_folders import png, split, write
from PIL import Image

from stata_jax.data.options import SourceOptions
from stata_jax.data.picture_source import PictureSource
from stata_jax.data.protocol import DataError, Source
from stata_jax.data.readers import jpeg
from stata_jax.data.sources.image_folder import open_image_folder

OPTIONS = {
    "image_size": 8,
    "channels": 1,
    "crop_scale": (1.0, 1.0),
    "workers": 0,
    "batch_size": 4,
    "eval_batch_size": 4,
    "seed": 0,
}
TRAIN, TEST = {"ant": 3, "bee": 4, "cow": 5}, {"ant": 2, "bee": 3, "cow": 1}
LABELS = {"train": [0] * 3 + [1] * 4 + [2] * 5, "test": [0] * 2 + [1] * 3 + [2]}


def make(folder: Path, num_classes: int = 3, **changes) -> PictureSource:
    return open_image_folder(SourceOptions(**OPTIONS | changes, path=str(folder), num_classes=num_classes))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Training pictures of grey 0 to 11, test pictures of grey 100 to 105."""
    write(tmp_path / "train", split(TRAIN))
    write(tmp_path / "val", split(TEST, start=100))
    return tmp_path


def shown_in_test(source: PictureSource) -> tuple[list[int], list[int]]:
    """Greys and labels of the test pictures that count, in order."""
    batches = [source.test_batch(step) for step in range(source.test_steps)]
    whole = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    return [whole[name][whole["mask"]].reshape(sum(whole["mask"]), -1)[:, 0].tolist() for name in ("image", "label")]


def trained(source: PictureSource, epoch: int = 0) -> list[tuple[int, int]]:
    """Greys and labels of an epoch, in its order."""
    batches = [source.train_batch(epoch, step) for step in range(source.steps_per_epoch)]
    return [(int(image[0, 0, 0]), int(label)) for b in batches for image, label in zip(*b.values(), strict=True)]


def test_classes_and_labels_follow_from_the_folders(folder, capsys):
    (folder / "train" / ".hidden").mkdir()
    write(folder, {"train/bee/notes.txt": b"", "val/cow/.DS_Store": b"", "val/readme.md": b""})
    source = make(folder)
    assert isinstance(source, Source)
    assert (source.num_classes, source.image_shape) == (3, (8, 8, 1))
    assert (source.train_examples, source.test_examples, source.steps_per_epoch) == (12, 6, 3)
    assert shown_in_test(source) == [list(range(100, 106)), LABELS["test"]]
    assert sorted(trained(source)) == list(zip(range(12), LABELS["train"], strict=True))
    assert trained(source, 1) != trained(source, 0) == trained(make(folder), 0)
    out = capsys.readouterr().out
    assert f"{folder}: 3 classes (ant, bee, cow), 12 training pictures, 6 test pictures in val; 1 other files" in out


def test_names_are_sorted_as_text_and_a_test_folder_does_as_well(tmp_path):
    counts = {"10": 1, "9": 1, "B": 1, "a": 1}
    write(tmp_path / "train", split(dict(reversed(counts.items()))))
    write(tmp_path / "test", split(counts, start=50))
    assert shown_in_test(make(tmp_path, 4)) == [[50, 51, 52, 53], [0, 1, 2, 3]]
    write(tmp_path / "val", split({"9": 1}, start=70))  # is preferred
    assert shown_in_test(make(tmp_path, 4)) == [[70], [1]]


def test_pictures_in_folders_below_and_of_many_formats_are_found(tmp_path):
    image = Image.fromarray(np.full((9, 9), 77, np.uint8))
    files = {"train/a/0.png": png(1), "train/b/0.png": png(2)}
    for place, kind in enumerate(("JPEG", "png", "GIF", "bmp", "webp", "tiff")):
        contents = io.BytesIO()
        image.save(contents, kind.upper())
        files[f"val/{'ab'[place % 2]}/deep/er/x.{kind}"] = contents.getvalue()
    assert shown_in_test(make(write(tmp_path, files), 2, batch_size=2)) == [[77] * 6, [0] * 3 + [1] * 3]


def test_pictures_of_any_size_and_colours_are_cropped_as_imagenets(tmp_path):
    random = np.random.RandomState(0)
    arrays = {
        "grey": random.randint(0, 256, (30, 21)).astype(np.uint8),
        "deep": random.randint(0, 65536, (12, 40)).astype(np.uint16),
        "rgb": random.randint(0, 256, (25, 25, 3)).astype(np.uint8),
        "rgba": random.randint(0, 256, (5, 6, 4)).astype(np.uint8),
    }
    for split_name in ("train", "val"):
        for name, values in arrays.items():
            (tmp_path / split_name / name).mkdir(parents=True)
            Image.fromarray(values).save(tmp_path / split_name / name / "x.png")
    source = make(tmp_path, 4, channels=3, image_size=16)
    alpha = arrays["rgba"][..., 3:] / 255
    expected = {  # in the order of the labels
        "deep": np.repeat(np.rint(arrays["deep"] / 257)[..., None], 3, axis=-1),
        "grey": np.repeat(arrays["grey"][..., None], 3, axis=-1),
        "rgb": arrays["rgb"],
        "rgba": np.rint(alpha * arrays["rgba"][..., :3] + (1 - alpha) * 255),
    }
    for found, values in zip(source.test_batch(0)["image"], expected.values(), strict=True):
        crop = jpeg.centre_crop(Image.fromarray(values.astype(np.uint8)), size=16, share=0.875)
        np.testing.assert_array_equal(found, crop)
    batch = source.train_batch(0, 0)
    assert batch["image"].shape == (4, 16, 16, 3) and batch["image"].dtype == np.uint8


def test_testing_needs_only_the_test_pictures(folder):
    for path in sorted((folder / "train").rglob("*.png")):
        path.unlink()  # the empty folders still say which classes there are
    (folder / "val" / "ant").rename(folder / "elsewhere")
    source = make(folder, batch_size=1000)
    assert shown_in_test(source) == [list(range(102, 106)), LABELS["test"][2:]]
    assert source.train_examples == 0
    for call in (lambda: source.steps_per_epoch, lambda: source.train_batch(0, 0)):
        with pytest.raises(DataError, match=f"there is no training image: put pictures into {folder}/train, a folder"):
            call()
    for path in sorted((folder / "train").iterdir()):
        path.rmdir()
    (folder / "train").rmdir()
    assert shown_in_test(make(folder, 2))[1] == [0, 0, 0, 1]
    with pytest.raises(DataError, match=rf"data.num_classes is 3, but .* 2 folders of classes in {folder}/val \(bee, "):
        make(folder)


DAMAGED = {"train/bee/1.png": b"", "val/bee/2.png": png(9)[:40], "val/cow/0.png": b"text"}


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_pictures_are_named_counted_and_left_out(folder, capsys, workers):
    source = make(write(folder, DAMAGED), workers=workers)
    try:
        for _ in range(2):  # named once
            assert shown_in_test(source) == [[100, 101, 102, 103], LABELS["test"][:4]]
            shown = sorted(trained(source))
            # The next picture, of grey 5, stands for the one of grey 4.
            greys = [0, 1, 2, 3, 5, 5, *range(6, 12)]
            assert shown == list(zip(greys, LABELS["train"], strict=True))
    finally:
        source.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    for line, name, count in zip(
        lines,
        ("val/bee/2.png", "val/cow/0.png", "train/bee/1.png"),
        ("1 of 6 test", "2 of 6 test", "1 of 12 training"),
        strict=True,
    ):
        assert line.startswith(f"{folder}/{name} cannot be decoded: ")
        assert line.endswith(f": it is left out ({count} pictures damaged so far)")


def test_of_many_damaged_pictures_the_first_are_named_and_all_are_counted(tmp_path, capsys):
    write(tmp_path / "train", split({"a": 30, "b": 40}))
    write(tmp_path / "val", split({"a": 2, "b": 2}))
    write(tmp_path / "train", {f"b/{i}.png": b"" for i in range(0, 40) if i % 8 != 7})  # every eighth is whole
    source = make(tmp_path, 2, batch_size=10)
    seen = trained(source)
    trained(source)
    assert {grey for grey, label in seen if label} == {37, 45, 53, 61, 69}
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "35 of 70 training pictures damaged: they are left out"


def test_where_most_are_damaged_nothing_is_trained(folder):
    write(folder, {f"val/{name}": b"version https://git-lfs" for name in ("ant/0.png", "bee/0.png", "bee/1.png")})
    assert shown_in_test(make(folder))[0] == [101, 104, 105]  # half of them
    write(folder, {"val/bee/2.png": b"version https://git-lfs"})
    message = (
        rf"of 6 pictures of the {folder}/val that were looked at, 4 cannot be decoded; the first: {folder}/val/ant/0"
    )
    with pytest.raises(DataError, match=message):
        make(folder)


def test_fewer_examples_than_there_are(folder):
    source = make(folder, train_examples=4, test_examples=3)
    assert shown_in_test(source) == [[100, 102, 104], [0, 1, 1]]
    assert sorted(trained(source)) == [(0, 0), (3, 1), (6, 1), (9, 2)]
    with pytest.raises(DataError, match=r"data.test_examples is 7, but the data set has 6 of them"):
        make(folder, test_examples=7)


def test_processes_share_the_batches(folder):
    write(folder, DAMAGED)
    alone, parts = make(folder), [make(folder, process_index=i, process_count=2) for i in range(2)]
    for ask in (lambda s: s.train_batch(1, 2), lambda s: s.test_batch(1)):
        halves = [ask(part) for part in parts]
        for name, value in ask(alone).items():
            np.testing.assert_array_equal(value, np.concatenate([half[name] for half in halves]))


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        (
            ("train", "val"),
            r"data.path, {}, has no folder val or test: it must hold train/ and val/ \(or test/\), in e",
        ),
        (("val",), r"data.path, {}, has no folder val or test"),
        ((".",), r"data.path, {}, is no folder: it must hold train/"),
        (("val/ant", "val/bee", "val/cow"), r"there is no picture in the folders of {}/val: pictures are known by the"),
        (
            ("train/ant", "train/bee", "train/cow"),
            r"data.num_classes is 3, but there are 0 folders .* {}/train: data.p",
        ),
        (("train/ant",), r"data.num_classes is 3, but there are 2 folders of classes in {}/train \(bee, cow\)"),
    ],
)
def test_another_form_is_told(folder, remove, message):
    for number, name in enumerate(remove):
        if name == ".":
            folder = folder / "nothing"
        elif name == "val/cow":  # a class without pictures
            (folder / name / "0.png").rename(folder / name / "0.text")
        else:
            (folder / name).rename(folder / f".{number}")
    with pytest.raises(DataError, match=message.format(folder)):
        make(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text on other systems")
def test_names_that_are_no_text(tmp_path, capsys):
    name = os.fsdecode(b"caf\xe9")
    source = make(
        write(tmp_path, {f"{place}/{name}/{name}.png": png(5) for place in ("train", "val")}), 1, batch_size=1
    )
    assert shown_in_test(source) == [[5], [0]]
    assert "1 classes (caf?)" in capsys.readouterr().out


def test_classes_that_only_the_test_pictures_have_are_named(folder):
    write(folder, {f"val/{name}/0.png": png(0) for name in "fedcxyz"})
    with pytest.raises(
        DataError, match=rf"{folder}/val has classes that {folder}/train has not: c, d, e, f, x and 2 m"
    ):
        make(folder)


def test_a_path_is_needed(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"data\.path is empty: name the folder of your pictures"):
        open_image_folder(SourceOptions(**OPTIONS, num_classes=3))
    with pytest.raises(ValueError, match=r"data\.channels must be 1, grey, or 3, RGB, for pictures: got 2"):
        make(tmp_path, channels=2)
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(DataError, match=r"pip install 'stata_jax\[imagenet\]'"):
        make(tmp_path)
