"""The digits as event recordings, from the drawing to the batches."""

import dataclasses
import json
import pathlib
import zipfile

import jax
import numpy as np
import pytest

from stata_jax.data.events import Events, to_frames
from stata_jax.data.options import SourceOptions
from stata_jax.data.readers import aedat2
from stata_jax.data.scenes import load_banks
from stata_jax.data.sensor import record
from stata_jax.data.sources import digits_dvs
from stata_jax.data.sources.digits import SceneOptions
from stata_jax.data.sources.digits_dvs import RecordingOptions, frame_times, make_recordings, open_digits_dvs

OPTIONS = RecordingOptions(train_examples=70, test_examples=5, samples=4)


def open_one(folder: pathlib.Path, **changes):
    settings = {"timesteps": 4, "batch_size": 8, "eval_batch_size": 4, "seed": 0, "data_dir": str(folder)}
    recorded = {f.name: getattr(OPTIONS, f.name) for f in dataclasses.fields(SourceOptions) if hasattr(OPTIONS, f.name)}
    return open_digits_dvs(SourceOptions(**settings | recorded | changes), samples=OPTIONS.samples)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return folder, open_one(folder)


def test_the_source_is_as_asked(opened):
    _, source = opened
    assert (source.train_examples, source.test_examples, source.num_classes) == (70, 5, 10)
    assert source.image_shape == (4, 32, 32, 2) and source.steps_per_epoch == 8 and source.test_steps == 2
    batch = source.train_batch(0, 3)
    assert batch["image"].shape == (8, 4, 32, 32, 2) and batch["image"].dtype == np.uint8
    np.testing.assert_array_equal(source.test_batch(1)["mask"], [True, False, False, False])
    assert np.bincount(source.train.labels, minlength=10).min() >= 5


@pytest.mark.parametrize(("split", "number"), [("train", 0), ("train", 69), ("test", 4)])
def test_frames_are_those_of_the_scene_recorded(opened, split, number):
    """Draws and records one scene alone, without chunks, files or the source."""
    _, source = opened
    place = ("train", "test").index(split)
    key = jax.random.fold_in(jax.random.key(OPTIONS.test_seed, impl="threefry2x32"), place)
    scene = SceneOptions(32, OPTIONS.fragment, OPTIONS.clutter, noise=0.0)
    numbers = np.full(64, number, np.int32)  # as many as are drawn elsewhere, to compile once
    drawn = jax.device_get(digits_dvs.draw_batch(key, load_banks(16)[place], numbers, options=scene))
    events = record(
        np.rint(drawn["image"][0, ..., 0] * 255) / 255,
        random=np.random.RandomState([OPTIONS.test_seed, place, number]),
        threshold=OPTIONS.threshold,
        amplitude=OPTIONS.amplitude,
        samples=OPTIONS.samples,
        saccade_us=OPTIONS.saccade_us,
        dark=OPTIONS.dark,
        noise_hz=OPTIONS.noise_hz,
    )
    frames, _ = to_frames(events, timesteps=4, by="count", height=32, width=32, name="")
    batch = getattr(source, split).read(np.array([number]))
    assert frames.sum() > 1000
    # Another shape of the same product may round a level across a threshold once in a while.
    assert np.abs(batch["image"][0].astype(int) - frames).sum() <= 0.002 * frames.sum()
    assert batch["label"][0] == drawn["label"][0]
    # The digit is where it was drawn, moved along the saccades to where it is at the median event of each frame.
    quarter = len(events.t) // 4
    saccade, share = np.divmod(events.t[[i * quarter + quarter // 2 for i in range(4)]] / OPTIONS.saccade_us, 1)
    corners = OPTIONS.amplitude * np.array([(0, 0), (1, 0.5), (0, 1), (0, 0)])
    begin, end = corners[saccade.astype(int)], corners[saccade.astype(int) + 1]
    expected = np.rint(drawn["corner"][0] + begin + share[:, None] * (end - begin))
    # That event may be another one where a level was rounded.
    assert np.abs(batch["corner"][0] - expected).max() <= 1 and (batch["corner"][0] == expected).mean() > 0.8
    assert np.ptp(expected, axis=0).min() > 0  # it moves


@pytest.mark.parametrize("by", ["count", "duration"])
def test_frame_times_are_those_of_the_median_event(by):
    """Each event has a pixel of its own, so that the frames say whose it is."""
    random = np.random.RandomState(0)
    t = np.sort(random.choice(10_000, 25, replace=False)) + 7
    t[12:] += 20_000  # so long a silence that frames of equal duration are empty
    own = np.arange(25)
    events = Events(t.astype(np.int64), own.astype(np.int32), np.zeros(25, np.int32), np.zeros(25, np.uint8))
    frames, _ = to_frames(events, timesteps=6, by=by, height=1, width=25, name="")
    times = frame_times(events.t, timesteps=6, by=by)
    for frame, time in zip(frames[:, 0, :, 0], times, strict=True):
        members = np.flatnonzero(frame)
        assert time == (t[members[len(members) // 2]] if members.size else t[12])
    assert (frames.sum((1, 2, 3)) == 0).any() == (by == "duration")


def test_corners_belong_to_the_frames(opened):
    """More happens in the box than beside it, and more than in the box of another recording."""
    _, source = opened
    batch = source.train.read(np.arange(70))
    corner, events = batch["corner"], batch["image"].astype(int).sum(-1)
    assert corner.shape == (70, 4, 2) and corner.dtype == np.int32
    assert corner.min() >= 0 and 16 < corner.max() <= 19  # some boxes stick out at the end of the path
    place = np.arange(32)
    inside = (corner[..., None] <= place) & (place < corner[..., None] + 16)  # (70, 4, 2, 32)
    on = inside[:, :, 0, :, None] & inside[:, :, 1, None, :]
    own, others = (events[boxes].mean() / events[~boxes].mean() for boxes in (on, np.roll(on, 1, axis=0)))
    assert own > 1.5 * others > 1.5  # others: the boxes of the recording before
    test = source.test_batch(1)
    np.testing.assert_array_equal(test["corner"], source.test.corners[[4, 0, 1, 2]])


def test_files_are_aedat_and_recorded_once(opened, capsys):
    folder, source = opened
    (place,) = (folder / "digits_dvs").iterdir()
    names = ["options.json", "test.npy", "test.zip", "train.npy", "train.zip"]
    assert sorted(path.name for path in place.iterdir()) == names
    assert json.loads((place / "options.json").read_text())["train_examples"] == 70
    with zipfile.ZipFile(place / "train.zip") as archive:
        assert len(archive.namelist()) == 70
        name = f"{source.train.labels[3]}/000003.aedat"
        events, passed = aedat2.decode(archive.read(name), name=name, size=32)
        assert not any(passed.values()) and events.t[-1] <= 300_000
    before = (place / "train.zip").stat().st_mtime_ns
    capsys.readouterr()
    by_duration = open_one(folder, frames="duration", timesteps=6)
    assert "making" not in capsys.readouterr().out
    assert (place / "train.zip").stat().st_mtime_ns == before
    np.testing.assert_array_equal(
        by_duration.train.frames.astype(int).sum((1, 4)), source.train.frames.astype(int).sum((1, 4))
    )


def test_the_same_options_make_the_same_bytes_and_others_another_folder(opened, tmp_path):
    folder, _ = opened
    first, again = make_recordings(str(folder), OPTIONS), make_recordings(str(tmp_path), OPTIONS)
    assert first.name == again.name
    for name in ("train.zip", "test.zip", "train.npy", "test.npy"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    other = make_recordings(str(tmp_path), RecordingOptions(train_examples=70, test_examples=5, samples=5))
    assert other.name != again.name


def test_an_error_in_the_middle_leaves_nothing(opened, tmp_path, monkeypatch):
    calls = []

    def fail(events, *, size):
        calls.append(events)
        if len(calls) == 30:
            raise KeyboardInterrupt
        return encode(events, size=size)

    encode = aedat2.encode
    with monkeypatch.context() as patch:
        patch.setattr(digits_dvs.aedat2, "encode", fail)
        with pytest.raises(KeyboardInterrupt):
            make_recordings(str(tmp_path), OPTIONS)
    assert list((tmp_path / "digits_dvs").iterdir()) == []
    whole = make_recordings(str(tmp_path), OPTIONS)
    (expected,) = (opened[0] / "digits_dvs").iterdir()
    assert (whole / "train.zip").read_bytes() == (expected / "train.zip").read_bytes()


def test_a_damaged_archive_is_named_and_made_again_once_deleted(opened, tmp_path):
    place = make_recordings(str(tmp_path), OPTIONS)
    data = (place / "test.zip").read_bytes()
    (place / "test.zip").write_bytes(data[:-40])
    with pytest.raises(ValueError, match=r"test\.zip is cut off or damaged .*: delete it, then fetch or make it again"):
        open_one(tmp_path)
    (place / "test.zip").unlink()
    assert len(open_one(tmp_path).test) == 5
    assert (place / "test.zip").read_bytes() == data
    corners = (place / "train.npy").read_bytes()
    for damaged in (corners[:-8], b"", b"no array"):
        (place / "train.npy").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"train\.npy is damaged .*: delete it"):
            open_one(tmp_path)
    (place / "train.npy").unlink()
    open_one(tmp_path)
    assert (place / "train.npy").read_bytes() == corners


def test_training_and_test_recordings_differ(opened):
    _, source = opened
    train = {frames.tobytes() for frames in source.train.frames}
    assert len(train) == 70
    assert not train & {frames.tobytes() for frames in source.test.frames}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_examples": 0}, r"data\.train_examples must be at least 1, got 0"),
        ({"image_size": 129}, r"data\.image_size must be at least 16 and at most 128, got 129"),
        ({"image_size": 15}, r"data\.image_size must be at least 16 and at most 128, got 15"),
        ({"threshold": 0.0}, r"threshold must be above 0, got 0\.0"),
        ({"fragment": 17}, r"fragment must be 1 to 16 pixels"),
    ],
)
def test_impossible_options_are_named_and_leave_nothing(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        open_one(tmp_path, **{"train_examples": 1, "test_examples": 1, "batch_size": 1} | change)
    assert not list(tmp_path.glob("digits_dvs/*"))
