"""CIFAR-10 and CIFAR-100 from their published archives, laid out as TFDS's own `cifar10` and `cifar100`.

In the Python archives a batch is a pickled dict of `data`, (N, 3072) uint8, and lists of labels; in the binary ones it
is a run of records of one label byte (CIFAR-100: a coarse and a fine one) and 3072 pixels. The pixels are the red
plane, the green and the blue, each by rows (https://www.cs.toronto.edu/~kriz/cifar.html).
"""

import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from numpy._core.multiarray import _reconstruct
from PIL import Image

from stata_jax.data.builders.archive import fetch, members
from stata_jax.data.protocol import DataError

PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_URL = "https://www.cs.toronto.edu/~kriz/"
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """How one of the data sets is published.

    Attributes:
      archives: Names of the Python and the binary archive.
      md5: Published MD5 checksum of the Python archive.
      train, test: Names of the batches, without `.bin`.
      classes: Number of classes.
      labels: Keys of the label lists, in the order of the label bytes; the last one is the class.
    """

    archives: tuple[str, str]
    md5: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    classes: int
    labels: tuple[bytes, ...]


CIFAR10 = Layout(
    archives=("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"),
    md5="c58f30108f718f92721af3b95e74349a",
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test=("test_batch",),
    classes=10,
    labels=(b"labels",),
)
CIFAR100 = Layout(
    archives=("cifar-100-python.tar.gz", "cifar-100-binary.tar.gz"),
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    train=("train",),
    test=("test",),
    classes=100,
    labels=(b"coarse_labels", b"fine_labels"),
)


# What a pickled array of numbers names.
_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _Unpickler(pickle.Unpickler):
    """Unpickles arrays of numbers and plain containers; a pickle that names anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no batch does") from None


def read_pickled(contents: bytes, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Reads a batch of the Python archive.

    Args:
      contents: Of the file.
      layout: Of the data set.

    Returns:
      Pixels (N, 3072) uint8 and classes (N,) int64.

    Raises:
      ValueError: If it is no such batch.
    """
    try:
        batch = _Unpickler(io.BytesIO(contents), encoding="bytes").load()
        pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[layout.labels[-1]])
    except Exception as error:  # unpickling altered bytes can raise anything
        raise ValueError(f"it cannot be unpickled ({error})") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise ValueError(f"its data are {pixels.dtype} {pixels.shape} instead of uint8 (N, {_PIXELS})")
    if labels.shape != pixels.shape[:1] or labels.dtype.kind != "i":
        raise ValueError(f"it has {len(pixels)} images, but labels {labels.dtype} {labels.shape}")
    return pixels, labels


def read_binary(contents: bytes, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Reads a batch of the binary archive, see `read_pickled`."""
    record = len(layout.labels) + _PIXELS
    if len(contents) % record:
        raise ValueError(f"its {len(contents)} bytes are not a whole number of records of {record} bytes")
    records = np.frombuffer(contents, np.uint8).reshape(-1, record)
    return records[:, len(layout.labels) :], records[:, len(layout.labels) - 1].astype(np.int64)


def read_archive(path: Path, layout: Layout) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Reads all batches of an archive.

    Args:
      path: A Python or a binary archive, told apart by its name.
      layout: Of the data set.

    Returns:
      Images (N, 32, 32, 3) uint8 and classes (N,) int64 by batch.

    Raises:
      DataError: If the archive is truncated or damaged, or lacks a batch.
    """
    binary = path.name == layout.archives[1]
    suffix, read = (".bin", read_binary) if binary else ("", read_pickled)
    names = {name + suffix: name for name in layout.train + layout.test}
    batches = {}
    with path.open("rb") as file:
        for member, contents in members(file, name=str(path)):
            name = names.get(member.rpartition("/")[2])
            if name is None:
                continue
            try:
                pixels, labels = read(contents, layout)
                if len(labels) and (labels.min() < 0 or labels.max() >= layout.classes):
                    raise ValueError(f"its labels go from {labels.min()} to {labels.max()}")
            except ValueError as error:
                raise DataError(f"{member} in {path} is not a batch of the data set: {error}") from error
            batches[name] = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels
    missing = [stored for stored, name in names.items() if name not in batches]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}: get it again from {PAGE}")
    return batches


class _Cifar(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """What the two builders share; images are PNG files and examples keep the order of the batches."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"The Python or the binary archive of {PAGE}"
    LAYOUT: Layout

    @classmethod
    def archive(cls, manual_dir: Path) -> Path | None:
        """The archive in a folder; the Python one if there are both."""
        paths = [manual_dir / name for name in cls.LAYOUT.archives]
        return next(filter(Path.is_file, paths), None)

    @classmethod
    def fetch(cls, manual_dir: Path) -> None:
        """Downloads the archive where it is missing.

        Raises:
          DataError: If that is not possible.
        """
        if cls.archive(manual_dir) is None:
            name = cls.LAYOUT.archives[0]
            try:
                fetch(_URL + name, manual_dir / name, md5=cls.LAYOUT.md5)
            except DataError as error:
                names = " or ".join(cls.LAYOUT.archives)
                raise DataError(f"{error}: put {names} from {PAGE} into {manual_dir}") from error

    def _info(self) -> Any:
        features = {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(32, 32, 3)),
            "label": tfds.features.ClassLabel(num_classes=self.LAYOUT.classes),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), homepage=PAGE, disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        path, layout = self.archive(Path(dl_manager.manual_dir)), self.LAYOUT
        assert path is not None  # `fetch` comes first
        batches = read_archive(path, layout)
        splits = {"train": layout.train, "test": layout.test}
        return {
            split: self._generate_examples(split, [batches[name] for name in names]) for split, names in splits.items()
        }

    def _generate_examples(self, split: str, batches: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[Any]:
        pairs = ((image, label) for images, labels in batches for image, label in zip(images, labels, strict=True))
        for index, (image, label) in enumerate(pairs):
            name = f"{split}_{index:05d}"
            yield index, {"id": name, "image": Image.fromarray(np.ascontiguousarray(image)), "label": int(label)}


class StataCifar10(_Cifar, skip_registration=True):  # type: ignore[call-arg]
    """CIFAR-10; named apart from TFDS's `cifar10`."""

    LAYOUT = CIFAR10


class StataCifar100(_Cifar, skip_registration=True):  # type: ignore[call-arg]
    """CIFAR-100, with the fine labels."""

    LAYOUT = CIFAR100


BUILDERS = {"cifar10": StataCifar10, "cifar100": StataCifar100}
