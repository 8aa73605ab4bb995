"""CIFAR10-DVS (Li et al., 2017, doi:10.3389/fnins.2017.00309): ten classes of 1000 recordings in AEDAT 2.0.

There is no official split. Ours, `cifar10_dvs_split.csv` beside this file, is the usual one: of each class recordings
0 to 899 train and 900 to 999 test.
"""

import pathlib
import re
from collections.abc import Iterator

import tensorflow_datasets as tfds

from stata_jax.data import aedat2
from stata_jax.data.archives import list_files, read_files
from stata_jax.data.builders.frames import SENSOR, Recording, frames_config, frames_examples, frames_info

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HOMEPAGE = "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671"
SPLIT_FILE = "cifar10_dvs_split.csv"
SPLITS = ("train", "test")
MANUAL = (
    f"the ten files airplane.zip, automobile.zip ... truck.zip of {HOMEPAGE}, or the ten folders in them (a file named "
    f"{SPLIT_FILE} there replaces the split of this package)"
)

Numbers = dict[str, dict[str, frozenset[int]]]  # by split, then by class: which recordings


class Cifar10Dvs(tfds.core.GeneratorBasedBuilder):
    """CIFAR10-DVS as frames, from the published archives."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [frames_config(16, "count")]  # noqa: RUF012, the way of TFDS
    MANUAL_DOWNLOAD_INSTRUCTIONS = MANUAL

    def _info(self) -> tfds.core.DatasetInfo:
        return frames_info(
            self,
            classes=CLASSES,
            description="Moving CIFAR-10 images before a DVS128, as frames of event counts by polarity.",
            homepage=HOMEPAGE,
            citation="Li et al., CIFAR10-DVS: An Event-Stream Dataset for Object Classification, 2017",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        folder = pathlib.Path(dl_manager.manual_dir)
        if missing_files(folder):
            raise ValueError(f"{folder} lacks {', '.join(missing_files(folder))}: put there {MANUAL}")
        numbers = load_split(folder)
        check(folder, numbers)
        self.info.metadata["split"] = "of its own" if (folder / SPLIT_FILE).exists() else "900/100 a class"
        return {
            split: frames_examples(self, read_recordings(folder, numbers[split], counted_in=split)) for split in SPLITS
        }

    def _generate_examples(self) -> None:
        raise NotImplementedError  # the generators above are complete


def parse_split(text: str, *, name: str) -> Numbers:
    """Reads a split: a heading `class,train,test`, then a line a class with numbers such as `0-899` or `3 5 7-9`.

    Args:
      text: the whole file.
      name: of the file, for error messages.

    Raises:
      ValueError: a line of another form, a class that is missing or unknown, or a recording in both splits.
    """
    numbers: Numbers = {split: {} for split in SPLITS}
    for place, line in enumerate(text.splitlines()[1:], start=2):
        label, *cells = line.split(",")
        if label not in CLASSES or len(cells) != len(SPLITS) or not all(map(_RANGES.fullmatch, cells)):
            raise ValueError(f"{name}, line {place}: {line!r} is not class,train,test with numbers such as 0-899")
        for split, cell in zip(SPLITS, cells, strict=True):
            numbers[split][label] = frozenset(number for part in cell.split() for number in _range(part))
        if numbers["train"][label] & numbers["test"][label]:
            raise ValueError(f"{name}, line {place}: a recording of {label} is in both train and test")
    missing = [label for label in CLASSES if label not in numbers["train"]]
    if missing:
        raise ValueError(f"{name} has no line for {', '.join(missing)}")
    return numbers


_RANGES = re.compile(r"\s*(\d+(-\d+)?)?(\s+\d+(-\d+)?)*\s*")


def _range(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


def load_split(folder: pathlib.Path) -> Numbers:
    """The split in the folder of the data, if there is one, or that of this package."""
    path = folder / SPLIT_FILE
    if not path.exists():
        path = pathlib.Path(__file__).parent / SPLIT_FILE
    return parse_split(path.read_text(), name=str(path))


def source_of(folder: pathlib.Path, label: str) -> pathlib.Path | None:
    """The archive of a class, which comes first because it has checksums, or else its folder."""
    places = (folder / f"{label}.zip", folder / label)
    return next((place for place in places if place.exists()), None)


def missing_files(folder: pathlib.Path) -> list[str]:
    """Archives that are there neither as such nor as folders."""
    return [f"{label}.zip" for label in CLASSES if source_of(folder, label) is None]


def check(folder: pathlib.Path, numbers: Numbers) -> None:
    """Checks that every recording of the split is there, without reading any.

    Raises:
      ValueError: naming what is missing.
    """
    for label in CLASSES:
        source = source_of(folder, label)
        assert source is not None  # as checked
        there = [number for name in list_files(source) if (number := _number(name, label)) is not None]
        twice = {number for number in there if there.count(number) > 1} if len(there) > len(set(there)) else set()
        if twice:
            raise ValueError(f"{source} has cifar10_{label}_{min(twice)}.aedat in two places: keep one of them")
        missing = sorted((numbers["train"][label] | numbers["test"][label]) - set(there))
        if missing:
            raise ValueError(
                f"{source} lacks {len(missing)} recordings of the split, the first cifar10_{label}_{missing[0]}.aedat: "
                "it is not the whole of what is published, fetch or unpack it again"
            )


def _number(name: str, label: str) -> int | None:
    """Which recording of a class a file holds, None for another file."""
    match = re.fullmatch(rf"cifar10_{label}_(\d+)\.aedat", name.rpartition("/")[2])
    return int(match[1]) if match else None


def read_recordings(
    folder: pathlib.Path, numbers: dict[str, frozenset[int]], *, counted_in: str
) -> Iterator[Recording]:
    """Reads recordings, class after class.

    Args:
      folder: that of the archives or class folders.
      numbers: which recordings of each class.
      counted_in: the split, part of the keys.

    Yields:
      Each recording.

    Raises:
      ValueError: a file that is damaged, named.
    """
    for label, chosen in numbers.items():
        source = source_of(folder, label)
        assert source is not None  # as checked
        names = {name for name in list_files(source) if _number(name, label) in chosen}
        for file, data in read_files(source, names.__contains__):
            name = f"{source}/{file}"
            events, passed = aedat2.decode(data, name=name, size=SENSOR)
            key = f"{counted_in}_{label}_{_number(file, label)}"
            yield Recording(key, name, CLASSES.index(label), events, passed)
