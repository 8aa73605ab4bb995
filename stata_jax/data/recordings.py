"""Epochs and batches of recordings that are stored as frames.

The order of an epoch follows from (seed, epoch) alone, so that a run resumes by asking for the next step. A small data
set is held in memory; of a large one, a background thread reads and decompresses the next batches.
"""

import concurrent.futures
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from stata_jax.data.batches import Plan, Planned, how_many
from stata_jax.data.options import SourceOptions
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


class RecordingSource(Planned):
    """Batches of recordings, a `Source`.

    Attributes:
      train: training recordings, of which the first `train_examples` count.
      test: test recordings, of which the first `test_examples` count.
      num_classes: number of classes that there are recordings of.
      image_shape: `(T, H, W, 2)` of a recording.
    """

    def __init__(self, train: Store, test: Store, options: SourceOptions, *, num_classes: int, depth: int = 0) -> None:
        """Looks at the shape of a recording.

        Args:
          train: training recordings.
          test: test recordings.
          options: how many of them to use, batch sizes, processes, and the seed of the order of the epochs.
          num_classes: number of classes.
          depth: batches to read ahead in a thread; 0 for none, as for recordings in memory.

        Raises:
          DataError: there are fewer recordings than a batch, or than asked for.
          ValueError: a batch does not divide over the processes.
        """
        self.train, self.test, self.num_classes = train, test, num_classes
        self.plan = Plan.of(
            options,
            train=how_many(len(train), options.train_examples, key="data.train_examples"),
            test=how_many(len(test), options.test_examples, key="data.test_examples"),
        )
        self.image_shape: tuple[int, ...] = train.read(np.arange(1))["image"].shape[1:]
        self._seed, self._depth = options.seed, depth
        self._ahead = Ahead(self._make, depth)

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
        self.plan.train_start(epoch, step)  # checks them
        place = epoch * self.steps_per_epoch + step
        following = [divmod(place + more, self.steps_per_epoch) for more in range(1, self._depth + 1)]
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
        self.plan.test_positions(step)  # checks it
        following = [(later,) for later in range(step + 1, min(step + 1 + self._depth, self.test_steps))]
        return self._ahead.get((step,), following)

    def _make(self, key: tuple[int, ...]) -> Batch:
        """The batch of (epoch, step) in training, or of (step,) in the test."""
        if len(key) == 2:
            start = self.plan.train_start(*key)
            order = epoch_order(self._seed, key[0], self.train_examples)
            return self.train.read(order[start : start + self.plan.share])
        positions, mask = self.plan.test_positions(*key)
        return self.test.read(positions) | {"mask": mask}


def epoch_order(seed: int, epoch: int, examples: int) -> np.ndarray:
    """The order in which an epoch shows its recordings: a permutation of `0 .. examples - 1`, `(examples,)` int64."""
    return np.random.RandomState([seed, epoch]).permutation(examples)  # a stream that no NumPy version changes
