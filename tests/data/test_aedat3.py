"""AEDAT 3.1 and its label files, against bytes written by hand."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stata_jax.data.events import Events, to_frames
from stata_jax.data.readers.aedat3 import Span, decode, encode, parse_labels

HEADER = (
    b"#!AER-DAT3.1\r\n"
    b"#Format: RAW\r\n"
    b"#Source 1: DVS128\r\n"
    b"#Start-Time: 2016-11-03 14:08:26 (TZ+0100)\r\n"
    b"#!END-HEADER\r\n"
)


def event(x: int, y: int, p: int, t: int, *, valid: int = 1) -> bytes:
    return struct.pack("<Ii", x << 17 | y << 2 | p << 1 | valid, t)


def packet(*events: bytes, kind: int = 1, overflow: int = 0, capacity: int | None = None, size: int = 8) -> bytes:
    number = len(events)
    head = struct.pack(
        "<HHiiiiii", kind, 1, size, 4, overflow, number if capacity is None else capacity, number, number
    )
    return head + b"".join(events)


CHECKSUMS = {"bytes": 3882221758, "count": 1264274115, "duration": 3463737769}  # of frames counted in a loop


def test_a_recording_written_by_hand_gives_these_frames():
    """The bytes and the checksum of the frames are fixed: neither may ever change."""
    state, events = 1, []
    for i in range(1000):
        state = state * 1103515245 + 12345 & 0x7FFFFFFF  # a generator that anyone can write down again
        events.append((state >> 16 & 127, state >> 9 & 127, state >> 23 & 1, 5_000_000 + 37 * i + (state >> 24 & 15)))
    whole = [event(*e) for e in events]
    data = HEADER + b"".join(packet(*whole[i : i + 96]) for i in range(0, 1000, 96))
    assert zlib.crc32(data) == CHECKSUMS["bytes"]

    decoded, passed = decode(data, name="a.aedat")
    assert passed == {"special_events": 0, "invalid_events": 0, "backward_timestamps": 0}
    for axis, values in zip("xypt", zip(*events, strict=True), strict=True):
        np.testing.assert_array_equal(getattr(decoded, axis), values)
    for by in ("count", "duration"):
        frames, _ = to_frames(decoded, timesteps=16, by=by, height=128, width=128, name="a.aedat")
        assert frames.shape == (16, 128, 128, 2) and frames.sum() == 1000
        assert zlib.crc32(frames.tobytes()) == CHECKSUMS[by]


@given(st.integers(1, 300), st.integers(1, 100), st.integers(0, 2**16))
def test_what_is_written_is_read_back(count, size, seed):
    random = np.random.RandomState(seed)
    events = Events(
        t=np.sort(random.randint(0, 2**33, count, dtype=np.int64)),
        x=random.randint(0, 128, count).astype(np.int32),
        y=random.randint(0, 128, count).astype(np.int32),
        p=random.randint(0, 2, count).astype(np.uint8),
    )
    decoded, passed = decode(encode(events, packet=size), name="a.aedat")
    assert not any(passed.values())
    for field, expected in zip(decoded, events, strict=True):
        assert field.dtype == expected.dtype
        np.testing.assert_array_equal(field, expected)


def test_other_types_and_invalid_events_are_passed_over_and_counted():
    special = packet(b"12345678", b"12345678", kind=0)
    spare = packet(event(5, 6, 1, 20), capacity=3) + bytes(16)  # room for three, one used
    data = HEADER + special + packet(event(1, 2, 0, 10), event(3, 4, 1, 11, valid=0)) + spare
    events, passed = decode(data, name="a.aedat")
    np.testing.assert_array_equal(np.stack(events[:3]), [[10, 20], [1, 5], [2, 6]])
    assert passed == {"special_events": 2, "invalid_events": 1, "backward_timestamps": 0}


def test_backward_timestamps_are_counted_and_stay():
    data = HEADER + packet(*(event(t, 0, 0, t) for t in (10, 12, 11, 11, 15, 3, 20))) + packet(event(19, 0, 0, 19))
    events, passed = decode(data, name="a.aedat")
    np.testing.assert_array_equal(events.t, [10, 12, 11, 11, 15, 3, 20, 19])
    np.testing.assert_array_equal(events.x, events.t)
    assert passed["backward_timestamps"] == 3


def test_overflows_count_half_the_range():
    data = HEADER + packet(event(0, 0, 0, 2**31 - 1)) + packet(event(0, 0, 0, 4), overflow=1)
    events, _ = decode(data, name="a.aedat")
    np.testing.assert_array_equal(events.t, [2**31 - 1, 2**31 + 4])


PACKET = packet(event(1, 2, 0, 10), event(1, 2, 0, 11))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not begin with"),
        (b"#!AER-DAT2.0\r\n", "does not begin with"),
        (b"#!AER-DAT4.0\r\n", r"is an AEDAT 4 file, .* stata_jax\.data\.aedat3\.encode writes them"),
        (HEADER[:-3], "has no line '#!END-HEADER'"),
        (HEADER, "holds no event"),
        (HEADER + packet(b"12345678", kind=0), "holds no event"),
        (HEADER + PACKET[:-1], "ends within a packet: byte 105 announces 2 events of 8 bytes, 15 bytes are left"),
        (HEADER + PACKET + PACKET[:27], "ends within the head of a packet"),
        (HEADER + packet(event(0, 0, 0, 1), capacity=0), "impossible packet"),
        (HEADER + packet(event(0, 0, 0, 1), size=0), "impossible packet"),
        (
            HEADER + PACKET + packet(event(1, 2, 0, 10), event(1, 2, 0, 9)),
            "timestamps that run backwards in 2 of the 3 places where they change, first from 11 to 10 microseconds",
        ),
        (
            HEADER + packet(event(128, 2, 0, 10)),
            "1 addresses outside the 128x128 sensor, the first x 128, y 2 at event 0",
        ),
        (HEADER + packet(event(0, 128, 0, 10)), "1 addresses outside the 128x128 sensor"),
    ],
)
def test_damage_names_the_file(data, message):
    with pytest.raises(ValueError, match=r"user01_led\.aedat .*" + message):
        decode(data, name="user01_led.aedat")


def test_labels_are_numbered_from_zero():
    text = "class,startTime_usec,endTime_usec\n2,80048239,85092709\r\n11,1,2\n\n"
    assert parse_labels(text, name="a.csv") == [Span(1, 80048239, 85092709), Span(10, 1, 2)]


@pytest.mark.parametrize("heading", ["", "\n", "class,startTime_usec,endTime_usec\n", "\nclass\n"])
def test_labels_without_a_heading_lose_no_span(heading):
    text = heading + "2,10,20\n 11, 30, 40\n"
    assert parse_labels(text, name="a.csv") == [Span(1, 10, 20), Span(10, 30, 40)]


@pytest.mark.parametrize("first", ["2,10", "2;10;20", "\ufffd2,10,20", "class 2,10,20"])
def test_a_first_line_that_may_be_a_span_is_never_passed_over(first):
    with pytest.raises(ValueError, match=rf"a_labels\.csv, line 1: '{first}' is not class,startTime_usec"):
        parse_labels(f"{first}\n3,30,40\n", name="a_labels.csv")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "labels nothing"),
        ("0,1,2", "line 2: class 0 is not from 1 to 11"),
        ("3,1,2\n12,1,2", "line 3: class 12 is not from 1 to 11"),
        ("3,5,5", "line 2: the end 5 is not after the start 5"),
        ("3,5", "line 2: '3,5' is not class,startTime_usec,endTime_usec"),
        ("3,5,a", "line 2: '3,5,a' is not"),
    ],
)
def test_labels_that_make_no_sense_name_the_file(lines, message):
    with pytest.raises(ValueError, match=r"a_labels\.csv.* " + message):
        parse_labels("class,startTime_usec,endTime_usec\n" + lines, name="a_labels.csv")
