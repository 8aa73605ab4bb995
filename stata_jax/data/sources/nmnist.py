"""N-MNIST (Orchard et al., 2015, doi:10.3389/fnins.2015.00437): the digits of MNIST before a moving camera.

The published split is in two archives or folders, `Train` and `Test`, with a folder for each digit in them and a file
for each recording: `Train/7/00015.bin`. A part of the recordings will do.
"""

import pathlib
import re
from collections import Counter
from collections.abc import Iterator

import tensorflow_datasets as tfds

from stata_jax.data.builders.events import EventBuilder, Recording
from stata_jax.data.options import SourceOptions
from stata_jax.data.prepared import open_recordings
from stata_jax.data.readers import aedat4, nmnist
from stata_jax.data.readers.archives import list_files, read_files
from stata_jax.data.recordings import RecordingSource

HOMEPAGE = "https://www.garrickorchard.com/datasets/n-mnist"
PARTS = {"train": "Train", "test": "Test"}  # names of the archives, without .zip, and of the folders


class Nmnist(EventBuilder):
    """N-MNIST as frames, from the published archives."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"the files Train.zip and Test.zip of {HOMEPAGE}, or the folders Train and Test in them"
    )
    classes = tuple("0123456789")
    sensor = nmnist.SENSOR
    about = {  # noqa: RUF012, read only
        "description": "Digits of MNIST before a moving ATIS camera, as frames of event counts by polarity.",
        "homepage": HOMEPAGE,
        "citation": "Orchard et al., Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades",
    }

    @staticmethod
    def missing_files(folder: pathlib.Path) -> list[str]:
        """Archives that are there neither as such nor as folders."""
        return [f"{name}.zip" for part, name in PARTS.items() if not source_of(folder, part).exists()]

    def recordings(self, folder: pathlib.Path) -> dict[str, Iterator[Recording]]:
        """The recordings by part, see `EventBuilder`."""
        found = {part: survey(source_of(folder, part)) for part in PARTS}
        return {part: read_recordings(source_of(folder, part), names, part=part) for part, names in found.items()}


def open_nmnist(options: SourceOptions) -> RecordingSource:
    """Opens N-MNIST, see `open_recordings`."""
    return open_recordings(Nmnist, options)


def source_of(folder: pathlib.Path, part: str) -> pathlib.Path:
    """The archive of a part, which comes first because it has checksums, or else its folder."""
    archive = folder / f"{PARTS[part]}.zip"
    return archive if archive.exists() else folder / PARTS[part]


def survey(source: pathlib.Path) -> dict[str, tuple[int, str]]:
    """Digit and name of each recording in an archive or folder, by path, without reading any.

    Raises:
      ValueError: there is none, or one in two places.
    """
    files = list_files(source)
    found = {path: (int(match[1]), match[2]) for path in files if (match := _RECORDING.fullmatch(path))}
    converted = [path for path in files if path.endswith(aedat4.SUFFIX)]
    if converted and not found:
        raise ValueError(aedat4.refusal(f"{source}/{converted[0]}", writer="nmnist"))
    if not found:
        raise ValueError(
            f"{source} has no file such as 7/00015.bin, a folder for each digit with a file for each recording: it is "
            "not what is published, fetch or unpack it again"
        )
    (label, name), times = Counter(found.values()).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{source} has {label}/{name} in {times} places: keep one of them")
    return found


_RECORDING = re.compile(r"(?:.*/)?([0-9])/([^/.][^/]*\.bin)")  # no name with a dot first, which are a Mac's own files


def read_recordings(source: pathlib.Path, found: dict[str, tuple[int, str]], *, part: str) -> Iterator[Recording]:
    """Reads recordings in the order of the archive, or of their paths.

    Args:
      source: archive or folder.
      found: digit and name by path.
      part: `train` or `test`, part of the keys.

    Yields:
      Each recording.

    Raises:
      ValueError: a file that is damaged, named.
    """
    for path, data in read_files(source, found.__contains__):
        label, name = found[path]
        events, passed = nmnist.decode(data, name=f"{source}/{path}")
        yield Recording(f"{part}_{label}_{name}", f"{source}/{path}", label, events, passed)
