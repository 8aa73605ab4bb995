"""What the builders of event data sets share: frames as the stored example, and counts of what was not stored.

Frames are stored as bytes compressed with zlib, of uint8, so that later epochs decode no events.
"""

import dataclasses
import functools
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


def frames_info(builder: Any, *, classes: tuple[str, ...], size: int = SENSOR, **about: str) -> tfds.core.DatasetInfo:
    """Describes examples `frames` `(T, size, size, 2)` uint8 and `label`.

    Args:
      builder: whose data set it is.
      classes: their names in the order of the labels.
      size: height and width of the sensor in pixels.
      **about: `description`, `homepage` and `citation`.
    """
    shape = (builder.builder_config.timesteps, size, size, 2)
    features = tfds.features.FeaturesDict(
        {
            "frames": tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="zlib"),
            "label": tfds.features.ClassLabel(names=list(classes)),
        }
    )
    return tfds.core.DatasetInfo(builder=builder, features=features, metadata=tfds.core.MetadataDict(), **about)


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
