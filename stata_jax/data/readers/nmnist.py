"""The recordings of N-MNIST: five bytes an event, without a header.

The form in which Orchard et al. (2015, doi:10.3389/fnins.2015.00437) publish the digits that an ATIS camera saw in
three saccades, for a sensor of 34x34 pixels:

    byte   0   1   2: bit 7   2: bits 6..0, 3, 4
           x   y   polarity   timestamp in microseconds, 23 bits, the highest byte first

A record with y 240 is no event: it says that the camera's clock of 13 bits started again, so that 2^13 microseconds are
added to all timestamps from there on, as the published readers do.
"""

import numpy as np

from stata_jax.data.events import Events, count_backward
from stata_jax.data.readers import aedat4

SENSOR = 34  # height and width in pixels
_BYTES = 5  # of a record
_MARKER = 240  # y of a record that says that the clock started again
_PERIOD = 1 << 13  # microseconds that it adds


def decode(data: bytes, *, name: str, size: int = SENSOR) -> tuple[Events, dict[str, int]]:
    """Reads a recording.

    Args:
      data: the whole file.
      name: of the file, for error messages.
      size: height and width of the sensor in pixels.

    Returns:
      The events, with polarity 1 where it became brighter, and how many of what was passed over: `cut_records`, half a
      record at the end of the file; and `backward_timestamps`, which are counted and stay where they are.

    Raises:
      ValueError: another format, no event, an address outside the sensor, or time that runs backwards, see
        `stata_jax.data.events.count_backward`.
    """
    if data.startswith(aedat4.MAGIC):
        raise ValueError(aedat4.refusal(name, writer="nmnist"))
    if data.startswith(b"#!AER-DAT"):
        raise ValueError(f"{name} is an AEDAT file: it does not belong in this data set")
    number = len(data) // _BYTES
    records = np.frombuffer(data, np.uint8, count=number * _BYTES).reshape(number, _BYTES).astype(np.int32)
    x, y, high, middle, low = records.T
    marker = y == _MARKER
    time = (high & 0x7F) << 16 | middle << 8 | low
    time = time.astype(np.int64) + _PERIOD * np.cumsum(marker)
    event = ~marker
    x, y, time = x[event], y[event], time[event]
    if not time.size:
        raise ValueError(f"{name} holds no event: the file is empty, fetch it again or remove it")

    outside = np.flatnonzero((x >= size) | (y >= size))
    if outside.size:
        first = outside[0]
        raise ValueError(
            f"{name} has {outside.size} addresses outside the {size}x{size} sensor, the first x {x[first]}, "
            f"y {y[first]} at event {first}: it is damaged or from another sensor"
        )
    passed = {"cut_records": int(len(data) % _BYTES > 0), "backward_timestamps": count_backward(time, name=name)}
    return Events(time, x, y, (high[event] >> 7).astype(np.uint8)), passed


def encode(events: Events) -> bytes:
    """Writes a recording that `decode` reads back unchanged, without markers.

    Args:
      events: events with x below 256 and y below 240, and times of 23 bits.

    Returns:
      The whole file.

    Raises:
      ValueError: an event that the record has no bits for.
    """
    for what, values, most in (("x", events.x, 255), ("y", events.y, _MARKER - 1), ("t", events.t, (1 << 23) - 1)):
        if values.size and not 0 <= values.min() <= values.max() <= most:
            raise ValueError(f"{what} must be from 0 to {most}, got {values.min()} to {values.max()}")
    records = np.empty((events.t.size, _BYTES), np.uint8)
    records[:, 0], records[:, 1] = events.x, events.y
    records[:, 2] = events.p.astype(np.int64) << 7 | events.t >> 16
    records[:, 3], records[:, 4] = events.t >> 8 & 0xFF, events.t & 0xFF
    return records.tobytes()
