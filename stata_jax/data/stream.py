"""Batches of a `grain.MapDataset` by number, made ahead in threads or processes."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from stata_jax.data.protocol import DataError

_AHEAD = 2  # batches that are made ahead, in each process


def need_grain() -> None:
    """Checks that grain is there, which is not installed by default and does not exist for every system.

    Raises:
      DataError: If it is not.
    """
    try:
        import grain  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"pictures are read by grain, which cannot be imported here ({error}): pip install 'stata_jax[imagenet]'"
        ) from error


class Stream:
    """Batches of a `grain.MapDataset` by number, made ahead while they are asked for in turn."""

    def __init__(self, images: Any, *, size: int, workers: int) -> None:
        """Prepares to read batches of `size` images in `workers` processes, or in threads of this one if 0."""
        self._images, self._size, self._workers = images, size, workers
        self._next: int | None = None  # the batch that the iterator is at
        self._iterator: Any = None

    def batch(self, number: int) -> dict[str, np.ndarray]:
        """Batch `number`; another than the next one starts anew there, which costs no more than that batch."""
        if number != self._next:
            self.close()
            self._iterator = self._start(number)
        self._next = None  # if this fails
        try:
            batch: dict[str, np.ndarray] = next(self._iterator)
        except DataError as error:
            raise DataError(str(error).partition("\n")[0]) from error  # grain adds lines about its traceback
        self._next = number + 1
        return batch

    def close(self) -> None:
        """Ends threads and processes."""
        if self._iterator is not None:
            self._iterator.close()
        self._iterator = self._next = None

    def _start(self, number: int) -> Iterator[Any]:
        import grain

        images = self._images[number * self._size :]
        if not self._workers:
            options = grain.ReadOptions(num_threads=_cores(), prefetch_buffer_size=_AHEAD * self._size)
            return iter(images.to_iter_dataset(options).batch(self._size))
        from absl import flags

        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # grain hands them to its processes
        alone = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
        options = grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=_AHEAD)
        return iter(images.batch(self._size).to_iter_dataset(alone).mp_prefetch(options))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
