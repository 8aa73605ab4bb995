"""DVS128 Gesture (Amir et al., 2017): eleven hand gestures of 29 people in AEDAT 3.1, with labelled spans of time.

The official split is by person, in two lists of recordings. Each labelled span of a recording is an example.
"""

import pathlib
from collections.abc import Iterator

import tensorflow_datasets as tfds

from stata_jax.data.builders.events import SENSOR, EventBuilder, Recording
from stata_jax.data.events import select
from stata_jax.data.options import SourceOptions
from stata_jax.data.prepared import open_recordings
from stata_jax.data.readers import aedat3, aedat4
from stata_jax.data.readers.archives import read_files
from stata_jax.data.recordings import RecordingSource

CLASSES = (
    "hand_clapping",
    "right_hand_wave",
    "left_hand_wave",
    "right_arm_clockwise",
    "right_arm_counter_clockwise",
    "left_arm_clockwise",
    "left_arm_counter_clockwise",
    "arm_roll",
    "air_drums",
    "air_guitar",
    "other_gestures",
)
HOMEPAGE = "https://ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8/folder/50167556794"
ARCHIVE, FOLDER = "DvsGesture.tar.gz", "DvsGesture"
LISTS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}

Texts = dict[str, str]  # lists and label files by name, without folders


class Dvs128Gesture(EventBuilder):
    """DVS128 Gesture as frames, from the published archive."""

    # The first version left out the first span of a label file without a heading.
    VERSION = tfds.core.Version("2.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"the file {ARCHIVE} of {HOMEPAGE}, or the folder {FOLDER} in it"
    classes = CLASSES
    about = {  # noqa: RUF012, read only
        "description": "Hand and arm gestures before a DVS128, as frames of event counts by polarity.",
        "homepage": HOMEPAGE,
        "citation": "Amir et al., A Low Power, Fully Event-Based Gesture Recognition System, CVPR 2017",
    }

    @staticmethod
    def missing_files(folder: pathlib.Path) -> list[str]:
        """The archive, if there is neither it nor its folder."""
        return [] if source_in(folder) else [ARCHIVE]

    def recordings(self, folder: pathlib.Path) -> dict[str, Iterator[Recording]]:
        """The recordings by part, see `EventBuilder`."""
        source = source_in(folder)
        assert source is not None  # as checked
        names, texts = survey(source)
        trials = {split: listed(source, split, names, texts) for split in LISTS}
        return {split: read_recordings(source, trials[split], texts) for split in LISTS}


def open_dvs128_gesture(options: SourceOptions) -> RecordingSource:
    """Opens DVS128 Gesture, see `open_recordings`."""
    return open_recordings(Dvs128Gesture, options)


def source_in(folder: pathlib.Path) -> pathlib.Path | None:
    """The archive, which comes first because it has a checksum, or else the folder."""
    places = (folder / ARCHIVE, folder / FOLDER)
    return next((place for place in places if place.exists()), None)


def survey(source: pathlib.Path) -> tuple[set[str], Texts]:
    """Names of all files, without folders, and the contents of the lists and label files."""
    names: set[str] = set()

    def is_text(path: str) -> bool:
        name = _base(path)
        names.add(name)
        return name in LISTS.values() or (name.endswith("_labels.csv") and not name.startswith("."))

    texts = {_base(name): data.decode("utf-8-sig", "replace") for name, data in read_files(source, is_text)}
    return names, texts


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _labels_of(trial: str) -> str:
    return trial.removesuffix(".aedat") + "_labels.csv"


def listed(source: pathlib.Path, split: str, names: set[str], texts: Texts) -> set[str]:
    """Names of the recordings of a split.

    Args:
      source: for error messages.
      split: `train` or `test`.
      names: of all files.
      texts: lists and label files.

    Raises:
      ValueError: there is no list, it is empty, or it names a recording that is missing, of another format, or without
        a label file.
    """
    name = LISTS[split]
    if name not in texts:
        raise ValueError(f"{source} lacks {name}: it is not the whole of what is published, fetch or unpack it again")
    trials = {line.strip() for line in texts[name].splitlines() if line.strip()}
    if not trials:
        raise ValueError(f"{source}/{name} lists nothing: fetch or unpack it again")
    for trial in sorted(trials):
        converted = trial.removesuffix(".aedat").removesuffix(aedat4.SUFFIX) + aedat4.SUFFIX
        if converted in names and (trial == converted or trial not in names):
            raise ValueError(aedat4.refusal(f"{source}/{converted}", writer="aedat3"))
        for needed in (trial, _labels_of(trial)):
            if needed not in names:
                raise ValueError(f"{source} lacks {needed}, which {name} asks for: fetch or unpack it again")
    return trials


def read_recordings(source: pathlib.Path, trials: set[str], texts: Texts) -> Iterator[Recording]:
    """Reads recordings and cuts out their labelled spans.

    Args:
      source: archive or folder.
      trials: names of the recordings.
      texts: label files by name.

    Yields:
      A recording for each span, its events in the order of the file; what was passed over in a file counts with its
      first.

    Raises:
      ValueError: a file that is damaged, or labels that do not fit its recording.
    """
    for path, data in read_files(source, lambda name: _base(name) in trials):
        trial = _base(path)
        file, labels = f"{source}/{trial}", f"{source}/{_labels_of(trial)}"
        events, passed = aedat3.decode(data, name=file, size=SENSOR)
        first, last = events.t.min(), events.t.max()
        for number, span in enumerate(aedat3.parse_labels(texts[_labels_of(trial)], name=labels)):
            if span.start > last or span.end <= first:
                raise ValueError(
                    f"{labels}, span {number + 1}: {span.start} to {span.end} microseconds lie outside the recording, "
                    f"which lasts from {first} to {last}: the two files do not belong together"
                )
            part = select(events, (events.t >= span.start) & (events.t < span.end))
            passed = passed if number == 0 else {}
            yield Recording(f"{trial}_{number}", file, span.label, part, passed, place=f", span {number + 1}")
