"""The source on the device: order, epochs, masks, shares of processes, restarts."""

import jax
import numpy as np
import pytest

from stata_jax.data.arrays import ArraySource
from stata_jax.data.options import SourceOptions
from stata_jax.data.protocol import DataError, Source

TRAIN, TEST = 50, 11
OPTIONS = {"batch_size": 12, "eval_batch_size": 4, "seed": 3}


def data(count: int, shape: tuple[int, ...] = (2, 3, 3)) -> tuple[np.ndarray, np.ndarray]:
    """Images that say which one they are."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8).reshape(-1, *[1] * len(shape)), (count, *shape))
    return images, (np.arange(count) * 7) % 10


def make(**changes) -> ArraySource:
    return ArraySource(data(TRAIN), data(TEST), SourceOptions(**OPTIONS | changes), num_classes=10)


def shown(source: ArraySource, epoch: int) -> list[int]:
    """Which images an epoch shows, in order."""
    batches = [source.train_batch(epoch, step) for step in range(source.steps_per_epoch)]
    for batch in batches:
        np.testing.assert_array_equal(batch["label"], np.asarray(batch["image"][:, 0, 0, 0], np.int32) * 7 % 10)
        assert np.all(np.asarray(batch["image"]) == np.asarray(batch["image"])[:, :1, :1, :1])
    return np.concatenate([batch["image"][:, 0, 0, 0] for batch in batches]).tolist()


def test_counts_shapes_and_protocol():
    source = make()
    assert isinstance(source, Source)
    assert (source.num_classes, source.image_shape) == (10, (2, 3, 3))
    assert (source.train_examples, source.test_examples) == (TRAIN, TEST)
    assert (source.steps_per_epoch, source.test_steps) == (4, 3)
    train, test = source.train_batch(0, 0), source.test_batch(0)
    assert {name: (x.shape, x.dtype) for name, x in train.items()} == {
        "image": ((12, 2, 3, 3), np.uint8),
        "label": ((12,), np.int32),
    }
    assert {name: (x.shape, x.dtype) for name, x in test.items()} == {
        "image": ((4, 2, 3, 3), np.uint8),
        "label": ((4,), np.int32),
        "mask": ((4,), np.bool_),
    }
    assert all(isinstance(x, jax.Array) for x in (train | test).values())


def test_an_epoch_shows_no_image_twice_in_an_order_of_its_own():
    source = make()
    epochs = [shown(source, epoch) for epoch in range(3)]
    for order in epochs:
        assert len(set(order)) == len(order) == 48
        assert order != sorted(order)
    assert epochs[0] != epochs[1] != epochs[2]
    assert set(shown(make(batch_size=10), 0)) == set(range(TRAIN))
    assert shown(make(batch_size=6), 1) == epochs[1]  # the order does not depend on the batch
    assert shown(make(seed=4), 0) != epochs[0]
    assert shown(make(), 2) == epochs[2]


def test_a_run_resumes_in_the_middle_of_an_epoch():
    source, fresh = make(), make()
    going = [source.train_batch(*divmod(number, 4)) for number in range(9)]
    for number in (6, 7, 8, 1):
        for name, value in fresh.train_batch(*divmod(number, 4)).items():
            np.testing.assert_array_equal(value, going[number][name])


def test_processes_share_the_batches():
    alone, parts = make(), [make(process_index=index, process_count=2) for index in range(2)]
    for name, value in alone.train_batch(1, 2).items():
        np.testing.assert_array_equal(value, np.concatenate([part.train_batch(1, 2)[name] for part in parts]))
    for name, value in alone.test_batch(2).items():
        np.testing.assert_array_equal(value, np.concatenate([part.test_batch(2)[name] for part in parts]))


def test_the_test_set_is_shown_in_order_and_padded_with_its_first_images():
    source = make()
    batches = [source.test_batch(step) for step in range(3)]
    images = np.concatenate([batch["image"][:, 0, 0, 0] for batch in batches])
    assert images.tolist() == [*range(11), 0]
    assert np.concatenate([batch["mask"] for batch in batches]).tolist() == [True] * 11 + [False]
    assert np.concatenate([batch["label"] for batch in batches]).tolist() == [*data(TEST)[1].tolist(), 0]


def test_recordings_keep_their_axes():
    source = ArraySource(data(12, (4, 5, 5, 2)), data(4, (4, 5, 5, 2)), SourceOptions(**OPTIONS), num_classes=10)
    assert source.image_shape == (4, 5, 5, 2)
    assert source.train_batch(0, 0)["image"].shape == (12, 4, 5, 5, 2)


def test_batches_are_compiled_once():
    from stata_jax.data import arrays

    source = make()
    source.train_batch(0, 0), source.test_batch(0)
    programs = (arrays._order, arrays._gather_run, arrays._gather)
    sizes = [program._cache_size() for program in programs]
    source.train_batch(5, 3), source.test_batch(2), source.train_batch(np.int64(1), np.int32(2))
    assert sizes == [program._cache_size() for program in programs]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ((data(50)[0], data(49)[1]), data(5), "49 labels do not fit uint8 images"),
        ((data(50)[0].astype(np.float32), data(50)[1]), data(5), "do not fit float32 images"),
        (data(50), data(5, (2, 2, 3)), "do not fit uint8 images \\(5, 2, 2, 3\\)"),
        ((data(50)[0], data(50)[1] + 1), data(5), "labels must be from 0 to 9, got 1 to 10"),
        ((data(50)[0], data(50)[1] - 1), data(5), "got -1 to 8"),
    ],
)
def test_arrays_must_fit(train, test, message):
    with pytest.raises(ValueError, match=message):
        ArraySource(train, test, SourceOptions(**OPTIONS), num_classes=10)


def test_too_few_images_for_a_batch():
    with pytest.raises(DataError, match="50 training images, too few for one batch"):
        make(batch_size=51)
