"""Which examples make up a batch: arithmetic on positions, shared by all sources of this package."""

import math
from dataclasses import dataclass

import numpy as np

from stata_jax.data.options import SourceOptions
from stata_jax.data.protocol import DataError


@dataclass(frozen=True)
class Plan:
    """The batches of a data set, and the share of them that one process sees.

    Batch `s` of size `B` is made of the positions `s B .. (s + 1) B - 1` of an epoch's order; of these, process `p` of
    `P` takes the contiguous run that starts at `s B + p B / P`.

    Attributes:
      train_examples: Training images per epoch, at least one batch.
      test_examples: Test images, at least one.
      batch_size: Images per training batch, over all processes.
      eval_batch_size: Images per test batch, over all processes.
      process_index: Which process this is, from 0.
      process_count: How many there are.
      no_training: Why there is no training image; "" if there are some.

    Raises:
      DataError: If the data is fewer than one batch.
      ValueError: If a batch does not divide over the processes, or a number is impossible.
    """

    train_examples: int
    test_examples: int
    batch_size: int
    eval_batch_size: int
    process_index: int = 0
    process_count: int = 1
    no_training: str = ""

    @classmethod
    def of(cls, options: SourceOptions, *, train: int, test: int, no_training: str = "") -> "Plan":
        """The plan of `train` and `test` examples by the batch sizes and processes of the options."""
        sizes = options.batch_size, options.eval_batch_size
        return cls(train, test, *sizes, options.process_index, options.process_count, no_training)

    def __post_init__(self) -> None:
        if not 0 <= self.process_index < self.process_count:
            raise ValueError(f"process_index must be from 0 to {self.process_count - 1}, got {self.process_index}")
        for key, size in (("train.batch_size", self.batch_size), ("eval.batch_size", self.eval_batch_size)):
            if size < 1 or size % self.process_count:
                raise ValueError(f"{key} must be a positive multiple of {self.process_count} processes, got {size}")
        if self.train_examples < self.batch_size and not self.no_training:
            raise DataError(
                f"there are {self.train_examples} training images, too few for one batch: lower train.batch_size, "
                f"{self.batch_size}, or raise data.train_examples (0 takes all)"
            )
        if self.test_examples < 1:
            raise DataError("there is no test image: raise data.test_examples (0 takes all)")

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch.

        Raises:
          DataError: If there is no training image.
        """
        if self.no_training:
            raise DataError(f"there is no training image: {self.no_training}")
        return self.train_examples // self.batch_size

    @property
    def test_steps(self) -> int:
        """Batches that hold every test image."""
        return math.ceil(self.test_examples / self.eval_batch_size)

    @property
    def share(self) -> int:
        """Images of a training batch in this process."""
        return self.batch_size // self.process_count

    @property
    def test_share(self) -> int:
        """Images of a test batch in this process."""
        return self.eval_batch_size // self.process_count

    def train_start(self, epoch: int, step: int) -> int:
        """Where this process's part of a training batch starts in the epoch's order.

        Raises:
          DataError: If there is no training image.
          ValueError: If there is no such epoch or step.
        """
        if epoch < 0:
            raise ValueError(f"epoch must be 0 or more, got {epoch}")
        _check_step(step, self.steps_per_epoch)
        return int(step) * self.batch_size + self.process_index * self.share

    def test_positions(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The images of this process's part of a test batch.

        Args:
          step: `0 <= step < test_steps`.

        Returns:
          Positions (B,) int32 in the test set, beyond its end counted again from its start, and the mask (B,) bool,
          False for those.

        Raises:
          ValueError: If there is no such step.
        """
        _check_step(step, self.test_steps)
        start = int(step) * self.eval_batch_size + self.process_index * self.test_share
        positions = start + np.arange(self.test_share, dtype=np.int32)
        return positions % self.test_examples, positions < self.test_examples


class Planned:
    """The counts of a `stata_jax.data.protocol.Source` that has its batches from a plan.

    Attributes:
      plan: How the examples are cut into batches.
    """

    plan: Plan

    @property
    def train_examples(self) -> int:
        """Training examples per epoch."""
        return self.plan.train_examples

    @property
    def test_examples(self) -> int:
        """Test examples."""
        return self.plan.test_examples

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; what is left over is not shown in that epoch."""
        return self.plan.steps_per_epoch

    @property
    def test_steps(self) -> int:
        """Batches that hold every test example; the last may be padded."""
        return self.plan.test_steps


def how_many(available: int, wanted: int, *, key: str) -> int:
    """The number of examples to use.

    Args:
      available: Number of examples that there are.
      wanted: How many to use; 0 for all.
      key: Config key of `wanted`, for the message.

    Raises:
      DataError: If there are not as many.
    """
    if not 0 <= wanted <= available:
        raise DataError(f"{key} is {wanted}, but the data set has {available} of them (0 takes all)")
    return wanted or available


def spread(available: int, wanted: int, *, key: str) -> np.ndarray:
    """Indices of the examples to use, spread evenly, since prepared data may be sorted by class.

    Args:
      available: Number of examples that there are.
      wanted: How many to use; 0 for all.
      key: Config key of `wanted`, for the message.

    Returns:
      (wanted,) int64, increasing: `floor(i available / wanted)`.

    Raises:
      DataError: If there are not as many.
    """
    count = how_many(available, wanted, key=key)
    return np.arange(count) * available // max(count, 1)


def _check_step(step: int, steps: int) -> None:
    if not 0 <= step < steps:
        raise ValueError(f"step must be from 0 to {steps - 1}, got {step}")
