"""Epochs and batches of stored recordings."""

import threading

import numpy as np
import pytest

from stata_jax.data.options import SourceOptions
from stata_jax.data.protocol import DataError
from stata_jax.data.recordings import DiskStore, MemoryStore, RecordingSource, epoch_order, load


class Items(list):
    """A data source that counts what is read and in which thread."""

    def __init__(self, count):
        super().__init__({"frames": np.full((2, 3, 3, 2), i, np.uint8), "label": i % 5} for i in range(count))
        self.threads = []

    def __getitems__(self, numbers):
        self.threads.append(threading.current_thread())
        return [self[number] for number in numbers]


def source(store, *, depth=0, **changes):
    options = SourceOptions(**{"batch_size": 4, "eval_batch_size": 3, "seed": 7} | changes)
    return RecordingSource(store, store, options, num_classes=5, depth=depth)


def shown(batch):
    np.testing.assert_array_equal(batch["label"], batch["image"][:, 0, 0, 0, 0] % 5)
    assert batch["image"].dtype == np.uint8 and batch["label"].dtype == np.int32
    assert batch["image"].shape[1:] == (2, 3, 3, 2)
    return batch["image"][:, 0, 0, 0, 0].tolist()


def test_an_epoch_shows_each_recording_at_most_once_in_its_own_order():
    data = source(DiskStore(Items(22)))
    assert data.steps_per_epoch == 5 and data.image_shape == (2, 3, 3, 2) and data.num_classes == 5
    epochs = [[n for step in range(5) for n in shown(data.train_batch(epoch, step))] for epoch in range(3)]
    for epoch, numbers in enumerate(epochs):
        assert len(set(numbers)) == 20
        assert numbers == epoch_order(7, epoch, 22)[:20].tolist()
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert epochs[0] != epoch_order(8, 0, 22)[:20].tolist()


def test_the_test_set_is_shown_once_and_padded():
    data = source(DiskStore(Items(22)), test_examples=7)
    assert data.test_steps == 3
    batches = [data.test_batch(step) for step in range(3)]
    assert [shown(batch) for batch in batches] == [[0, 1, 2], [3, 4, 5], [6, 0, 1]]
    np.testing.assert_array_equal(np.concatenate([b["mask"] for b in batches]), [True] * 7 + [False] * 2)


def test_processes_share_each_batch():
    store = DiskStore(Items(22))
    whole = source(store, batch_size=6, eval_batch_size=6)
    parts = [source(store, batch_size=6, eval_batch_size=6, process_index=i, process_count=3) for i in range(3)]
    for name, key in (("train_batch", (1, 2)), ("test_batch", (3,))):
        expected = getattr(whole, name)(*key)
        shares = [getattr(part, name)(*key) for part in parts]
        for field, value in expected.items():
            np.testing.assert_array_equal(np.concatenate([share[field] for share in shares]), value)


def test_reading_ahead_gives_the_same_batches_from_another_thread():
    items = Items(22)
    plain, ahead = source(DiskStore(Items(22))), source(DiskStore(items), depth=2)
    asked = [(0, 0), (0, 1), (0, 4), (1, 0), (1, 1), (0, 2), (3, 3), (0, 2)]
    for epoch, step in asked:
        assert shown(ahead.train_batch(epoch, step)) == shown(plain.train_batch(epoch, step))
    for step in (0, 1, 7):
        np.testing.assert_array_equal(ahead.test_batch(step)["image"], plain.test_batch(step)["image"])
    assert threading.current_thread() not in items.threads[1:]  # the first is for the shape of a recording


def test_reading_ahead_is_bounded_and_done_once():
    items = Items(22)
    data = source(DiskStore(items), depth=2)
    for step in range(5):
        data.train_batch(0, step)
    data.train_batch(1, 0)
    data.train_batch(1, 1)
    assert len(data._ahead._pending) == 2
    for future in data._ahead._pending.values():
        future.result()
    assert len(items.threads) == 10  # each batch once, two more, and one recording for its shape


def test_an_error_in_the_thread_reaches_the_caller():
    items = Items(22)
    data = source(DiskStore(items, "clips in /data"), depth=2)
    items.clear()
    with pytest.raises(DataError, match=r"^clips in /data is damaged \(list index out of range\): delete that folder"):
        data.train_batch(0, 0)


def test_a_store_in_memory_is_the_same():
    store = DiskStore(Items(22))
    memory = load(store, chunk=5)
    assert isinstance(memory, MemoryStore) and len(memory) == len(store) == 22
    for field, value in store.read(np.arange(22)).items():
        np.testing.assert_array_equal(memory.read(np.arange(22))[field], value)
    assert shown(source(memory).train_batch(2, 1)) == shown(source(store).train_batch(2, 1))


def test_corners_come_with_their_recordings():
    whole = load(DiskStore(Items(22)))
    assert source(whole).test_batch(0).keys() == {"image", "label", "mask"}
    corners = np.arange(22 * 2 * 2, dtype=np.int32).reshape(22, 2, 2)
    data = source(MemoryStore(whole.frames, whole.labels, corners), test_examples=7)
    np.testing.assert_array_equal(data.test_batch(2)["corner"], corners[[6, 0, 1]])
    batch = data.train_batch(1, 2)
    np.testing.assert_array_equal(batch["corner"], corners[shown(batch)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 23}, "there are 22 training images, too few for one batch: lower train.batch_size, 23"),
        ({"train_examples": 23}, r"data.train_examples is 23, but the data set has 22 of them"),
        ({"test_examples": -1}, "data.test_examples is -1"),
        ({"batch_size": 0}, "train.batch_size must be a positive multiple of 1 processes, got 0"),
        (
            {"eval_batch_size": 5, "process_count": 2},
            "eval.batch_size must be a positive multiple of 2 processes",
        ),
        ({"process_index": 1}, "process_index must be from 0 to 0, got 1"),
    ],
)
def test_impossible_options_name_their_key(changes, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        source(DiskStore(Items(22)), **changes)


def test_batches_that_do_not_exist():
    data = source(DiskStore(Items(22)))
    for call in (lambda: data.train_batch(0, 5), lambda: data.train_batch(0, -1), lambda: data.test_batch(8)):
        with pytest.raises(ValueError, match="step must be from 0 to"):
            call()
    with pytest.raises(ValueError, match="epoch must be 0 or more, got -1"):
        data.train_batch(-1, 0)
