"""Published recordings as sources: prepared once from the published files, then used as they are."""

import os
import pathlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from stata_jax.data.builders.events import EventBuilder, FramesConfig, frames_config
from stata_jax.data.options import SourceOptions
from stata_jax.data.protocol import DataError
from stata_jax.data.readers.tfds_store import need_array_record
from stata_jax.data.recordings import DiskStore, RecordingSource, Store, load
from stata_jax.paths import expand
from stata_jax.registries import FRAMES

_IN_MEMORY = 2 * 2**30  # bytes of frames that a data set may take to be held in memory
_AHEAD = 4  # batches that are read ahead from disk


def open_recordings(builder_class: type[EventBuilder], options: SourceOptions) -> RecordingSource:
    """Opens a data set of recordings, and prepares it first if that has not been done.

    Args:
      builder_class: says what is published and how it is read.
      options: of which `manual_dir` names the folder of the published files, or one that holds them in a folder called
        like the data set.

    Raises:
      ValueError: an option that cannot be met, published files that are missing or damaged, no package array_record.
    """
    name = builder_class.name
    if options.frames not in FRAMES:
        raise ValueError(f"data.frames must be one of {', '.join(FRAMES)}, got {options.frames!r}")
    if options.timesteps < 1:
        raise ValueError(
            f"model.timesteps must be at least 1, got {options.timesteps}: a recording becomes that many frames"
        )
    need_array_record(f"storing the frames of {name}", instead="prepare and train where it is to be had")
    tag = builder_class.split_tag(options.split)  # frames of another cut or another split have a folder of their own
    builder = _prepare(builder_class, options, frames_config(options.timesteps, options.frames, options.split, tag))
    train, test = (_open_part(builder, name, part) for part in ("train", "test"))
    print(f"{name}: {describe(builder)}")
    classes = builder.info.features["label"].num_classes
    size = (len(train) + len(test)) * int(np.prod(builder.info.features["frames"].shape))
    if size > _IN_MEMORY:
        return RecordingSource(train, test, options, num_classes=classes, depth=_AHEAD)
    return RecordingSource(load(train), load(test), options, num_classes=classes)


def _open_part(builder: Any, name: str, part: str) -> Store:
    """A part, `train` or `test`, of a prepared data set, of which the first and the last recording can be read."""
    place = f"{name} in {builder.data_dir}"
    try:
        store = DiskStore(builder.as_data_source(part), place)
        store.read(np.array([0, len(store) - 1]))
    except DataError:
        raise
    except Exception as error:  # TFDS and array_record raise all kinds
        raise DataError(f"{place} is damaged ({error}): delete that folder, so that it is prepared again") from error
    return store


def describe(builder: Any) -> str:
    """One line about a prepared data set: its recordings, and what was cut down or passed over."""
    splits = builder.info.splits
    facts = [
        f"{value} {name.replace('_', ' ')}" if isinstance(value, int) else f"{name} {value}"
        for name, value in sorted(dict(builder.info.metadata).items())
    ]
    shape = "x".join(map(str, builder.info.features["frames"].shape))
    return (
        f"{splits['train'].num_examples} training and {splits['test'].num_examples} test recordings of {shape} counts "
        f"({', '.join(facts)}) in {builder.data_dir}"
    )


def _prepare(builder_class: type[EventBuilder], options: SourceOptions, config: FramesConfig) -> Any:
    """The builder of a data set that is there; TFDS writes to a folder of another name and renames it when whole."""

    def make() -> Any:
        folder = str(expand(options.data_dir)) if options.data_dir else None
        return builder_class(data_dir=folder, config=config, file_format="array_record")

    builder = make()
    if pathlib.Path(builder.data_dir).exists():
        return builder
    manual = _find_files(
        builder_class, options.manual_dir or os.path.join(builder.data_dir_root, "downloads", "manual")
    )
    print(f"{builder.name}: preparing {config.name} from {manual}, once, for all later runs")
    download = tfds.download.DownloadConfig(manual_dir=str(manual), try_download_gcs=False)
    try:
        builder.download_and_prepare(download_config=download)
    except OSError as error:
        builder = make()
        if not pathlib.Path(builder.data_dir).exists():  # otherwise another process was first
            raise ValueError(f"{builder.name} could not be written to {builder.data_dir}: {error}") from error
    return builder


def _find_files(builder_class: type[EventBuilder], manual_dir: str) -> pathlib.Path:
    """The folder with the published files: the given one, or the one in it that is called like the data set."""
    folder = expand(manual_dir)
    folder = min(folder, folder / builder_class.name, key=lambda place: len(builder_class.missing_files(place)))
    missing = builder_class.missing_files(folder)
    if missing:
        raise ValueError(
            f"{builder_class.name} is not prepared yet, and {folder} lacks {', '.join(missing)}: put there "
            f"{builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS}; data.manual_dir names another folder"
        )
    return folder
