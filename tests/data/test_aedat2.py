"""AEDAT 2.0, against bytes written by hand."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stata_jax.data.events import Events, to_frames
from stata_jax.data.readers.aedat2 import decode, encode

HEADER = (
    b"#!AER-DAT2.0\r\n"
    b"# This is a raw AE data file - do not edit\r\n"
    b"# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event\r\n"
    b"# Timestamps tick is 1 us\r\n"
    b"# created Fri Feb 06 21:14:38 CST 2015\r\n"
)


def record(x: int, y: int, p: int, t: int) -> bytes:
    """One record as the chip sends it, of an event at `(x, y)` of the upright picture."""
    return struct.pack(">II", (127 - x) << 8 | (127 - y) << 1 | (1 - p), t)


CHECKSUMS = {"bytes": 535026163, "count": 1264274115, "duration": 3463737769}  # of frames counted in a loop


def test_a_recording_written_by_hand_gives_these_frames():
    """The bytes and the checksum of the frames are fixed: neither may ever change."""
    state, events = 1, []
    for i in range(1000):
        state = state * 1103515245 + 12345 & 0x7FFFFFFF  # a generator that anyone can write down again
        events.append((state >> 16 & 127, state >> 9 & 127, state >> 23 & 1, 5_000_000 + 37 * i + (state >> 24 & 15)))
    data = HEADER + b"".join(record(*event) for event in events)
    assert zlib.crc32(data) == CHECKSUMS["bytes"]

    decoded, passed = decode(data, name="a.aedat")
    assert passed == {"cut_records": 0, "special_events": 0, "backward_timestamps": 0}
    for axis, values in zip("xypt", zip(*events, strict=True), strict=True):
        np.testing.assert_array_equal(getattr(decoded, axis), values)
    for by in ("count", "duration"):
        frames, _ = to_frames(decoded, timesteps=16, by=by, height=128, width=128, name="a.aedat")
        assert frames.shape == (16, 128, 128, 2) and frames.sum() == 1000
        assert zlib.crc32(frames.tobytes()) == CHECKSUMS[by]


def test_the_chips_rows_are_the_pictures_columns():
    events, _ = decode(HEADER + struct.pack(">II", 3 << 8 | 10 << 1 | 1, 7), name="a.aedat")
    assert (events.x[0], events.y[0], events.p[0], events.t[0]) == (124, 117, 0, 7)
    small, _ = decode(struct.pack(">II", 3 << 8 | 10 << 1, 7), name="a.aedat", size=32)  # a file without a header
    assert (small.x[0], small.y[0], small.p[0]) == (28, 21, 1)


@given(st.integers(1, 200), st.sampled_from([1, 32, 128]), st.integers(0, 2**16))
def test_what_is_written_is_read_back(count, size, seed):
    random = np.random.RandomState(seed)
    events = Events(
        t=np.sort(random.randint(0, 2**32, count, dtype=np.int64)),
        x=random.randint(0, size, count).astype(np.int32),
        y=random.randint(0, size, count).astype(np.int32),
        p=random.randint(0, 2, count).astype(np.uint8),
    )
    # A step of more than half the range counts as one back over its end, so the times are drawn closer together.
    events = events._replace(t=events.t // 4)
    decoded, _ = decode(encode(events, size=size), name="a.aedat", size=size)
    for field, expected in zip(decoded, events, strict=True):
        assert field.dtype == expected.dtype
        np.testing.assert_array_equal(field, expected)


def test_what_jaer_passes_over_is_passed_over_and_counted():
    whole = record(1, 2, 0, 5) + struct.pack(">II", 0x8000, 6) + record(3, 4, 1, 7)
    for cut in range(1, 8):
        events, passed = decode(HEADER + whole + record(5, 6, 0, 8)[:cut], name="a.aedat")
        np.testing.assert_array_equal(events.t, [5, 7])
        assert passed == {"cut_records": 1, "special_events": 1, "backward_timestamps": 0}


def test_time_goes_on_where_its_32_bits_start_again():
    times = [2**32 - 3, 2**32 - 1, 1, 5]
    events, _ = decode(HEADER + b"".join(record(0, 0, 0, t) for t in times), name="a.aedat")
    np.testing.assert_array_equal(events.t, [2**32 - 3, 2**32 - 1, 2**32 + 1, 2**32 + 5])


@given(st.lists(st.integers(-3, 9), min_size=3, max_size=30), st.integers(0, 2**32 - 1))
def test_backward_timestamps_are_counted_and_stay(steps, start):
    times = start + np.concatenate([[0], np.cumsum(steps), np.cumsum(steps)[-1] + 1 + np.arange(len(steps))])
    data = HEADER + b"".join(record(0, 0, 0, int(t) % 2**32) for t in times)
    events, passed = decode(data, name="a.aedat")
    np.testing.assert_array_equal(events.t - events.t[0], times - times[0])
    assert passed["backward_timestamps"] == sum(step < 0 for step in steps)


def test_an_event_that_is_late_where_time_starts_again_stays_where_it_was():
    times = [2**32 - 9, 4, 2**32 - 1, 5]
    events, passed = decode(HEADER + b"".join(record(0, 0, 0, t) for t in times), name="a.aedat")
    np.testing.assert_array_equal(events.t, [2**32 - 9, 2**32 + 4, 2**32 - 1, 2**32 + 5])
    assert passed["backward_timestamps"] == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no event"),
        (HEADER, "holds no event"),
        (HEADER + b"1234567", "holds no event"),
        (HEADER + struct.pack(">II", 0x8000, 6), "holds no event"),
        (HEADER[:20], "ends within its header"),
        (HEADER.replace(b"2.0", b"3.1"), "is AEDAT 3.1, not AEDAT 2"),
        (HEADER.replace(b"2.0", b"4.0"), r"is an AEDAT 4 file, .* stata_jax\.data\.aedat2\.encode writes them"),
        (
            HEADER + record(0, 0, 0, 9) + record(0, 0, 0, 8),
            "timestamps that run backwards in 1 of the 1 places where they change, first from 9 to 8 microseconds at",
        ),
        (
            HEADER + struct.pack(">II", 0x10000, 6),
            "1 addresses outside the 128x128 sensor, the first 0x10000 at event 0",
        ),
    ],
)
def test_damage_names_the_file(data, message):
    with pytest.raises(ValueError, match=r"bird/a\.aedat .*" + message):
        decode(data, name="bird/a.aedat")


def test_a_pixel_outside_a_smaller_sensor_is_an_error_both_ways():
    with pytest.raises(ValueError, match=r"a\.aedat has 1 addresses outside the 32x32 sensor"):
        decode(HEADER + struct.pack(">II", 32 << 8, 6), name="a.aedat", size=32)
    one = np.array([32], np.int32)
    with pytest.raises(ValueError, match="must lie on the 32x32 sensor, got 32 to 32"):
        encode(Events(one.astype(np.int64), one, one, one.astype(np.uint8)), size=32)
    with pytest.raises(ValueError, match="size must be from 1 to 128"):
        encode(Events(one.astype(np.int64), one, one, one.astype(np.uint8)), size=129)
