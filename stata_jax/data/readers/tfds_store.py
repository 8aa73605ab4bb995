"""Data sets prepared by tensorflow-datasets, found or prepared without TensorFlow.

A prepared data set is a folder `<data_dir>/<name>/<version>` with `dataset_info.json`, `features.json` and the examples
in shards. TFDS prepares into a folder `incomplete.*` beside it, which is renamed when all is there.
"""

import re
from functools import partial
from pathlib import Path
from typing import Any

from stata_jax.data.protocol import DataError
from stata_jax.data.readers.tfrecord import TfRecords
from stata_jax.paths import expand

_INFO = "dataset_info.json"
_ARRAY_RECORD, _TFRECORD = "array_record", "tfrecord"  # what can be read


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
    data = expand(data_dir).absolute()
    return data, expand(manual_dir).absolute() if manual_dir else data / "downloads" / "manual"


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


def need_array_record(what: str, *, instead: str) -> None:
    """Checks that the package array_record is there; it does not exist for every system.

    Args:
      what: Is to be read or written by it.
      instead: What to do where it is missing.

    Raises:
      DataError: If it cannot be imported.
    """
    try:
        from array_record.python import array_record_module  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"{what} needs the package array_record, which cannot be imported here ({error}): install it, or {instead}"
        ) from error


def open_split(folder: Path, split: str) -> tuple[Any, int]:
    """Opens a split of a prepared data set, checking that all of it is there.

    Args:
      folder: As `find` returns it.
      split: Its name, such as `train`.

    Returns:
      A sequence of examples, dicts whose `image` are the bytes of a file and whose `label` is a number; the number of
      classes.

    Raises:
      DataError: If there is no such split, a file is missing or cut short, or only TFDS itself can read the format.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    if split not in builder.info.splits:
        raise DataError(f"{folder} has no split {split!r}, only {', '.join(builder.info.splits)}: prepare it again")
    formats = {each.value for each in builder.info.available_file_formats()}
    chosen = next((each for each in (_ARRAY_RECORD, _TFRECORD) if each in formats), None)
    if chosen is None:
        raise DataError(
            f"{folder} is stored as {' and '.join(sorted(formats))}: prepare it with TFDS's file_format {_ARRAY_RECORD}"
        )
    builder.info.set_file_format(chosen, override=True, override_if_initialized=True)  # of the two, if there are two
    info = builder.info.splits[split]
    paths = [Path(path) for path in info.filepaths]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path} is missing: delete {folder}, and the data set is prepared again")
    decoders = {"image": tfds.decode.SkipDecoding()}
    if chosen == _ARRAY_RECORD:
        need_array_record(f"{folder}, stored as {chosen},", instead="name another data.data_dir")
        examples = builder.as_data_source(split, decoders=decoders)
    else:
        examples = TfRecords(paths, partial(builder.info.features.deserialize_example_np, decoders=decoders))
    if len(examples) != info.num_examples:
        raise DataError(f"{folder} holds {len(examples)} examples in {split} instead of {info.num_examples}")
    return examples, builder.info.features["label"].num_classes


def prepare(builder_class: Any, data_dir: Path, manual_dir: Path, *, instead: str) -> Path:
    """Prepares a data set with a builder of ours, unless that was done before.

    Args:
      builder_class: A subclass of `tfds.core.GeneratorBasedBuilder` that needs no TensorFlow.
      data_dir: Where the prepared data goes.
      manual_dir: Where the archives are.
      instead: What to do where this is not possible, as in `need_array_record`.

    Returns:
      The folder of the prepared data set.

    Raises:
      DataError: If an archive is missing or damaged; nothing is left of the attempt, and what else stands in the way.
    """
    import tensorflow_datasets as tfds

    need_array_record(f"preparing {builder_class.name}", instead=instead)
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
