"""Epochs and batches of recordings that are stored as frames.

The order of an epoch follows from (seed, epoch) alone, so that a run resumes by asking for the next step. A small data
set is held in memory; of a large one, a background thread reads and decompresses the next batches.
"""

import concurrent.futures
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from stata_jax.data.protocol import DataError

Batch = dict[str, np.ndarray]


class Store(Protocol):
    """Recordings of a split by number, as frames."""

    def __len__(self) -> int:
        """How many there are."""

    def read(self, numbers: np.ndarray) -> Batch:
        """`image` `(B, T, H, W, 2)` uint8 and `label` `(B,)` int32 of the recordings of these numbers.

        Where it is known, also `corner` `(B, T, 2)` int32, see `stata_jax.data.protocol.Source`.
        """


@dataclass(frozen=True, eq=False)
class MemoryStore:
    """Recordings in memory.

    Attributes:
      frames: `(n, T, H, W, 2)` uint8.
      labels: `(n,)` int32.
      corners: `(n, T, 2)` int32, where what they show is in each frame; None where nobody knows.
    """

    frames: np.ndarray
    labels: np.ndarray
    corners: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, numbers: np.ndarray) -> Batch:
        """As in `Store`."""
        batch = {"image": self.frames[numbers], "label": self.labels[numbers]}
        return batch if self.corners is None else batch | {"corner": self.corners[numbers]}


@dataclass(frozen=True, eq=False)
class DiskStore:
    """Recordings of a TFDS data source, each with `frames` and `label`; `name` is for messages."""

    source: Sequence[Any]
    name: str = "the data set"

    def __len__(self) -> int:
        return len(self.source)

    def read(self, numbers: np.ndarray) -> Batch:
        """As in `Store`.

        Raises:
          DataError: a recording cannot be read.
        """
        try:
            items = self.source.__getitems__([int(number) for number in numbers])  # type: ignore[attr-defined]
        except Exception as error:  # a damaged file can raise anything
            raise DataError(
                f"{self.name} is damaged ({error or type(error).__name__}): delete that folder, so that it is prepared "
                "again"
            ) from error
        return {
            "image": np.stack([item["frames"] for item in items]),
            "label": np.array([item["label"] for item in items], np.int32),
        }


def load(store: Store, *, chunk: int = 64) -> MemoryStore:
    """Reads a whole store into memory.

    Args:
      store: any.
      chunk: recordings to read at once, beside those already read.
    """
    first = store.read(np.arange(1))["image"]
    frames = np.empty((len(store), *first.shape[1:]), first.dtype)
    labels = np.empty(len(store), np.int32)
    for begin in range(0, len(store), chunk):
        numbers = np.arange(begin, min(begin + chunk, len(store)))
        batch = store.read(numbers)
        frames[numbers], labels[numbers] = batch["image"], batch["label"]
    return MemoryStore(frames, labels)


class Ahead:
    """Makes batches before they are asked for, in a thread; they are the same as without.

    Args:
      make: the batch of a key, a pure function.
      depth: how many batches to make ahead; 0 makes each when it is asked for.
    """

    def __init__(self, make: Callable[[tuple[int, ...]], Batch], depth: int) -> None:
        self._make, self._depth = make, depth
        self._pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="recordings") if depth else None
        self._pending: dict[tuple[int, ...], concurrent.futures.Future[Batch]] = {}

    def get(self, key: tuple[int, ...], following: Sequence[tuple[int, ...]]) -> Batch:
        """The batch of `key`; starts with those of the keys that follow, of which only the first `depth` count."""
        if self._pool is None:
            return self._make(key)
        wanted = [key, *following[: self._depth]]
        for old in [old for old in self._pending if old not in wanted]:
            self._pending.pop(old).cancel()
        for new in wanted:
            if new not in self._pending:
                self._pending[new] = self._pool.submit(self._make, new)
        return self._pending.pop(key).result()


@dataclass(frozen=True, eq=False)
class RecordingSource:
    """Batches of recordings; made by `make_source`.

    Attributes:
      train: training recordings, of which the first `train_examples` count.
      test: test recordings, of which the first `test_examples` count.
      num_classes: number of classes that there are recordings of.
      image_shape: `(T, H, W, 2)` of a recording.
      train_examples: training recordings per epoch.
      test_examples: test recordings.
      batch_size: recordings per training batch, over all processes.
      eval_batch_size: recordings per test batch, over all processes.
      seed: what the order of the epochs follows from.
      process_index: which share of each batch is this process's.
      process_count: number of shares.
      depth: batches to read ahead.
    """

    train: Store
    test: Store
    num_classes: int
    image_shape: tuple[int, ...]
    train_examples: int
    test_examples: int
    batch_size: int
    eval_batch_size: int
    seed: int
    process_index: int
    process_count: int
    depth: int
    _ahead: Ahead = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ahead", Ahead(self._make, self.depth))

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; what is left over is not shown in that epoch."""
        return self.train_examples // self.batch_size

    @property
    def test_steps(self) -> int:
        """Batches that hold every test recording; the last may be padded."""
        return math.ceil(self.test_examples / self.eval_batch_size)

    def train_batch(self, epoch: int, step: int) -> Batch:
        """Reads batch `step` of an epoch, the same one whenever it is asked for.

        Args:
          epoch: from 0.
          step: within the epoch, `0 <= step < steps_per_epoch`.

        Returns:
          `image` `(B, T, H, W, 2)` uint8 counts, `label` `(B,)` int32, and `corner` `(B, T, 2)` int32 where the store
          has one: this process's share of the batch.

        Raises:
          ValueError: no such epoch or step.
        """
        if epoch < 0:
            raise ValueError(f"epoch must be 0 or more, got {epoch}")
        _check_step(step, self.steps_per_epoch)
        place = epoch * self.steps_per_epoch + step
        following = [divmod(place + more, self.steps_per_epoch) for more in range(1, self.depth + 1)]
        return self._ahead.get((epoch, step), following)

    def test_batch(self, step: int) -> Batch:
        """Reads batch `step` of the test set.

        Args:
          step: `0 <= step < test_steps`.

        Returns:
          As `train_batch`, and `mask` `(B,)` bool: False where the last batch is padded with recordings shown before.

        Raises:
          ValueError: no such step.
        """
        _check_step(step, self.test_steps)
        following = [(later,) for later in range(step + 1, min(step + 1 + self.depth, self.test_steps))]
        return self._ahead.get((step,), following)

    def _make(self, key: tuple[int, ...]) -> Batch:
        """The batch of (epoch, step) in training, or of (step,) in the test."""
        if len(key) == 2:
            order = epoch_order(self.seed, key[0], self.train_examples)
            return self.train.read(self._share(order[key[1] * self.batch_size :], self.batch_size))
        position = self._share(key[0] * self.eval_batch_size + np.arange(self.eval_batch_size), self.eval_batch_size)
        return self.test.read(position % self.test_examples) | {"mask": position < self.test_examples}

    def _share(self, numbers: np.ndarray, size: int) -> np.ndarray:
        """This process's part of the first `size` numbers."""
        share = size // self.process_count
        return numbers[self.process_index * share : (self.process_index + 1) * share]


def epoch_order(seed: int, epoch: int, examples: int) -> np.ndarray:
    """The order in which an epoch shows its recordings: a permutation of `0 .. examples - 1`, `(examples,)` int64."""
    return np.random.RandomState([seed, epoch]).permutation(examples)  # a stream that no NumPy version changes


def _check_step(step: int, steps: int) -> None:
    if not 0 <= step < steps:
        raise ValueError(f"step must be from 0 to {steps - 1}, got {step}")


def make_source(
    train: Store,
    test: Store,
    *,
    num_classes: int,
    train_examples: int,
    test_examples: int,
    batch_size: int,
    eval_batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    depth: int = 0,
) -> RecordingSource:
    """Checks the options, which are named as in `configs/common.py`.

    Args:
      train: training recordings.
      test: test recordings.
      num_classes: number of classes.
      train_examples: training recordings per epoch; 0 for all.
      test_examples: test recordings; 0 for all.
      batch_size: recordings per training batch, over all processes.
      eval_batch_size: recordings per test batch, over all processes.
      seed: what the order of the epochs follows from.
      process_index: number of this process.
      process_count: number of processes, each of which gets an equal part of every batch.
      depth: batches to read ahead in a thread; 0 for none, as for recordings in memory.

    Raises:
      ValueError: an option that cannot be met; the message names its key.
    """
    for name, size in (("train.batch_size", batch_size), ("eval.batch_size", eval_batch_size)):
        if size < 1 or size % process_count:
            raise ValueError(f"{name} must be a multiple of the {process_count} processes, got {size}")
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index must be from 0 to {process_count - 1}, got {process_index}")
    for name, number, store in (
        ("data.train_examples", train_examples, train),
        ("data.test_examples", test_examples, test),
    ):
        if not 0 <= number <= len(store):
            raise ValueError(f"{name} must be from 0 (all) to {len(store)}, the recordings there are, got {number}")
    train_examples, test_examples = train_examples or len(train), test_examples or len(test)
    if train_examples < batch_size:
        raise ValueError(
            f"train.batch_size is {batch_size}, more than the {train_examples} training recordings: lower it"
        )
    return RecordingSource(
        train=train,
        test=test,
        num_classes=num_classes,
        image_shape=train.read(np.arange(1))["image"].shape[1:],
        train_examples=train_examples,
        test_examples=test_examples,
        batch_size=batch_size,
        eval_batch_size=eval_batch_size,
        seed=seed,
        process_index=process_index,
        process_count=process_count,
        depth=depth,
    )
