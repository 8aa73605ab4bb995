"""ImageNet: pictures read, decoded and cropped on the host by grain, ahead of the training step.

The order of an epoch and the crop of each image follow from the seed, the epoch and the place in the order, whatever
the number of threads, processes or restarts.
"""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from stata_jax.data import jpeg
from stata_jax.data.batches import Plan, spread
from stata_jax.data.protocol import DataError
from stata_jax.data.tfds_store import find_or_prepare, open_split

NAME = "imagenet2012"
_AHEAD = 2  # batches that are made ahead, in each process


class Records:
    """Some of the examples of a prepared data set; `records[i]` is the `i`-th of the chosen ones."""

    def __init__(self, examples: Sequence[Any], chosen: np.ndarray, *, name: str) -> None:
        """Keeps the arguments: the examples, the indices of those to use, and a name for messages."""
        self._examples, self._chosen, self._name = examples, chosen, name

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, place: int) -> dict[str, Any]:
        """Reads and decodes: `image`, a picture in RGB, and `label`.

        Raises:
          DataError: If that is not possible.
        """
        index, name = int(self._chosen[place]), ""
        try:
            example = self._examples[index]
            name = f" ({example.get('file_name', b'').decode()})"
            return {"image": jpeg.decode(example["image"]), "label": np.int32(example["label"])}
        except Exception as error:  # a damaged shard or picture can raise anything
            raise DataError(f"example {index}{name} of the {self._name} cannot be read: {error}") from error


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


def test_images(records: Records, *, plan: Plan, size: int) -> Any:
    """This process's test images, padded to whole batches, as a `grain.MapDataset`; see `train_images`."""
    import grain

    def image_at(k: int) -> dict[str, Any]:
        step, place = divmod(k, plan.test_share)
        example = records[int(plan.test_positions(step)[0][place])]
        return example | {"image": jpeg.centre_crop(example["image"], size=size)}

    return grain.MapDataset.range(plan.test_steps * plan.test_share).map(image_at)


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


class ImageNetSource:
    """Batches of a prepared ImageNet, a `Source`; made by `open_imagenet`. The batches are NumPy arrays."""

    def __init__(
        self,
        train: Records,
        test: Records,
        *,
        plan: Plan,
        num_classes: int,
        image_size: int,
        crop_scale: tuple[float, float],
        workers: int,
        seed: int,
    ) -> None:
        """Prepares the streams, which start with the first batch; see `open_imagenet`."""
        self.plan, self.num_classes = plan, num_classes
        self.train_examples, self.test_examples = plan.train_examples, plan.test_examples
        self.image_shape = (image_size, image_size, 3)
        images = train_images(train, plan=plan, seed=seed, size=image_size, scale=crop_scale)
        self._train = Stream(images, size=plan.share, workers=workers)
        self._test = Stream(test_images(test, plan=plan, size=image_size), size=plan.test_share, workers=workers)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; what is left over is not shown in that epoch."""
        return self.plan.steps_per_epoch

    @property
    def test_steps(self) -> int:
        """Batches that hold every test image; the last may be padded."""
        return self.plan.test_steps

    def train_batch(self, epoch: int, step: int) -> dict[str, np.ndarray]:
        """Batch `step` of an epoch, see `Source.train_batch`.

        Raises:
          DataError: If a picture cannot be read.
          ValueError: If there is no such epoch or step.
        """
        self.plan.train_start(epoch, step)  # checks them
        return self._train.batch(int(epoch) * self.steps_per_epoch + int(step))

    def test_batch(self, step: int) -> dict[str, np.ndarray]:
        """Batch `step` of the test set, see `Source.test_batch`.

        Raises:
          DataError: If a picture cannot be read.
          ValueError: If there is no such step.
        """
        _, mask = self.plan.test_positions(step)
        batch = self._test.batch(int(step)) | {"mask": mask}
        if step == self.test_steps - 1:
            self._test.close()
        return batch

    def close(self) -> None:
        """Ends the threads and processes that make batches ahead."""
        self._train.close()
        self._test.close()


def open_imagenet(
    *,
    data_dir: str,
    manual_dir: str,
    image_size: int,
    crop_scale: tuple[float, float],
    workers: int,
    batch_size: int,
    eval_batch_size: int,
    seed: int,
    train_examples: int = 0,
    test_examples: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> ImageNetSource:
    """Opens ImageNet, preparing it from its archives where that was not done before.

    Args:
      data_dir: Folder of prepared data, "" for TFDS's own.
      manual_dir: Folder of archives, "" for `<data_dir>/downloads/manual`.
      image_size: Height and width of the images, in pixels.
      crop_scale: Least and largest share of an image's area in a training crop.
      workers: Processes that decode; 0 for threads, one per core, in this process.
      batch_size: Images per training batch, over all processes.
      eval_batch_size: Images per test batch, over all processes.
      seed: What the order of the epochs and the crops follow from.
      train_examples: How many training images to use; 0 for all.
      test_examples: How many validation images to use; 0 for all.
      process_index: Which process this is.
      process_count: How many share each batch.

    Returns:
      A source of images (image_size, image_size, 3), uint8, that is tested on the validation images.

    Raises:
      DataError: If the data is missing, damaged or too small, or grain is not installed.
      ValueError: If a batch does not divide over the processes, or a number is impossible.
    """
    if image_size < 1 or workers < 0 or not 0 < crop_scale[0] <= crop_scale[1] <= 1:
        raise ValueError(
            "data.image_size must be at least 1, data.workers at least 0, augment.crop_scale two increasing shares "
            f"above 0 and at most 1: got {image_size}, {workers}, {crop_scale}"
        )
    try:
        import grain  # noqa: F401
    except ImportError as error:
        raise DataError("ImageNet is read by grain, which is missing: pip install 'stata_jax[imagenet]'") from error
    from stata_jax.data.builders.imagenet import StataImagenet2012

    folder = find_or_prepare(NAME, StataImagenet2012, data_dir, manual_dir)
    records = []
    for split, key, wanted in (("train", "train", train_examples), ("validation", "test", test_examples)):
        examples, num_classes = open_split(folder, split)
        chosen = spread(len(examples), wanted, key=f"data.{key}_examples")
        records.append(Records(examples, chosen, name=f"{split} split of {folder}"))
    plan = Plan(len(records[0]), len(records[1]), batch_size, eval_batch_size, process_index, process_count)
    return ImageNetSource(
        *records,
        plan=plan,
        num_classes=num_classes,
        image_size=image_size,
        crop_scale=crop_scale,
        workers=workers,
        seed=seed,
    )
