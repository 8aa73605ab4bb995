"""Pictures as a source of batches: read, decoded and cropped on the host by grain, ahead of the training step.

The order of an epoch and the crop of each image follow from the seed, the epoch and the place in the order, whatever
the number of threads, processes or restarts.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from stata_jax.data.batches import Plan, Planned, spread
from stata_jax.data.options import SourceOptions
from stata_jax.data.readers import jpeg
from stata_jax.data.readers.records import Damage, Records
from stata_jax.data.stream import Stream, need_grain


def _crop(
    example: dict[str, Any], random: np.random.Generator, *, size: int, scale: tuple[float, float]
) -> dict[str, Any]:
    return example | {"image": jpeg.random_resized_crop(example["image"], random, size=size, scale=scale)}


def train_images(records: Records, *, plan: Plan, seed: int, size: int, scale: tuple[float, float]) -> Any:
    """This process's training images, one after the other, without end.

    Args:
      records: The training set.
      plan: How the epochs are cut into batches.
      seed: What order and crops follow from.
      size: Height and width of the crops, in pixels.
      scale: Least and largest share of an image's area in a crop.

    Returns:
      A `grain.MapDataset`, whose element `k` is image `k % share` of batch `k // share`, counted over all epochs.
    """
    import grain

    shuffled = grain.MapDataset.source(records).seed(seed).shuffle().repeat()  # anew in each epoch
    crops = shuffled.random_map(partial(_crop, size=size, scale=scale))

    def image_at(k: int) -> Any:
        batch, place = divmod(k, plan.share)
        epoch, step = divmod(batch, plan.steps_per_epoch)
        return crops[epoch * len(records) + plan.train_start(epoch, step) + place]

    return grain.MapDataset.range(2**40).map(image_at)


def test_images(records: Records, *, plan: Plan, size: int, crop: float) -> Any:
    """This process's test images, padded to whole batches, as a `grain.MapDataset`; see `train_images`."""
    import grain

    def image_at(k: int) -> dict[str, Any]:
        step, place = divmod(k, plan.test_share)
        example = records[int(plan.test_positions(step)[0][place])]
        return example | {"image": jpeg.centre_crop(example["image"], size=size, share=crop)}

    return grain.MapDataset.range(plan.test_steps * plan.test_share).map(image_at)


class PictureSource(Planned):
    """Batches of pictures of any size, a `Source`. The batches are NumPy arrays."""

    def __init__(
        self, train: Records | None, test: Records, options: SourceOptions, *, num_classes: int, no_training: str = ""
    ) -> None:
        """Prepares the streams, which start with the first batch.

        Args:
          train: The training set, or None to test only.
          test: The test set.
          options: What becomes of them; `check_options` has passed them.
          num_classes: Number of classes.
          no_training: Why there is no training set.

        Raises:
          DataError: If the data is fewer than one batch.
          ValueError: If a batch does not divide over the processes.
        """
        trained = 0 if train is None else len(train)
        self.plan = Plan.of(options, train=trained, test=len(test), no_training=no_training)
        size, channels, workers = options.image_size, options.channels, options.workers
        self.num_classes, self.image_shape = num_classes, (size, size, channels)
        self._train: Stream | None = None
        if train is not None:
            images = train_images(train, plan=self.plan, seed=options.seed, size=size, scale=options.crop_scale)
            self._train = Stream(images, size=self.plan.share, workers=workers)
            self._damaged_train = Damage(train, what="training")
        images = test_images(test, plan=self.plan, size=size, crop=options.test_crop)
        self._test = Stream(images, size=self.plan.test_share, workers=workers)
        self._damaged_test = Damage(test, what="test")

    def train_batch(self, epoch: int, step: int) -> dict[str, np.ndarray]:
        """Batch `step` of an epoch, see `Source.train_batch`.

        Raises:
          DataError: If a picture cannot be read.
          ValueError: If there is no such epoch or step.
        """
        self.plan.train_start(epoch, step)  # checks them, and that there is a training set
        assert self._train is not None
        batch = self._train.batch(int(epoch) * self.steps_per_epoch + int(step))
        self._damaged_train.meet(batch.pop("damaged"))
        if step == self.steps_per_epoch - 1:
            self._damaged_train.end()
        return self._shaped(batch)

    def test_batch(self, step: int) -> dict[str, np.ndarray]:
        """Batch `step` of the test set, see `Source.test_batch`.

        Raises:
          DataError: If a picture cannot be read.
          ValueError: If there is no such step.
        """
        _, mask = self.plan.test_positions(step)
        batch = self._test.batch(int(step))
        damaged = batch.pop("damaged")
        self._damaged_test.meet(damaged)
        if step == self.test_steps - 1:
            self._test.close()
            self._damaged_test.end()
        return self._shaped(batch) | {"mask": mask & (damaged < 0)}

    def close(self) -> None:
        """Ends the threads and processes that make batches ahead."""
        if self._train is not None:
            self._train.close()
        self._test.close()

    def _shaped(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return batch | {"image": batch["image"].reshape(-1, *self.image_shape)}  # grey pictures have no channel axis


def check_options(options: SourceOptions) -> None:
    """Checks what pictures are opened with, before any is looked for.

    Raises:
      DataError: If grain, which reads pictures, is not installed.
      ValueError: If a number is impossible.
    """
    size, workers, scale = options.image_size, options.workers, options.crop_scale
    if size < 1 or workers < 0 or not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(
            "data.image_size must be at least 1, data.workers at least 0, augment.crop_scale two increasing shares "
            f"above 0 and at most 1: got {size}, {workers}, {scale}"
        )
    if not 0 < options.test_crop <= 1:
        raise ValueError(f"data.test_crop must be above 0 and at most 1, got {options.test_crop}: 1 is all of it")
    if options.channels not in (1, 3):
        raise ValueError(f"data.channels must be 1, grey, or 3, RGB, for pictures: got {options.channels}")
    need_grain()


class Split(NamedTuple):
    """Where the pictures of a split come from.

    Attributes:
      examples: `image`, the bytes of a file, `label` and `file_name`.
      name: Of where they are, for messages.
      checked: Whether each has been looked at before, so that a damaged one is an error; else it is left out.
    """

    examples: Sequence[Any]
    name: str
    checked: bool = False


def make_source(
    train: Split | str,
    test: Split,
    options: SourceOptions,
    *,
    num_classes: int,
    decode: Callable[[bytes], Image.Image] = jpeg.decode,
) -> PictureSource:
    """Makes a source of two splits.

    Args:
      train: The training split, or what to do to get one.
      test: The test split.
      options: What becomes of the pictures; `check_options` has passed them.
      num_classes: Number of classes.
      decode: From the bytes of a file to a picture.

    Raises:
      DataError: If the data is too small, or most of it is damaged.
      ValueError: If a batch does not divide over the processes.
    """

    def records(split: Split, wanted: int, key: str) -> Records:
        chosen = spread(len(split.examples), wanted, key=key)
        made = Records(split.examples, chosen, name=split.name, decode=decode, lenient=not split.checked)
        if not split.checked:
            made.look()
        return made

    return PictureSource(
        None if isinstance(train, str) else records(train, options.train_examples, "data.train_examples"),
        records(test, options.test_examples, "data.test_examples"),
        options,
        num_classes=num_classes,
        no_training=train if isinstance(train, str) else "",
    )
