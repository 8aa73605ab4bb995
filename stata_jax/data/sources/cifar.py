"""CIFAR-10 and CIFAR-100: from the published files, or from prepared data, to a source on the device."""

import io
from pathlib import Path

import numpy as np

from stata_jax.data.arrays import ArraySource
from stata_jax.data.batches import spread
from stata_jax.data.protocol import DataError
from stata_jax.data.readers import cifar_files
from stata_jax.data.readers.tfds_store import find, folders, open_split


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
    """Opens CIFAR; the archive is downloaded if there is nothing.

    The published files are read as they are, in about two seconds, which is faster than opening 60000 PNG files: only
    what tensorflow-datasets has prepared comes before them.

    Args:
      name: `cifar10` or `cifar100`.
      data_dir: Folder of prepared data, "" for TFDS's own.
      manual_dir: Folder of archives or unpacked batches, "" for `<data_dir>/downloads/manual`.
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
    if name not in cifar_files.LAYOUTS:
        raise ValueError(f"there is no {name!r}, only {' and '.join(cifar_files.LAYOUTS)}")
    layout = cifar_files.LAYOUTS[name]
    data, manual = folders(data_dir, manual_dir)
    prepared = find(data, name)
    files = None if prepared else cifar_files.find(layout, (manual, data))
    if not prepared and not files:
        prepared = find(data, f"stata_{name}")  # by an older version of this package
    splits = [("train", train_examples), ("test", test_examples)]
    if prepared:
        train, test = (_read_prepared(prepared, split, wanted) for split, wanted in splits)
    else:
        batches = cifar_files.read(files or cifar_files.download(layout, manual), layout)
        train, test = (_some(batch, *split) for batch, split in zip(batches, splits, strict=True))
    return ArraySource(
        train,
        test,
        num_classes=layout.classes,
        batch_size=batch_size,
        eval_batch_size=eval_batch_size,
        seed=seed,
        process_index=process_index,
        process_count=process_count,
    )


def _some(batch: cifar_files.Batch, split: str, wanted: int) -> cifar_files.Batch:
    images, labels = batch
    chosen = spread(len(labels), wanted, key=f"data.{split}_examples")
    return images[chosen], labels[chosen]


def _read_prepared(folder: Path, split: str, wanted: int) -> cifar_files.Batch:
    """Decodes examples of a split into images (N, 32, 32, 3) uint8 and labels (N,)."""
    from PIL import Image

    examples, _ = open_split(folder, split)
    chosen = spread(len(examples), wanted, key=f"data.{split}_examples")
    images, labels = np.empty((len(chosen), 32, 32, 3), np.uint8), np.empty(len(chosen), np.int64)
    for place, index in enumerate(chosen.tolist()):
        try:
            example = examples[index]
            images[place] = np.asarray(Image.open(io.BytesIO(example["image"])))
        except Exception as error:  # a damaged shard can raise anything
            raise DataError(
                f"example {index} in the {split} split of {folder} cannot be read ({error}): delete the folder"
            ) from error
        labels[place] = example["label"]
    return images, labels
