"""CIFAR-10 and CIFAR-100: from the published files, or from prepared data, to a source on the device."""

import io
from pathlib import Path

import numpy as np

from stata_jax.data.arrays import ArraySource
from stata_jax.data.batches import spread
from stata_jax.data.options import SourceOptions
from stata_jax.data.protocol import DataError
from stata_jax.data.readers import cifar_files
from stata_jax.data.readers.tfds_store import find, folders, open_split


def open_cifar(options: SourceOptions) -> ArraySource:
    """Opens CIFAR; the archive is downloaded if there is nothing.

    The published files are read as they are, in about two seconds, which is faster than opening 60000 PNG files: only
    what tensorflow-datasets has prepared comes before them.

    Args:
      options: Of which `source` is `cifar10` or `cifar100`, and `manual_dir` names the folder of archives or unpacked
        batches.

    Returns:
      A source of images (32, 32, 3), uint8.

    Raises:
      DataError: If the data is missing, damaged or too small.
      ValueError: If a batch does not divide over the processes.
    """
    name, layout = options.source, cifar_files.LAYOUTS[options.source]
    data, manual = folders(options.data_dir, options.manual_dir)
    prepared = find(data, name)
    files = None if prepared else cifar_files.find(layout, (manual, data))
    if not prepared and not files:
        prepared = find(data, f"stata_{name}")  # by an older version of this package
    splits = [("train", options.train_examples), ("test", options.test_examples)]
    if prepared:
        train, test = (_read_prepared(prepared, split, wanted) for split, wanted in splits)
    else:
        batches = cifar_files.read(files or cifar_files.download(layout, manual), layout)
        train, test = (_some(batch, *split) for batch, split in zip(batches, splits, strict=True))
    return ArraySource(train, test, options, num_classes=layout.classes)


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
