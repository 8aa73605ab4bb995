"""Data sets prepared by tensorflow-datasets, found or prepared without TensorFlow.

A prepared data set is a folder `<data_dir>/<name>/<version>` with `dataset_info.json`, `features.json` and the examples
in shards. TFDS prepares into a folder `incomplete.*` beside it, which is renamed when all is there.
"""

import re
from pathlib import Path
from typing import Any

from stata_jax.data.protocol import DataError

_INFO = "dataset_info.json"
_RANDOM_ACCESS = ("array_record", "parquet")  # what can be read without TensorFlow


def folders(data_dir: str, manual_dir: str) -> tuple[Path, Path]:
    """The folder of prepared data and the folder of archives that a user has downloaded.

    Args:
      data_dir: The former; "" for TFDS's own, `~/tensorflow_datasets` or `$TFDS_DATA_DIR`.
      manual_dir: The latter; "" for `<data_dir>/downloads/manual`, as TFDS has it.

    Returns:
      Both as absolute paths.
    """
    if not data_dir:
        from tensorflow_datasets.core import constants

        data_dir = str(constants.DATA_DIR)
    data = Path(data_dir).expanduser().absolute()
    return data, Path(manual_dir).expanduser().absolute() if manual_dir else data / "downloads" / "manual"


def find(data_dir: Path, name: str) -> Path | None:
    """The newest version of a prepared data set, whoever prepared it.

    Args:
      data_dir: Folder of prepared data.
      name: Name of the data set.

    Returns:
      Its folder, or None.
    """
    versions = [path.parent for path in (data_dir / name).glob(f"*/{_INFO}")]
    whole = [path for path in versions if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
    return max(whole, key=lambda path: tuple(map(int, path.name.split("."))), default=None)


def readable(folder: Path) -> bool:
    """Whether a prepared data set is stored in a format that can be read without TensorFlow."""
    import tensorflow_datasets as tfds

    formats = tfds.builder_from_directory(folder).info.available_file_formats()
    return any(each.value in _RANDOM_ACCESS for each in formats)


def open_split(folder: Path, split: str) -> tuple[Any, int]:
    """Opens a split of a prepared data set, checking that its files are there.

    Args:
      folder: As `find` returns it.
      split: Its name, such as `train`.

    Returns:
      A sequence of examples, dicts whose `image` are the bytes of a file and whose `label` is a number; the number of
      classes.

    Raises:
      DataError: If there is no such split, or a file is missing.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    if split not in builder.info.splits:
        raise DataError(f"{folder} has no split {split!r}, only {', '.join(builder.info.splits)}: prepare it again")
    examples = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    for path in builder.info.splits[split].filepaths:  # of the format that was chosen
        if not Path(path).is_file():
            raise DataError(f"{path} is missing: delete {folder}, and the data set is prepared again")
    return examples, builder.info.features["label"].num_classes


def prepare(builder_class: Any, data_dir: Path, manual_dir: Path) -> Path:
    """Prepares a data set with a builder of ours, unless that was done before.

    Args:
      builder_class: A subclass of `tfds.core.GeneratorBasedBuilder` that needs no TensorFlow.
      data_dir: Where the prepared data goes.
      manual_dir: Where the archives are.

    Returns:
      The folder of the prepared data set.

    Raises:
      DataError: If an archive is missing or damaged; nothing is left of the attempt, and what else stands in the way.
    """
    import tensorflow_datasets as tfds

    builder = builder_class(data_dir=data_dir, file_format="array_record")
    folder = Path(builder.data_dir)
    if folder.exists() and not (folder / _INFO).is_file():
        raise DataError(f"{folder} is not a whole prepared data set, it has no {_INFO}: delete it and start again")
    if folder.exists():
        return folder
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    try:
        builder.download_and_prepare(download_config=config)
    except OSError as error:
        if not (folder / _INFO).is_file():  # else another process was first
            raise DataError(f"{builder.name} could not be prepared in {data_dir}: {error}") from error
    return folder


def find_or_prepare(official: str, builder_class: Any, data_dir: str, manual_dir: str) -> Path:
    """Finds a data set that TFDS has prepared, or else prepares it from the original archives.

    Args:
      official: Name of the data set in TFDS.
      builder_class: Our builder, see `prepare`, with two class methods: `missing(manual_dir)` says what has to be put
        there, and `fetch(manual_dir)` gets it or raises a DataError that says so.
      data_dir: See `folders`.
      manual_dir: See `folders`.

    Returns:
      The folder of the prepared data set.

    Raises:
      DataError: If there is neither; the message says what to put where.
    """
    data, manual = folders(data_dir, manual_dir)
    prepared = find(data, official)
    if prepared is not None and readable(prepared):
        return prepared
    if not find(data, builder_class.name):
        missing = builder_class.missing(manual)
        if prepared is not None and missing:
            raise DataError(
                f"{prepared} is stored as tfrecord, which only TensorFlow reads: install tensorflow and run `tfds "
                f"convert_format --dataset_version_dir={prepared} --out_file_format=array_record` once, or put "
                f"{missing} into {manual}"
            )
        builder_class.fetch(manual)
    return prepare(builder_class, data, manual)
