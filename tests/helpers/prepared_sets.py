"""Opening small event data sets, and what was prepared of them."""

import hashlib
import pathlib

import numpy as np
from event_files import SPLIT

from stata_jax.data.options import SourceOptions
from stata_jax.registries import SOURCES

SMALL = hashlib.sha256(SPLIT.encode()).hexdigest()[:8]  # what folders of the small split have in their names
SIZE = {"height": 128, "width": 128, "name": ""}


def small_split(root: pathlib.Path) -> str:
    """A file with the split of a CIFAR10-DVS of three recordings a class."""
    path = root / "small.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(SPLIT)
    return str(path)


def open_one(name, root, **changes):
    if name == "cifar10_dvs":
        changes = {"split": small_split(root)} | changes
    options = {"data_dir": str(root / "data"), "manual_dir": str(root / "manual"), "timesteps": 4, "frames": "count"}
    options |= {"batch_size": 5, "eval_batch_size": 4, "seed": 0}
    return SOURCES[name](SourceOptions(**{**options, **changes}))


def prepared_sets(root: pathlib.Path) -> list[str]:
    """What TFDS takes for prepared."""
    return sorted(path.parent.parent.name for path in (root / "data").glob("*/*/*/dataset_info.json"))


def check_store(store, expected: dict[bytes, int]):
    """That the store holds these frames with these labels, in whatever order."""
    batch = store.read(np.arange(len(store)))
    assert {frames.tobytes(): int(label) for frames, label in zip(*batch.values(), strict=True)} == expected
    assert batch["image"].dtype == np.uint8 and batch["label"].dtype == np.int32
