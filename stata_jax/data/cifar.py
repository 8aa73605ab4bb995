"""CIFAR-10 and CIFAR-100: from prepared data to a source on the device."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from stata_jax.data.arrays import ArraySource
from stata_jax.data.batches import spread
from stata_jax.data.protocol import DataError
from stata_jax.data.tfds_store import find_or_prepare, open_split


def open_cifar(
    name: str,
    *,
    data_dir: str,
    manual_dir: str,
    batch_size: int,
    eval_batch_size: int,
    seed: int,
    train_examples: int = 0,
    test_examples: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> ArraySource:
    """Opens CIFAR, preparing it where that was not done before; the archive is downloaded if it is missing.

    Args:
      name: `cifar10` or `cifar100`.
      data_dir: Folder of prepared data, "" for TFDS's own.
      manual_dir: Folder of archives, "" for `<data_dir>/downloads/manual`.
      batch_size: Images per training batch, over all processes.
      eval_batch_size: Images per test batch, over all processes.
      seed: What the order of the epochs follows from.
      train_examples: How many training images to use; 0 for all.
      test_examples: How many test images to use; 0 for all.
      process_index: Which process this is.
      process_count: How many share each batch.

    Returns:
      A source of images (32, 32, 3), uint8.

    Raises:
      DataError: If the data is missing, damaged or too small.
      ValueError: If a batch does not divide over the processes.
    """
    from stata_jax.data.builders.cifar import BUILDERS

    if name not in BUILDERS:
        raise ValueError(f"there is no {name!r}, only {' and '.join(BUILDERS)}")
    folder = find_or_prepare(name, BUILDERS[name], data_dir, manual_dir)
    splits = []
    for split, wanted in (("train", train_examples), ("test", test_examples)):
        examples, num_classes = open_split(folder, split)
        chosen = spread(len(examples), wanted, key=f"data.{split}_examples")
        splits.append(_load(examples, chosen, name=f"{split} split of {folder}"))
    return ArraySource(
        *splits,
        num_classes=num_classes,
        batch_size=batch_size,
        eval_batch_size=eval_batch_size,
        seed=seed,
        process_index=process_index,
        process_count=process_count,
    )


def _load(examples: Sequence[Any], chosen: np.ndarray, *, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Decodes the chosen examples into images (N, 32, 32, 3) uint8 and labels (N,)."""
    from PIL import Image

    images, labels = np.empty((len(chosen), 32, 32, 3), np.uint8), np.empty(len(chosen), np.int32)
    for place, index in enumerate(chosen.tolist()):
        try:
            example = examples[index]
            images[place] = np.asarray(Image.open(io.BytesIO(example["image"])))
        except Exception as error:  # a damaged shard can raise anything
            raise DataError(f"example {index} in the {name} cannot be read ({error}): delete the folder") from error
        labels[place] = example["label"]
    return images, labels
