"""CIFAR10-DVS (Li et al., 2017, doi:10.3389/fnins.2017.00309): ten classes of 1000 recordings in AEDAT 2.0.

Its authors give no split. `SPLITS` names those of the files beside this one, of which each takes 900 recordings of each
class to train and 100 to test:

- `published`: what the published programs for event models train on, which sort the names of a class's files as text
  (`_0, _1, _10, _100, ...`) and take the first nine tenths: recordings 91 to 99 and 909 to 999 test;
- `number`: recordings 900 to 999 test.

Each is tested on other recordings, so that accuracies compare only where the split is the same.
"""

import hashlib
import pathlib
import re
from collections.abc import Iterator

import tensorflow_datasets as tfds

from stata_jax.data.builders.events import SENSOR, EventBuilder, Recording
from stata_jax.data.options import SourceOptions
from stata_jax.data.prepared import open_recordings
from stata_jax.data.readers import aedat2, aedat4
from stata_jax.data.readers.archives import list_files, read_files
from stata_jax.data.recordings import RecordingSource

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HOMEPAGE = "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671"
SPLITS = ("published", "number")
PARTS = ("train", "test")
_FORMER = "cifar10_dvs_split.csv"  # a file that once replaced the split without a word

Numbers = dict[str, dict[str, frozenset[int]]]  # by part, then by class: which recordings


class Cifar10Dvs(EventBuilder):
    """CIFAR10-DVS as frames, from the published archives."""

    # The first version had one split, now called number, in folders of the same names as those of the published one.
    VERSION = tfds.core.Version("2.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"the ten files airplane.zip, automobile.zip ... truck.zip of {HOMEPAGE}, or the ten folders in them"
    )
    classes = CLASSES
    about = {  # noqa: RUF012, read only
        "description": "Moving CIFAR-10 images before a DVS128, as frames of event counts by polarity.",
        "homepage": HOMEPAGE,
        "citation": "Li et al., CIFAR10-DVS: An Event-Stream Dataset for Object Classification, 2017",
    }

    @staticmethod
    def missing_files(folder: pathlib.Path) -> list[str]:
        """Archives that are there neither as such nor as folders."""
        return [f"{label}.zip" for label in CLASSES if source_of(folder, label) is None]

    @classmethod
    def split_tag(cls, split: str) -> str:
        """What the name of a prepared folder ends with: another split, or another content, has another folder."""
        if split in SPLITS:
            return "" if split == SPLITS[0] else split
        return hashlib.sha256(_split_file(split)).hexdigest()[:8]

    def recordings(self, folder: pathlib.Path) -> dict[str, Iterator[Recording]]:
        """The recordings by part, see `EventBuilder`."""
        split = self.builder_config.split
        if split in SPLITS and (folder / _FORMER).exists():
            raise ValueError(
                f"{folder} holds a split of its own, {_FORMER}, but data.split is {split!r}: name that file by "
                "data.split, or remove it"
            )
        numbers = load_split(split)
        check(folder, numbers)
        self.info.metadata["split"] = split
        return {part: read_recordings(folder, numbers[part], counted_in=part) for part in PARTS}


def open_cifar10_dvs(options: SourceOptions) -> RecordingSource:
    """Opens CIFAR10-DVS, see `open_recordings`."""
    return open_recordings(Cifar10Dvs, options)


def parse_split(text: str, *, name: str) -> Numbers:
    """Reads a split: a heading `class,train,test`, then a line a class with numbers such as `0-899` or `3 5 7-9`.

    The heading, which has no digit, may be missing.

    Args:
      text: the whole file.
      name: of the file, for error messages.

    Raises:
      ValueError: a line of another form, a range from a greater number to a smaller one, a class that is missing,
        unknown or there twice, or a recording in both parts.
    """
    numbers: Numbers = {part: {} for part in PARTS}
    for place, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or (place == 1 and not any(map(str.isdigit, line))):
            continue
        label, *cells = line.split(",")
        if label not in CLASSES or len(cells) != len(PARTS) or not all(map(_RANGES.fullmatch, cells)):
            raise ValueError(f"{name}, line {place}: {line!r} is not class,train,test with numbers such as 0-899")
        if label in numbers["train"]:
            raise ValueError(f"{name}, line {place}: {label} has a line already")
        if backward := [word for cell in cells for word in cell.split() if not _range(word)]:
            raise ValueError(f"{name}, line {place}: {backward[0]} has no number, for it goes from more to less")
        for part, cell in zip(PARTS, cells, strict=True):
            numbers[part][label] = frozenset(number for word in cell.split() for number in _range(word))
        if numbers["train"][label] & numbers["test"][label]:
            raise ValueError(f"{name}, line {place}: a recording of {label} is in both train and test")
    missing = [label for label in CLASSES if label not in numbers["train"]]
    if missing:
        raise ValueError(f"{name} has no line for {', '.join(missing)}")
    return numbers


_RANGES = re.compile(r"\s*(\d{1,4}(-\d{1,4})?)?(\s+\d{1,4}(-\d{1,4})?)*\s*")  # numbers go to 999


def _range(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


def load_split(split: str) -> Numbers:
    """Reads one of `SPLITS`, or the file of this name."""
    return parse_split(_split_file(split).decode("utf-8-sig", "replace"), name=split)


def _split_file(split: str) -> bytes:
    own = pathlib.Path(__file__).parent / f"cifar10_dvs_split_{split}.csv"
    try:
        return (own if split in SPLITS else pathlib.Path(split).expanduser()).read_bytes()
    except OSError as error:
        raise ValueError(
            f"data.split is {split!r}, none of {', '.join(SPLITS)} and no file that can be read: {error.strerror}"
        ) from error


def source_of(folder: pathlib.Path, label: str) -> pathlib.Path | None:
    """The archive of a class, which comes first because it has checksums, or else its folder."""
    places = (folder / f"{label}.zip", folder / label)
    return next((place for place in places if place.exists()), None)


def check(folder: pathlib.Path, numbers: Numbers) -> None:
    """Checks that every recording of the split is there, without reading any.

    Raises:
      ValueError: naming what is missing, there twice, or there in another format.
    """
    for label in CLASSES:
        source = source_of(folder, label)
        assert source is not None  # as checked
        names = list_files(source)
        there = [number for name in names if (number := _number(name, label)) is not None]
        twice = {number for number in there if there.count(number) > 1} if len(there) > len(set(there)) else set()
        if twice:
            raise ValueError(f"{source} has cifar10_{label}_{min(twice)}.aedat in two places: keep one of them")
        missing = sorted((numbers["train"][label] | numbers["test"][label]) - set(there))
        converted = [name for name in names if name.endswith(aedat4.SUFFIX)]
        if missing and converted:
            raise ValueError(aedat4.refusal(f"{source}/{converted[0]}", writer="aedat2"))
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
      counted_in: `train` or `test`, part of the keys.

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
            path = f"{source}/{file}"
            events, passed = aedat2.decode(data, name=path, size=SENSOR)
            key = f"{counted_in}_{label}_{_number(file, label)}"
            yield Recording(key, path, CLASSES.index(label), events, passed)
