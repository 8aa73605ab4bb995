"""ImageNet (ILSVRC 2012) from its published archives, laid out as TFDS's own `imagenet2012`.

The training archive is a tar of one tar per class, `n01440764.tar`, named by the class's WordNet id; the validation
archive holds `ILSVRC2012_val_00000001.JPEG` and so on. The ids in alphabetical order are the labels 0 to 999; that list
and the labels of the validation images come with tensorflow-datasets. Pictures are stored as the bytes that they are.
"""

import functools
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from stata_jax.data.protocol import DataError
from stata_jax.data.readers import jpeg
from stata_jax.data.readers.tar import members

PAGE = "https://image-net.org/download-images"
TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
_LISTS = "datasets/imagenet2012"  # in the package tensorflow_datasets

Example = dict[str, Any]


def class_ids() -> list[str]:
    """The WordNet ids of the 1000 classes, in the order of their labels."""
    return Path(tfds.core.tfds_path(f"{_LISTS}/labels.txt")).read_text().split()


def validation_ids() -> list[str]:
    """The WordNet ids of the 50000 validation images, in the order of their numbers."""
    return Path(tfds.core.tfds_path(f"{_LISTS}/validation_labels.txt")).read_text().split()


def validation_label(path: str) -> str:
    """The WordNet id of a validation image, from the number in its name.

    Raises:
      ValueError: If it is not named like one of the 50000.
    """
    ids = _validation_ids()
    number = re.search(r"(?:^|/)ILSVRC2012_val_(\d{8})\.JPEG$", path)
    if number is None or not 1 <= int(number[1]) <= len(ids):
        raise ValueError(f"is not named after one of the {len(ids)} validation images")
    return ids[int(number[1]) - 1]


_validation_ids = functools.cache(validation_ids)


def train_examples(path: Path) -> Iterator[Example]:
    """Reads the training archive.

    Args:
      path: The archive.

    Yields:
      `file_name`, `image` (the bytes of its file) and `label`, a WordNet id.

    Raises:
      DataError: If the archive, one inside of it or a picture is truncated or damaged, or has an unknown name.
    """
    known = frozenset(class_ids())
    with path.open("rb") as file:
        for inner, contents in members(file, name=str(path)):
            label = Path(inner).stem
            if label not in known:
                raise DataError(f"{inner} in {path} is not named after one of the {len(known)} classes")
            for name, image in members(io.BytesIO(contents), name=f"{inner} in {path}"):
                yield _example(name, image, label, f"{inner} in {path}")


def validation_examples(path: Path) -> Iterator[Example]:
    """Reads the validation archive, see `train_examples`."""
    with path.open("rb") as file:
        for name, image in members(file, name=str(path)):
            try:
                label = validation_label(name)
            except ValueError as error:
                raise DataError(f"{name} in {path} {error}") from error
            yield _example(name, image, label, str(path))


def _example(name: str, image: bytes, label: str, archive: str) -> Example:
    try:
        jpeg.check(image)
    except Exception as error:  # Pillow raises many kinds
        raise DataError(f"{name} in {archive} is not a whole picture ({error}): get the archive again") from error
    return {"file_name": Path(name).name, "image": image, "label": label}


class StataImagenet2012(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """ImageNet; named apart from TFDS's `imagenet2012`. Examples keep the order of the archives."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"{TRAIN} and {VALIDATION} of {PAGE}"

    def _info(self) -> Any:
        features = {
            "file_name": tfds.features.Text(),
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=class_ids()),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), homepage=PAGE, disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = Path(dl_manager.manual_dir)
        return {
            "train": self._generate_examples(train_examples(folder / TRAIN)),
            "validation": self._generate_examples(validation_examples(folder / VALIDATION)),
        }

    def _generate_examples(self, examples: Iterator[Example]) -> Iterator[Any]:
        yield from enumerate(examples)
