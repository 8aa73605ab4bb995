"""The recordings of N-MNIST, against bytes written by hand and a loop over records."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stata_jax.data.events import Events
from stata_jax.data.readers.nmnist import decode, encode


def record(x: int, y: int, p: int, t: int) -> bytes:
    return bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255])


MARKER = record(0, 240, 0, 0)


def test_bytes_written_by_hand():
    data = bytes([3, 30, 0x80, 0x01, 0x02, 33, 0, 0x01, 0x00, 0x00, 0, 33, 0xFF, 0xFF, 0xFF])
    events, passed = decode(data, name="7/00015.bin")
    np.testing.assert_array_equal(events.x, [3, 33, 0])
    np.testing.assert_array_equal(events.y, [30, 0, 33])
    np.testing.assert_array_equal(events.p, [1, 0, 1])
    np.testing.assert_array_equal(events.t, [258, 65536, 8388607])
    assert passed == {"cut_records": 0, "backward_timestamps": 0}


def test_a_marker_adds_the_range_of_the_clock_to_what_follows_and_is_no_event():
    data = record(1, 2, 0, 8190) + MARKER + record(3, 4, 1, 5) + record(5, 6, 0, 8000) + MARKER + record(7, 8, 1, 1)
    events, passed = decode(data, name="7/00015.bin")
    np.testing.assert_array_equal(events.t, [8190, 8192 + 5, 8192 + 8000, 16384 + 1])
    np.testing.assert_array_equal(events.x, [1, 3, 5, 7])
    np.testing.assert_array_equal(events.y, [2, 4, 6, 8])
    np.testing.assert_array_equal(events.p, [0, 1, 0, 1])
    assert passed["backward_timestamps"] == 0


rows = st.tuples(st.integers(0, 33), st.sampled_from([*range(34), 240]), st.integers(0, 1), st.integers(-2, 9))


@given(st.lists(rows, min_size=1, max_size=60), st.integers(0, 4))
def test_any_bytes_equal_a_loop_over_records(rows, cut):
    data, t = b"", 1000
    for x, y, p, step in rows:
        t += step
        data += record(x, y, p, t)
    expected, added = [], 0
    for place in range(0, len(data), 5):
        x, y, high, middle, low = data[place : place + 5]
        if y == 240:
            added += 8192
        else:
            expected.append((((high & 127) * 256 + middle) * 256 + low + added, x, y, high // 128))
    times = [row[0] for row in expected]
    back = sum(after < before for before, after in itertools.pairwise(times))
    forth = sum(after > before for before, after in itertools.pairwise(times))
    if not expected or back > forth:
        with pytest.raises(ValueError, match=r"^7/00015\.bin (holds no event|has timestamps that run backwards)"):
            decode(data + bytes(cut), name="7/00015.bin")
        return
    events, passed = decode(data + bytes(cut), name="7/00015.bin")
    for field, values in zip(events, zip(*expected, strict=True), strict=True):
        np.testing.assert_array_equal(field, values)
    assert passed == {"cut_records": int(cut > 0), "backward_timestamps": back}


@given(st.integers(1, 100), st.integers(0, 2**16))
def test_what_is_written_is_read_back(count, seed):
    random = np.random.RandomState(seed)
    events = Events(
        t=np.sort(random.randint(0, 2**23, count)).astype(np.int64),
        x=random.randint(0, 34, count).astype(np.int32),
        y=random.randint(0, 34, count).astype(np.int32),
        p=random.randint(0, 2, count).astype(np.uint8),
    )
    decoded, _ = decode(encode(events), name="a.bin")
    for field, expected in zip(decoded, events, strict=True):
        assert field.dtype == expected.dtype
        np.testing.assert_array_equal(field, expected)


@pytest.mark.parametrize("change", [{"x": [256]}, {"y": [240]}, {"t": [2**23]}, {"t": [-1]}])
def test_an_event_without_bits_for_it_is_refused(change):
    (name,) = change
    fields = {"t": [0], "x": [0], "y": [0], "p": [0]} | change
    with pytest.raises(ValueError, match=f"^{name} must be from 0 to"):
        encode(Events(**{key: np.array(value) for key, value in fields.items()}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no event"),
        (b"\1\2\3\4", "holds no event"),
        (MARKER, "holds no event"),
        (
            record(0, 0, 0, 5) + record(34, 1, 0, 6),
            "1 addresses outside the 34x34 sensor, the first x 34, y 1",
        ),
        (record(0, 239, 0, 5), "1 addresses outside the 34x34 sensor"),
        (record(0, 0, 0, 9) + record(0, 0, 0, 8), "run backwards in 1 of the 1 places"),
        (b"#!AER-DAT2.0\r\n", "is an AEDAT file: it does not belong"),
        (b"#!AER-DAT4.0\r\n", r"is an AEDAT 4 file, .* stata_jax\.data\.nmnist\.encode writes them"),
    ],
)
def test_damage_names_the_file(data, message):
    with pytest.raises(ValueError, match=r"^7/00015\.bin .*" + message):
        decode(data, name="7/00015.bin")
