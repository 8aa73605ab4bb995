"""The cluttered digits as event recordings: drawn, moved before a simulated sensor, written in AEDAT 2.0, read back.

They need no download and take the way of published recordings, files and reader included.
"""

import hashlib
import json
import os
import pathlib
import shutil
import tempfile
import zipfile
from dataclasses import asdict, dataclass, fields

import jax
import numpy as np

from stata_jax.data.events import runs_by_count, runs_by_duration, to_frames
from stata_jax.data.options import SourceOptions
from stata_jax.data.readers import aedat2
from stata_jax.data.readers.archives import read_files
from stata_jax.data.recordings import MemoryStore, RecordingSource
from stata_jax.data.scenes import NUM_CLASSES, DigitBank, load_banks
from stata_jax.data.sensor import offset_at, record_all
from stata_jax.data.sources.digits import SceneOptions, draw_batch
from stata_jax.paths import expand

_VERSION = 2  # of the recordings; another one makes them anew
_CHUNK = 64  # recordings made at once
_STAMP = (1980, 1, 1, 0, 0, 0)  # the time of every file in the archives, so that the same options give the same bytes


@dataclass(frozen=True)
class RecordingOptions:
    """What the recordings follow from; the sensor's options are explained in `stata_jax.data.sensor.record_all`.

    Attributes:
      train_examples: training recordings.
      test_examples: test recordings.
      image_size: height and width of picture and sensor in pixels.
      size: the digits' height and width in pixels.
      clutter: fragments of other digits in a picture.
      fragment: the fragments' height and width in pixels.
      test_seed: what scenes and noise of both splits follow from; that of the run orders them.
      threshold: change of log intensity per event.
      amplitude: length of the path's sides in pixels, about.
      samples: positions on each of the three saccades.
      saccade_us: microseconds a saccade.
      dark: intensity added to that of the picture.
      noise_hz: events a second that each pixel sends without a cause.
    """

    train_examples: int
    test_examples: int
    image_size: int = 32
    size: int = 16
    clutter: int = 2
    fragment: int = 8
    test_seed: int = 1234
    threshold: float = 0.3
    amplitude: float = 3.0
    samples: int = 16
    saccade_us: int = 100_000
    dark: float = 0.1
    noise_hz: float = 1.0


def open_digits_dvs(options: SourceOptions, **sensor: float) -> RecordingSource:
    """Opens the recordings, made first where these options have not been used before, and counts them into frames.

    Args:
      options: of which those that `RecordingOptions` names say what is recorded, `timesteps` and `frames` how it is
        counted.
      **sensor: those of `RecordingOptions` that no config has.

    Raises:
      ValueError: an option that cannot be met.
    """
    names = [field.name for field in fields(RecordingOptions) if hasattr(options, field.name)]
    recordings = RecordingOptions(**{name: getattr(options, name) for name in names} | sensor)
    _check(recordings)
    folder, stores = make_recordings(options.data_dir, recordings), {}
    for split in ("train", "test"):
        stores[split], saturated = _read(
            folder / f"{split}.zip", timesteps=options.timesteps, frames=options.frames, options=recordings
        )
        print(f"digits_dvs: {len(stores[split])} {split} recordings, {saturated} saturated counts, in {folder}")
    return RecordingSource(stores["train"], stores["test"], options, num_classes=NUM_CLASSES)


def make_recordings(data_dir: str, options: RecordingOptions) -> pathlib.Path:
    """Makes the recordings unless they are there, and returns their folder, which is whole or does not exist.

    It holds `train.zip` and `test.zip`, with files `<class>/<number>.aedat`; `train.npy` and `test.npy`, by number the
    row and column of the top left pixel of each digit where the path begins, `(n, 2)` int32; and `options.json`.

    Args:
      data_dir: folder of all data; empty for that of TFDS.
      options: what the recordings follow from.
    """
    record = json.dumps({"version": _VERSION, **asdict(options)}, indent=2, sort_keys=True)
    root = expand(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets"))
    folder = root / "digits_dvs" / hashlib.sha256(record.encode()).hexdigest()[:16]
    if _is_whole(folder):
        return folder
    print(f"digits_dvs: making {options.train_examples} + {options.test_examples} recordings, once, in {folder}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    incomplete = pathlib.Path(tempfile.mkdtemp(prefix="incomplete.", dir=folder.parent))
    try:
        train, test = load_banks(options.size)
        _write(incomplete / "train.zip", train, options.train_examples, 0, options)
        _write(incomplete / "test.zip", test, options.test_examples, 1, options)
        (incomplete / "options.json").write_text(record + "\n")
        incomplete.chmod(0o755)
        if folder.exists() and not _is_whole(folder):  # somebody has deleted a part of it
            shutil.rmtree(folder)
        try:
            incomplete.rename(folder)
        except OSError:
            if not _is_whole(folder):  # otherwise another process was first, with the same recordings
                raise
    finally:
        shutil.rmtree(incomplete, ignore_errors=True)
    return folder


def _is_whole(folder: pathlib.Path) -> bool:
    names = ("train.zip", "train.npy", "test.zip", "test.npy", "options.json")
    return all((folder / name).exists() for name in names)


def _write(path: pathlib.Path, bank: DigitBank, count: int, split: int, options: RecordingOptions) -> None:
    """Draws and records `count` scenes of a bank; recording `i` follows from the seed, the split and `i` alone."""
    scene = SceneOptions(options.image_size, options.fragment, options.clutter, noise=0.0)
    key = jax.random.fold_in(jax.random.key(options.test_seed, impl="threefry2x32"), split)
    corners = np.empty((count, 2), np.int32)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for begin in range(0, count, _CHUNK):
            numbers = np.arange(begin, begin + _CHUNK, dtype=np.int32)  # always as many, to compile once
            drawn = jax.device_get(draw_batch(key, bank, numbers, options=scene))
            used = min(_CHUNK, count - begin)
            corners[begin : begin + used] = drawn["corner"][:used]
            images = np.rint(drawn["image"][:used, ..., 0] * 255.0) / 255.0  # as bytes, the same on every device
            recordings = record_all(
                images,
                [np.random.RandomState([options.test_seed, split, int(number)]) for number in numbers[:used]],
                threshold=options.threshold,
                amplitude=options.amplitude,
                samples=options.samples,
                saccade_us=options.saccade_us,
                dark=options.dark,
                noise_hz=options.noise_hz,
            )
            for number, label, events in zip(numbers, drawn["label"], recordings, strict=False):
                name = zipfile.ZipInfo(f"{label}/{number:06d}.aedat", _STAMP)
                name.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(name, aedat2.encode(events, size=options.image_size), compresslevel=1)
    np.save(path.with_suffix(".npy"), corners)


def _read(path: pathlib.Path, *, timesteps: int, frames: str, options: RecordingOptions) -> tuple[MemoryStore, int]:
    """Reads an archive of recordings as frames; the second result is the number of saturated counts."""
    begins, size = _read_corners(path.with_suffix(".npy")), options.image_size
    images, labels, corners, saturated = [], [], [], 0
    for name, data in read_files(path, lambda name: True):
        events, _ = aedat2.decode(data, name=f"{path}/{name}", size=size)
        image, cut = to_frames(events, timesteps=timesteps, by=frames, height=size, width=size, name=f"{path}/{name}")
        offset = offset_at(
            frame_times(events.t, timesteps=timesteps, by=frames),
            amplitude=options.amplitude,
            saccade_us=options.saccade_us,
        )
        images.append(image)
        label, number = name.removesuffix(".aedat").split("/")
        labels.append(int(label))
        corners.append(np.rint(begins[int(number)] + offset).astype(np.int32))
        saturated += cut
    return MemoryStore(np.stack(images), np.array(labels, np.int32), np.stack(corners)), saturated


def _read_corners(path: pathlib.Path) -> np.ndarray:
    try:
        corners: np.ndarray = np.load(path)
    except (ValueError, EOFError) as error:  # of a file that is no array, or a part of one
        raise ValueError(f"{path} is damaged ({error}): delete it, so that the recordings are made again") from error
    return corners


def frame_times(t: np.ndarray, *, timesteps: int, by: str) -> np.ndarray:
    """The time of the median event of each frame, or of the next event where a frame has none.

    Args:
      t: `(E,)` timestamps that never decrease.
      timesteps: `T`, the number of frames, at most `E`.
      by: how the events are cut into frames, as in `stata_jax.data.events.to_frames`.

    Returns:
      `(T,)`, in the units of `t`.
    """
    runs = runs_by_count(t.size, timesteps) if by == "count" else runs_by_duration(t, timesteps)
    times: np.ndarray = t[(runs[:-1] + runs[1:]) // 2]
    return times


def _check(options: RecordingOptions) -> None:
    """Checks what would otherwise be found out halfway; the rest is checked where it is used."""
    for name, value, least, most in (
        ("data.train_examples", options.train_examples, 1, None),
        ("data.test_examples", options.test_examples, 1, None),
        ("data.image_size", options.image_size, options.size, 128),
    ):
        if value < least or (most is not None and value > most):
            raise ValueError(f"{name} must be at least {least}{f' and at most {most}' if most else ''}, got {value}")
