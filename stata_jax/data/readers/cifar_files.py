"""CIFAR-10 and CIFAR-100 as they are published: archives of Python or binary batches, packed or unpacked.

A Python batch is a pickled dict of `data`, (N, 3072) uint8, and lists of labels; a binary one is a run of records of
one label byte (CIFAR-100: a coarse and a fine one) and 3072 pixels. The pixels are the red plane, the green and the
blue, each by rows (https://www.cs.toronto.edu/~kriz/cifar.html).
"""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stata_jax.data.protocol import DataError
from stata_jax.data.readers import cifar_pickle
from stata_jax.data.readers.tar import fetch, members

PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_URL = "https://www.cs.toronto.edu/~kriz/"
_PIXELS = 3 * 32 * 32

Batch = tuple[np.ndarray, np.ndarray]  # images or pixels, and classes


@dataclass(frozen=True)
class Layout:
    """How one of the data sets is published.

    Attributes:
      archives: Names of the Python and the binary archive.
      folders: Names of the folders in them.
      md5: Published MD5 checksum of the Python archive.
      train, test: Names of the batches, without `.bin`.
      classes: Number of classes.
      labels: Keys of the label lists, in the order of the label bytes; the last one is the class.
    """

    archives: tuple[str, str]
    folders: tuple[str, str]
    md5: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    classes: int
    labels: tuple[bytes, ...]


CIFAR10 = Layout(
    archives=("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"),
    folders=("cifar-10-batches-py", "cifar-10-batches-bin"),
    md5="c58f30108f718f92721af3b95e74349a",
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test=("test_batch",),
    classes=10,
    labels=(b"labels",),
)
CIFAR100 = Layout(
    archives=("cifar-100-python.tar.gz", "cifar-100-binary.tar.gz"),
    folders=("cifar-100-python", "cifar-100-binary"),
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    train=("train",),
    test=("test",),
    classes=100,
    labels=(b"coarse_labels", b"fine_labels"),
)
LAYOUTS = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def read_pickled(contents: bytes, layout: Layout) -> Batch:
    """Reads a Python batch.

    Args:
      contents: Of the file.
      layout: Of the data set.

    Returns:
      Pixels (N, 3072) uint8 and classes (N,) of whole numbers.

    Raises:
      ValueError: If it is no such batch.
    """
    try:
        batch = cifar_pickle.load(contents)
        pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[layout.labels[-1]])
    except Exception as error:  # unpickling altered bytes can raise anything
        raise ValueError(f"it cannot be unpickled ({error})") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise ValueError(f"its data are {pixels.dtype} {pixels.shape} instead of uint8 (N, {_PIXELS})")
    if labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(f"it has {len(pixels)} images, but labels {labels.dtype} {labels.shape}")
    return pixels, labels


def read_binary(contents: bytes, layout: Layout) -> Batch:
    """Reads a binary batch, see `read_pickled`."""
    record = len(layout.labels) + _PIXELS
    if len(contents) % record:
        raise ValueError(f"its {len(contents)} bytes are not a whole number of records of {record} bytes")
    records = np.frombuffer(contents, np.uint8).reshape(-1, record)
    return records[:, len(layout.labels) :], records[:, len(layout.labels) - 1]


_READERS: dict[str, Callable[[bytes, Layout], Batch]] = {"": read_pickled, ".bin": read_binary}  # by ending


def _files(path: Path, wanted: Container[str]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of an archive's files, or of those that are wanted in a folder."""
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.name in wanted and file.is_file():
                yield file.name, file.read_bytes()
    else:
        with path.open("rb") as stream:
            yield from members(stream, name=str(path))


def read(path: Path, layout: Layout) -> tuple[Batch, Batch]:
    """Reads a data set.

    Args:
      path: An archive, or a folder of batches.
      layout: Of the data set.

    Returns:
      Images (N, 32, 32, 3) uint8 and classes (N,) of the training set and of the test set, in the order of the batches.

    Raises:
      DataError: If a file is truncated or damaged, or a batch is missing.
    """
    names = layout.train + layout.test
    wanted = {name + ending: (name, reader) for name in names for ending, reader in _READERS.items()}
    batches: dict[str, Batch] = {}
    for file, contents in _files(path, wanted):
        name, reader = wanted.get(file.rpartition("/")[2], (None, None))
        if name is None or reader is None:
            continue
        try:
            pixels, labels = reader(contents, layout)
            if len(labels) and (labels.min() < 0 or labels.max() >= layout.classes):
                raise ValueError(f"its labels go from {labels.min()} to {labels.max()}")
        except ValueError as error:
            raise DataError(f"{file} in {path} is not a batch of the data set: {error}") from error
        batches[name] = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels
    if missing := [name for name in names if name not in batches]:
        raise DataError(f"{path} lacks {', '.join(missing)}: get it again from {PAGE}")
    return _joined([batches[name] for name in layout.train]), _joined([batches[name] for name in layout.test])


def _joined(batches: list[Batch]) -> Batch:
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels).astype(np.int64)


def find(layout: Layout, places: Sequence[Path]) -> Path | None:
    """Looks for a data set.

    Args:
      layout: Of the data set.
      places: Folders with an archive, with the folder that was in one, or with the batches themselves.

    Returns:
      The first archive or folder of batches; of one place, an archive comes before its folder. None if there is none.
    """
    for place in places:
        for archive, folder in zip(layout.archives, layout.folders, strict=True):
            if (place / archive).is_file():
                return place / archive
            if (place / folder).is_dir():
                return place / folder
        if all(any((place / (name + suffix)).is_file() for suffix in _READERS) for name in layout.train + layout.test):
            return place
    return None


def download(layout: Layout, folder: Path) -> Path:
    """Downloads the Python archive into a folder.

    Raises:
      DataError: If that is not possible.
    """
    name = layout.archives[0]
    try:
        fetch(_URL + name, folder / name, md5=layout.md5)
    except DataError as error:
        raise DataError(
            f"{error}: put {' or '.join(layout.archives)} from {PAGE}, packed or unpacked, into {folder}, or name with "
            "data.data_dir a folder in which tensorflow-datasets has prepared the data set"
        ) from error
    return folder / name
