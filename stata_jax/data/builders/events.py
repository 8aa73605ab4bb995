"""The base of the builders of event data sets: frames as the stored example, and counts of what was not stored.

Frames are stored as bytes compressed with zlib, of uint8, so that later epochs decode no events.
"""

import abc
import dataclasses
import functools
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from stata_jax.data.events import Events, to_frames

SENSOR = 128  # height and width of a DVS128 in pixels
PUBLISHED = "published"  # data.split, for data sets that come with one
_NAMED = 5  # files that a line of the report names


class Recording(NamedTuple):
    """One example before it becomes frames.

    Attributes:
      key: unlike that of any other recording of the data set.
      file: what messages call the file that it lies in.
      label: class, from 0.
      events: all of them.
      passed: what the reader counted in the file, by name.
      place: where in the file, for error messages.
    """

    key: str
    file: str
    label: int
    events: Events
    passed: dict[str, int]
    place: str = ""


@dataclasses.dataclass(eq=False)
class FramesConfig(tfds.core.BuilderConfig):
    """Into how many frames recordings are cut, and by what, as in `stata_jax.data.events.to_frames`; and the split."""

    timesteps: int = 16
    by: str = "count"
    split: str = PUBLISHED


def frames_config(timesteps: int, by: str, split: str = PUBLISHED, tag: str = "") -> FramesConfig:
    """The configuration `<by>_<timesteps>`, with `_<tag>` for another split than the published one."""
    return _frames_config(timesteps, by, split, tag)


@functools.cache  # a builder knows a configuration by its identity
def _frames_config(timesteps: int, by: str, split: str, tag: str) -> FramesConfig:
    return FramesConfig(
        name="_".join([by, str(timesteps), *([tag] if tag else [])]),
        description=f"{timesteps} frames, runs of equal {by}",
        timesteps=timesteps,
        by=by,
        split=split,
    )


class EventBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Builder of a published event data set; a subclass says the following, and is called like the data set.

    Attributes:
      VERSION: of what is prepared; another one prepares anew.
      MANUAL_DOWNLOAD_INSTRUCTIONS: which files a user has to fetch, and from where.
      classes: their names in the order of the labels.
      sensor: height and width of the sensor in pixels.
      about: `description`, `homepage` and `citation`.
    """

    BUILDER_CONFIGS = [frames_config(16, "count")]  # noqa: RUF012, the way of TFDS
    classes: tuple[str, ...]
    sensor: int = SENSOR
    about: dict[str, str]

    @staticmethod
    @abc.abstractmethod
    def missing_files(folder: pathlib.Path) -> list[str]:
        """Published files that a folder has in no form."""

    @abc.abstractmethod
    def recordings(self, folder: pathlib.Path) -> dict[str, Iterator[Recording]]:
        """The recordings in the published files, by part: `train` and `test`.

        Raises:
          ValueError: a file that is missing or damaged, named.
        """

    @classmethod
    def split_tag(cls, split: str) -> str:
        """What the name of a prepared folder ends with, so that another split has another folder.

        Raises:
          ValueError: there is no such split.
        """
        if split != PUBLISHED:
            raise ValueError(f"data.split is {split!r}, but {cls.name} has only the split that it is published with")
        return ""

    def _info(self) -> tfds.core.DatasetInfo:
        """Describes examples `frames` `(T, H, W, 2)` uint8 and `label`."""
        shape = (self.builder_config.timesteps, self.sensor, self.sensor, 2)
        features = tfds.features.FeaturesDict(
            {
                "frames": tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="zlib"),
                "label": tfds.features.ClassLabel(names=list(self.classes)),
            }
        )
        metadata = tfds.core.MetadataDict()
        return tfds.core.DatasetInfo(builder=self, features=features, metadata=metadata, **self.about)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        folder = pathlib.Path(dl_manager.manual_dir)
        if missing := self.missing_files(folder):
            raise ValueError(f"{folder} lacks {', '.join(missing)}: put there {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
        return {part: frames_examples(self, found) for part, found in self.recordings(folder).items()}

    def _generate_examples(self) -> None:
        raise NotImplementedError  # the generators above are complete


def frames_examples(builder: Any, recordings: Iterable[Recording]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Turns recordings into examples, and adds up in the builder's metadata what was saturated or passed over.

    The files with timestamps that run backwards are named.

    Args:
      builder: whose configuration says how.
      recordings: of one split.

    Yields:
      Keys and examples.
    """
    config, lost = builder.builder_config, Counter(saturated_counts=0)
    _, height, width, _ = builder.info.features["frames"].shape
    backward: Counter[str] = Counter()
    for recording in recordings:
        frames, saturated = to_frames(
            recording.events,
            timesteps=config.timesteps,
            by=config.by,
            height=height,
            width=width,
            name=recording.file + recording.place,
        )
        lost.update(recording.passed, saturated_counts=saturated)
        backward[recording.file] += recording.passed.get("backward_timestamps", 0)
        yield recording.key, {"frames": frames, "label": recording.label}
    _report_backward(+backward, builder.name)
    metadata = builder.info.metadata
    for name, number in lost.items():
        metadata[name] = metadata.get(name, 0) + number


def _report_backward(backward: Counter[str], name: str) -> None:
    """Says in one line how many timestamps of which files run backwards, if any do."""
    if not backward:
        return
    worst = ", ".join(f"{file} ({number})" for file, number in backward.most_common(_NAMED))
    more = f" and {len(backward) - _NAMED} more files" if len(backward) > _NAMED else ""
    print(f"{name}: timestamps run backwards, {backward.total()} in all: {worst}{more}")
