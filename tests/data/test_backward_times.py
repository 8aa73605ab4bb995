"""Timestamps that run backwards, from files to frames; and label files in the forms in which they come."""

import struct

import numpy as np
import pytest
from prepared_sets import SIZE, open_one

from stata_jax.data.events import select, to_frames
from stata_jax.data.readers import aedat2, aedat3


def shift(data: bytes, place: int, back: int, form: str) -> bytes:
    """Takes microseconds off the timestamp that ends `place` bytes before the end of a recording."""
    begin, end = len(data) - place - 4, len(data) - place
    (time,) = struct.unpack(form, data[begin:end])
    return data[:begin] + struct.pack(form, time - back) + data[end:]


@pytest.mark.parametrize("frames", ["count", "duration"])
def test_backward_timestamps_refuse_nothing_and_are_reported(tmp_path, event_files, capsys, frames):
    files = event_files.cifar10_dvs()
    for name, places in (("cat/cifar10_cat_0.aedat", (0, 80)), ("dog/cifar10_dog_1.aedat", (400,))):
        for place in places:
            files[name] = shift(files[name], place, 3000, ">I")
    event_files.folder(tmp_path / "manual", files)
    source = open_one("cifar10_dvs", tmp_path, frames=frames)
    out, manual = capsys.readouterr().out, tmp_path / "manual"
    worst = f"{manual}/cat/cifar10_cat_0.aedat (2), {manual}/dog/cifar10_dog_1.aedat (1)"
    assert f"cifar10_dvs: timestamps run backwards, 3 in all: {worst}\n" in out
    assert out.count("run backwards") == 1 and "3 backward timestamps" in out
    for name in ("cat/cifar10_cat_0.aedat", "dog/cifar10_dog_1.aedat"):
        events, _ = aedat2.decode(files[name], name="")
        order = np.arange(300) if frames == "count" else np.array(sorted(range(300), key=lambda i: events.t[i]))
        last = events.t[order][-1] - events.t[order][0]
        expected = np.zeros((4, 128, 128, 2), np.uint8)
        for place, i in enumerate(order):
            since = int(events.t[i] - events.t[order][0])
            run = place // 75 if frames == "count" else min(since // (int(last) // 4), 3)
            expected[run, events.y[i], events.x[i], events.p[i]] += 1
        assert any(np.array_equal(expected, stored) for stored in source.train.frames)


def test_a_labelled_span_holds_its_events_where_timestamps_run_backwards(tmp_path, event_files, capsys):
    files = event_files.gesture()
    name = "DvsGesture/user24_led.aedat"
    files[name] = shift(files[name], 2000, 5000, "<i")
    events, _ = aedat3.decode(files[name], name="")
    event_files.folder(tmp_path / "manual", files)
    source = open_one("dvs128_gesture", tmp_path)
    out = capsys.readouterr().out
    assert f"dvs128_gesture: timestamps run backwards, 1 in all: {tmp_path}/manual/{name} (1)\n" in out
    assert "1 backward timestamps" in out
    for label in range(11):
        chosen = [i for i in range(3000) if 1000 * (label + 1) <= events.t[i] < 1000 * (label + 1) + 900]
        frames, _ = to_frames(select(events, np.array(chosen)), timesteps=4, by="count", **SIZE)
        (stored,) = source.test.frames[source.test.labels == label]
        np.testing.assert_array_equal(stored, frames)


def test_the_byte_order_mark_of_a_label_file_is_no_part_of_its_first_span(tmp_path, event_files):
    files = event_files.gesture()
    for name in [name for name in files if name.endswith(".csv")]:
        files[name] = b"\xef\xbb\xbf" + files[name].partition(b"\n")[2]
    event_files.folder(tmp_path / "manual", files)
    source = open_one("dvs128_gesture", tmp_path)
    assert (source.train_examples, source.test_examples) == (22, 11)
    assert sorted(source.test.labels) == list(range(11))
