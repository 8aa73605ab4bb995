"""AEDAT 2.0, the format of jAER, in which CIFAR10-DVS is published.

Header lines that begin with `#`, the first of them `#!AER-DAT2.0`, then one record of 8 bytes an event: address and
timestamp, both big-endian uint32, the timestamp in microseconds
(https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html). The address of a DVS128:

    bit    31..16  15                     14..8     7..1      0
           0       1: not a pixel event   y'        x'        p'

A picture is upright, as published loaders of CIFAR10-DVS (SpikingJelly, after events-tfds) turn it, with
`x = size - 1 - y'`, `y = size - 1 - x'` and `p = 1 - p'`: the chip's rows are the picture's columns.
"""

import numpy as np

from stata_jax.data.events import Events, count_backward
from stata_jax.data.readers import aedat4

_HEADER = b"#!AER-DAT2.0\r\n# Data format is int32 address, int32 timestamp (8 bytes total)\r\n"
_RECORD = np.dtype([("address", ">u4"), ("time", ">u4")])
_EXTERNAL = 0x8000  # jAER gives such an event no pixel, and its filters drop it
_SENSOR = 128  # pixels that the address has bits for, in rows and in columns


def decode(data: bytes, *, name: str, size: int = _SENSOR) -> tuple[Events, dict[str, int]]:
    """Reads a recording.

    What jAER passes over is passed over and counted: half a record at the end of the file, and events that belong to
    no pixel. A timestamp that wraps around 2^32 microseconds goes on counting, as there. Timestamps that run backwards
    are counted, and stay where they are.

    Args:
      data: the whole file.
      name: of the file, for error messages.
      size: height and width of the sensor in pixels, at most 128.

    Returns:
      The events, and how many of what was passed over: `cut_records`, `special_events`; and
      `backward_timestamps`.

    Raises:
      ValueError: another format, no event, an address outside the sensor, or time that runs backwards, see
        `stata_jax.data.events.count_backward`.
    """
    start = _header_end(data, name=name)
    records = np.frombuffer(data, _RECORD, count=(len(data) - start) // _RECORD.itemsize, offset=start)
    address, time = records["address"].astype(np.int64), records["time"].astype(np.int64)

    pixel = (address & _EXTERNAL) == 0
    passed = {"cut_records": int((len(data) - start) % _RECORD.itemsize > 0), "special_events": int((~pixel).sum())}
    address, time = address[pixel], time[pixel]
    if not address.size:
        raise ValueError(f"{name} holds no event: the file is empty, fetch it again or remove it")

    column, row = address >> 1 & 0x7F, address >> 8 & 0x7F
    outside = np.flatnonzero((address >> 16 > 0) | (column >= size) | (row >= size))
    if outside.size:
        first = outside[0]
        raise ValueError(
            f"{name} has {outside.size} addresses outside the {size}x{size} sensor, the first 0x{address[first]:x} "
            f"at event {first}: it is damaged or from another sensor"
        )
    time = unwrap(time)
    passed["backward_timestamps"] = count_backward(time, name=name)
    return (
        Events(
            t=time,
            x=(size - 1 - row).astype(np.int32),
            y=(size - 1 - column).astype(np.int32),
            p=(1 - (address & 1)).astype(np.uint8),
        ),
        passed,
    )


def unwrap(time: np.ndarray, bits: int = 32) -> np.ndarray:
    """Goes on counting where a timestamp of `bits` bits starts again: at a step back by more than half its range.

    A step forward by more than half the range undoes that: of an event that was written late, just after the others
    have started again, or of the next one after a timestamp that is wrong altogether.
    """
    period = 1 << bits
    steps = np.diff(time, prepend=time[:1])
    return time + period * np.cumsum((steps < -(period // 2)).astype(np.int64) - (steps > period // 2))


def _header_end(data: bytes, *, name: str) -> int:
    """The place of the first record."""
    if data.startswith(aedat4.MAGIC):
        raise ValueError(aedat4.refusal(name, writer="aedat2"))
    if data.startswith(b"#!AER-DAT") and not data.startswith(b"#!AER-DAT2"):
        version = data[9:12].decode("ascii", "replace")
        raise ValueError(f"{name} is AEDAT {version}, not AEDAT 2: it does not belong in this data set")
    start = 0
    while data[start : start + 1] == b"#":  # no address of a DVS128 begins with this byte
        end = data.find(b"\n", start)
        if end < 0:
            raise ValueError(f"{name} ends within its header: the file is cut off, fetch it again")
        start = end + 1
    return start


def encode(events: Events, *, size: int = _SENSOR) -> bytes:
    """Writes a recording that `decode` reads back unchanged.

    Args:
      events: events on the sensor; times are kept modulo 2^32 microseconds.
      size: height and width of the sensor in pixels, at most 128.

    Returns:
      The whole file.

    Raises:
      ValueError: an event outside the sensor, or a sensor that the address has no bits for.
    """
    if not 1 <= size <= _SENSOR:
        raise ValueError(f"size must be from 1 to {_SENSOR}, the pixels that an address can name, got {size}")
    for axis in (events.x, events.y):
        if axis.size and not 0 <= axis.min() <= axis.max() < size:
            raise ValueError(f"events must lie on the {size}x{size} sensor, got {axis.min()} to {axis.max()}")
    column, row = size - 1 - events.y.astype(np.int64), size - 1 - events.x.astype(np.int64)
    records = np.empty(events.t.size, _RECORD)
    records["address"] = row << 8 | column << 1 | (1 - events.p.astype(np.int64))
    records["time"] = events.t.astype(np.int64) & 0xFFFFFFFF
    return _HEADER + records.tobytes()
