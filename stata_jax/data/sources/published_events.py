"""CIFAR10-DVS, DVS128 Gesture and N-MNIST as sources: prepared once from the published files, then used as they are."""

import importlib
import os
import pathlib
from types import ModuleType
from typing import Any

import numpy as np

from stata_jax.data.protocol import DataError
from stata_jax.data.readers.tfds_store import need_array_record
from stata_jax.data.recordings import DiskStore, RecordingSource, Store, load, make_source
from stata_jax.paths import expand
from stata_jax.registries import FRAMES

_BUILDERS = {"cifar10_dvs": "Cifar10Dvs", "dvs128_gesture": "Dvs128Gesture", "nmnist": "Nmnist"}
_IN_MEMORY = 2 * 2**30  # bytes of frames that a data set may take to be held in memory
_AHEAD = 4  # batches that are read ahead from disk


def open_recordings(
    name: str,
    *,
    data_dir: str,
    manual_dir: str,
    timesteps: int,
    frames: str,
    batch_size: int,
    eval_batch_size: int,
    seed: int,
    train_examples: int,
    test_examples: int,
    process_index: int = 0,
    process_count: int = 1,
    split: str = "published",
) -> RecordingSource:
    """Opens a data set of recordings, and prepares it first if that has not been done.

    Args:
      name: `cifar10_dvs`, `dvs128_gesture` or `nmnist`.
      data_dir: folder of TFDS; empty for its default.
      manual_dir: folder of the published files, or of a folder `name` with them; empty for
        `<data_dir>/downloads/manual`.
      timesteps: `T`, the number of frames.
      frames: `count` or `duration`, as in `stata_jax.data.events.to_frames`.
      batch_size: recordings per training batch, over all processes.
      eval_batch_size: recordings per test batch, over all processes.
      seed: what the order of the epochs follows from.
      train_examples: training recordings per epoch; 0 for all.
      test_examples: test recordings; 0 for all.
      process_index: number of this process.
      process_count: number of processes, each of which gets an equal part of every batch.
      split: which recordings train and which test, where the data set has several splits, as CIFAR10-DVS has.

    Raises:
      ValueError: an option that cannot be met, published files that are missing or damaged, no package array_record.
    """
    if name not in _BUILDERS:
        raise ValueError(f"data.source must be one of {', '.join(_BUILDERS)}, got {name!r}")
    if frames not in FRAMES:
        raise ValueError(f"data.frames must be one of {', '.join(FRAMES)}, got {frames!r}")
    if timesteps < 1:
        raise ValueError(f"model.timesteps must be at least 1, got {timesteps}: a recording becomes that many frames")
    need_array_record(f"storing the frames of {name}", instead="prepare and train where it is to be had")
    module = importlib.import_module(f"stata_jax.data.builders.{name}")  # imports TFDS, hence only here
    config = _configuration(module, name, timesteps=timesteps, frames=frames, split=split)
    builder = _prepare(module, name, data_dir=data_dir, manual_dir=manual_dir, config=config)
    train, test = (_open_part(builder, name, part) for part in ("train", "test"))
    print(f"{name}: {describe(builder)}")
    size = (len(train) + len(test)) * int(np.prod(builder.info.features["frames"].shape))
    in_memory = size <= _IN_MEMORY
    return make_source(
        load(train) if in_memory else train,
        load(test) if in_memory else test,
        num_classes=builder.info.features["label"].num_classes,
        train_examples=train_examples,
        test_examples=test_examples,
        batch_size=batch_size,
        eval_batch_size=eval_batch_size,
        seed=seed,
        process_index=process_index,
        process_count=process_count,
        depth=0 if in_memory else _AHEAD,
    )


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


def _configuration(module: ModuleType, name: str, *, timesteps: int, frames: str, split: str) -> Any:
    """What is prepared, and in which folder: frames of another cut or another split have one of their own."""
    from stata_jax.data.builders.frames import PUBLISHED, frames_config

    if hasattr(module, "split_tag"):
        return frames_config(timesteps, frames, split, module.split_tag(split))
    if split != PUBLISHED:
        raise ValueError(f"data.split is {split!r}, but {name} has only the split that it is published with")
    return frames_config(timesteps, frames)


def _prepare(module: ModuleType, name: str, *, data_dir: str, manual_dir: str, config: Any) -> Any:
    """The builder of a data set that is there; TFDS writes to a folder of another name and renames it when whole."""
    import tensorflow_datasets as tfds

    def make() -> Any:
        folder = str(expand(data_dir)) if data_dir else None
        return getattr(module, _BUILDERS[name])(data_dir=folder, config=config, file_format="array_record")

    builder = make()
    if pathlib.Path(builder.data_dir).exists():
        return builder
    manual = _find_files(module, name, manual_dir or os.path.join(builder.data_dir_root, "downloads", "manual"))
    print(f"{name}: preparing {config.name} from {manual}, once, for all later runs")
    download = tfds.download.DownloadConfig(manual_dir=str(manual), try_download_gcs=False)
    try:
        builder.download_and_prepare(download_config=download)
    except OSError as error:
        builder = make()
        if not pathlib.Path(builder.data_dir).exists():  # otherwise another process was first
            raise ValueError(f"{name} could not be written to {builder.data_dir}: {error}") from error
    return builder


def _find_files(module: ModuleType, name: str, manual_dir: str) -> pathlib.Path:
    """The folder with the published files: the given one, or the one in it that is called like the data set."""
    folder = expand(manual_dir)
    folder = min(folder, folder / name, key=lambda place: len(module.missing_files(place)))
    missing = module.missing_files(folder)
    if missing:
        raise ValueError(
            f"{name} is not prepared yet, and {folder} lacks {', '.join(missing)}: put there {module.MANUAL}; "
            "data.manual_dir names another folder"
        )
    return folder
