"""ImageNet batches: against single images, for order, epochs, shares, restarts, threads and processes."""

import io
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from imagenet_files import IDS, train_files, validation_files, write_imagenet
from PIL import Image

from stata_jax.data.builders.imagenet import class_ids, validation_ids
from stata_jax.data.options import SourceOptions
from stata_jax.data.picture_source import PictureSource
from stata_jax.data.protocol import DataError, Source
from stata_jax.data.readers import jpeg
from stata_jax.data.sources.imagenet import open_imagenet

OPTIONS = {
    "image_size": 16,
    "crop_scale": (0.08, 1.0),
    "workers": 0,
    "batch_size": 4,
    "eval_batch_size": 4,
    "seed": 0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data_dir with 14 flat training pictures, each of one grey of its own, and 7 validation pictures."""
    path = tmp_path_factory.mktemp("imagenet")
    grey = [f"{IDS[i % 2]}_{i}.JPEG" for i in range(14)]
    train = {label: {name: flat(10 * i) for i, name in enumerate(grey) if name.startswith(label)} for label in IDS[:2]}
    write_imagenet(path / "downloads" / "manual", train, validation_files())
    make(path)
    return path


def flat(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (value, value, value)).save(file, "JPEG", quality=95)
    return file.getvalue()


def make(folder: Path, **changes) -> PictureSource:
    return open_imagenet(SourceOptions(**OPTIONS | changes, data_dir=str(folder)))


def assert_equal(batch: dict, other: dict) -> None:
    assert batch.keys() == other.keys()
    for name, value in batch.items():
        np.testing.assert_array_equal(value, other[name])


def shown(source: PictureSource, epoch: int) -> list[int]:
    """Which of the flat pictures an epoch shows, in order."""
    values = []
    for step in range(source.steps_per_epoch):
        batch = source.train_batch(epoch, step)
        pictures = np.rint(batch["image"].mean((1, 2, 3)) / 10).astype(int)
        np.testing.assert_array_equal(batch["label"], pictures % 2)
        values += pictures.tolist()
    return values


def test_counts_shapes_and_protocol(folder):
    source = make(folder)
    assert isinstance(source, Source)
    assert (source.num_classes, source.image_shape) == (1000, (16, 16, 3))
    assert (source.train_examples, source.test_examples) == (14, 7)
    assert (source.steps_per_epoch, source.test_steps) == (3, 2)
    train, test = source.train_batch(0, 0), source.test_batch(0)
    shapes = {"image": ((4, 16, 16, 3), np.uint8), "label": ((4,), np.int32)}
    assert {name: (x.shape, x.dtype) for name, x in train.items()} == shapes
    assert {name: (x.shape, x.dtype) for name, x in test.items()} == shapes | {"mask": ((4,), np.bool_)}
    assert "tensorflow" not in sys.modules


def test_an_epoch_shows_no_image_twice_in_an_order_of_its_own(folder):
    source = make(folder, batch_size=2)
    epochs = [shown(source, epoch) for epoch in range(3)]
    for order in epochs:
        assert sorted(order) == list(range(14)) != order
    assert epochs[0] != epochs[1] != epochs[2]
    assert shown(make(folder), 1) == epochs[1][:12]  # the order does not depend on the batch
    assert shown(make(folder, seed=2**32 - 1), 0) != epochs[0][:12]


def real_pictures(tmp_path: Path) -> dict[str, bytes]:
    files = train_files()
    write_imagenet(tmp_path / "downloads" / "manual", files, validation_files())
    return {name: image for contents in files.values() for name, image in contents.items()}


@pytest.mark.parametrize("share", [0.875, 1.0])
def test_test_images_are_centre_crops_in_order(tmp_path, share):
    real_pictures(tmp_path)
    source = make(tmp_path, test_crop=share)
    for _ in range(2):  # a second evaluation sees the same
        batches = [source.test_batch(step) for step in range(2)]
        whole = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        assert whole["mask"].tolist() == [True] * 7 + [False]
        files = [*validation_files().items()]
        for place, (name, contents) in enumerate([*files, files[0]]):
            expected = jpeg.centre_crop(jpeg.decode(contents), size=16, share=share)
            np.testing.assert_array_equal(whole["image"][place], expected)
            number = int(name[-13:-5])
            assert whole["label"][place] == class_ids().index(validation_ids()[number - 1])


def test_training_images_are_crops_of_all_kinds_of_pictures(tmp_path):
    pictures = real_pictures(tmp_path)
    source = make(tmp_path, batch_size=12, crop_scale=(1.0, 1.0), image_size=32)
    batch = source.train_batch(0, 0)
    # A crop of the whole area only fits with a ratio near the picture's own: mostly it is the picture itself.
    whole = [
        np.asarray(jpeg.decode(each).resize((32, 32), Image.Resampling.BICUBIC), int) for each in pictures.values()
    ]
    differences = np.abs(batch["image"][:, None] - np.stack(whole)[None]).mean((2, 3, 4))
    assert sorted(differences.argmin(1).tolist()) == list(range(12))
    assert np.median(differences.min(1)) == 0


def test_crops_change_from_epoch_to_epoch(tmp_path):
    real_pictures(tmp_path)
    source = make(tmp_path, batch_size=12, image_size=8)
    first, second = (source.train_batch(epoch, 0)["image"] for epoch in (0, 1))
    same = np.all(first[:, None] == second[None], axis=(2, 3, 4))
    assert not same.any()


def test_a_restart_in_the_middle_of_an_epoch_and_any_other_order_give_the_same(folder):
    source = make(folder)
    going = [source.train_batch(*divmod(number, 3)) for number in range(8)]
    fresh = make(folder)
    for number in (5, 6, 7, 2, 3, 3, 0):  # an evaluation in between changes nothing
        assert_equal(fresh.train_batch(*divmod(number, 3)), going[number])
        fresh.test_batch(0)
    assert_equal(fresh.test_batch(1), make(folder).test_batch(1))


def test_threads_end_with_the_test_set_and_when_the_source_is_closed(folder):
    def started_by(call) -> list[threading.Thread]:
        before = set(threading.enumerate())
        call()
        return [thread for thread in threading.enumerate() if thread not in before]

    def assert_end(threads: list[threading.Thread]) -> None:
        assert threads
        for thread in threads:
            thread.join(timeout=20)
            assert not thread.is_alive()

    source = make(folder)
    threads = started_by(lambda: source.test_batch(0))
    source.test_batch(1)
    assert_end(threads)
    threads = started_by(lambda: source.train_batch(0, 0))
    source.close()
    assert_end(threads)
    assert_equal(source.train_batch(0, 0), make(folder).train_batch(0, 0))


def test_processes_share_the_batches(folder):
    alone, parts = make(folder), [make(folder, process_index=i, process_count=2) for i in range(2)]
    for ask in (lambda s: s.train_batch(1, 2), lambda s: s.test_batch(1)):
        halves = [ask(part) for part in parts]
        assert_equal(ask(alone), {name: np.concatenate([half[name] for half in halves]) for name in halves[0]})


def test_worker_processes_make_the_same_batches(folder):
    threads, workers = make(folder), make(folder, workers=2)
    try:
        for number in (1, 2, 3):
            assert_equal(workers.train_batch(*divmod(number, 3)), threads.train_batch(*divmod(number, 3)))
    finally:
        workers.close()


def test_fewer_examples_than_there_are(folder):
    source = make(folder, batch_size=2, train_examples=4, test_examples=2)
    assert (source.train_examples, source.test_examples, source.test_steps) == (4, 2, 1)
    # The archive has the even greys first, then the odd ones: every third or fourth of them in that order.
    stored = [*range(0, 14, 2), *range(1, 14, 2)]
    assert sorted(shown(source, 0)) == sorted(stored[i * 14 // 4] for i in range(4))
    with pytest.raises(DataError, match=r"data.test_examples is 8, but the data set has 7 of them"):
        make(folder, test_examples=8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_scale": (0.0, 1.0)}, r"got 16, 0, \(0.0, 1.0\)"),
        ({"crop_scale": (0.5, 0.4)}, r"augment.crop_scale two increasing shares"),
        ({"test_crop": 0.0}, r"data.test_crop must be above 0 and at most 1, got 0.0"),
        ({"test_crop": 1.5}, r"got 1.5"),
        ({"image_size": 0}, "got 0, 0, "),
        ({"workers": -1}, "got 16, -1, "),
    ],
)
def test_options_are_checked(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, **changes)


def test_a_missing_grain_is_explained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(DataError, match=r"pip install 'stata_jax\[imagenet\]'"):
        make(tmp_path)


def test_no_batch_beyond_the_last(folder):
    source = make(folder)
    for call in (
        lambda: source.train_batch(0, 3),
        lambda: source.train_batch(-1, 0),
        lambda: source.test_batch(2),
    ):
        with pytest.raises(ValueError, match="must be"):
            call()
