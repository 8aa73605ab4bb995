"""AEDAT 3.1, the format of cAER, in which DVS128 Gesture is published, and its label files.

Header lines from `#!AER-DAT3.1` to `#!END-HEADER`, then packets of events of one type, all little-endian
(https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-3.1.html). A packet begins with 28
bytes, `eventCapacity` events of `eventSize` bytes follow, of which the first `eventNumber` are used:

    int16 eventType, eventSource
    int32 eventSize, eventTSOffset, eventTSOverflow, eventCapacity, eventNumber, eventValid

A polarity event, type 1, has 8 bytes: uint32 data (bit 0 valid, bit 1 polarity, bits 2 to 16 y, bits 17 to 31 x) and
int32 timestamp, to which `eventTSOverflow * 2^31` is added; in microseconds.
"""

import itertools
import struct
from typing import NamedTuple

import numpy as np

from stata_jax.data.events import Events, count_backward
from stata_jax.data.readers import aedat4

GESTURES = 11
_VERSION, _END = b"#!AER-DAT3.1\r\n", b"#!END-HEADER\r\n"
_PACKET = struct.Struct("<HHiiiiii")
_EVENT = np.dtype([("data", "<u4"), ("time", "<i4")])
_POLARITY = 1


def decode(data: bytes, *, name: str, size: int = 128) -> tuple[Events, dict[str, int]]:
    """Reads a recording; packets of other types, and events marked invalid, are passed over, as in libcaer.

    Args:
      data: the whole file.
      name: of the file, for error messages.
      size: height and width of the sensor in pixels.

    Returns:
      The events, with x, y and polarity as they are stored, and how many of what was passed over: `special_events`
      (of other types), `invalid_events`; and `backward_timestamps`, which are counted and stay where they are.

    Raises:
      ValueError: another format, a packet that is cut off or contradicts itself, no event, an address outside the
        sensor, or time that runs backwards, see `stata_jax.data.events.count_backward`.
    """
    parts, other = _read_packets(data, _header_end(data, name=name), name=name)
    packed = np.concatenate([part["data"] for part, _ in parts]) if parts else np.zeros(0, np.uint32)
    times = [part["time"].astype(np.int64) + (overflow << 31) for part, overflow in parts]
    valid = (packed & 1) == 1
    passed = {"special_events": other, "invalid_events": int((~valid).sum())}
    packed = packed[valid]
    if not packed.size:
        raise ValueError(f"{name} holds no event: the file is empty, fetch it again or remove it")

    time = np.concatenate(times)[valid]
    x, y = (packed >> 17).astype(np.int32), (packed >> 2 & 0x7FFF).astype(np.int32)
    outside = np.flatnonzero((x >= size) | (y >= size))
    if outside.size:
        first = outside[0]
        raise ValueError(
            f"{name} has {outside.size} addresses outside the {size}x{size} sensor, the first x {x[first]}, "
            f"y {y[first]} at event {first}: it is damaged or from another sensor"
        )
    passed["backward_timestamps"] = count_backward(time, name=name)
    return Events(time, x, y, (packed >> 1 & 1).astype(np.uint8)), passed


def _header_end(data: bytes, *, name: str) -> int:
    """The place of the first packet."""
    if data.startswith(aedat4.MAGIC):
        raise ValueError(aedat4.refusal(name, writer="aedat3"))
    if not data.startswith(b"#!AER-DAT3"):
        raise ValueError(f"{name} does not begin with '#!AER-DAT3.1': it is no AEDAT 3.1 file")
    end = data.find(_END)
    if end < 0:
        raise ValueError(f"{name} has no line '#!END-HEADER': the file is cut off, fetch it again")
    return end + len(_END)


def _read_packets(data: bytes, start: int, *, name: str) -> tuple[list[tuple[np.ndarray, int]], int]:
    """Polarity events of each packet with its overflow count, and the number of events of other types."""
    parts, other = [], 0
    while start < len(data):
        body = start + _PACKET.size
        if body > len(data):
            raise ValueError(f"{name} ends within the head of a packet at byte {start}: the file is cut off")
        kind, _, size, _, overflow, capacity, number, _ = _PACKET.unpack_from(data, start)
        if size < 1 or not 0 <= number <= capacity or overflow < 0 or (kind == _POLARITY and size != _EVENT.itemsize):
            raise ValueError(
                f"{name} has an impossible packet at byte {start} (type {kind}, {number} of {capacity} events of "
                f"{size} bytes): the file is damaged, fetch it again"
            )
        end = body + capacity * size
        if end > len(data):
            raise ValueError(
                f"{name} ends within a packet: byte {start} announces {capacity} events of {size} bytes, "
                f"{len(data) - body} bytes are left; the file is cut off, fetch it again"
            )
        if kind == _POLARITY:
            parts.append((np.frombuffer(data, _EVENT, count=number, offset=body), overflow))
        else:
            other += number
        start = end
    return parts, other


def encode(events: Events, *, packet: int = 4096) -> bytes:
    """Writes a recording that `decode` reads back unchanged.

    Args:
      events: events with x and y below 2^15, in the order of time.
      packet: events in a packet; one ends early where the timestamp overflows 2^31 microseconds.

    Returns:
      The whole file.
    """
    x, y, p = (field.astype(np.int64) for field in events[1:])
    records = np.empty(events.t.size, _EVENT)
    records["data"] = x << 17 | y << 2 | p << 1 | 1
    records["time"] = events.t & 0x7FFFFFFF
    overflow = events.t.astype(np.int64) >> 31
    turns = np.flatnonzero(np.diff(overflow)) + 1
    cuts = sorted({*range(0, events.t.size, packet), *turns.tolist(), events.t.size})
    written = [_VERSION, b"#Format: RAW\r\n#Source 1: DVS128\r\n", _END]
    for begin, end in itertools.pairwise(cuts):
        number = end - begin
        written.append(_PACKET.pack(_POLARITY, 1, _EVENT.itemsize, 4, int(overflow[begin]), number, number, number))
        written.append(records[begin:end].tobytes())
    return b"".join(written)


class Span(NamedTuple):
    """A labelled part of a recording: events of `start <= t < end` microseconds show gesture `label`, from 0."""

    label: int
    start: int
    end: int


def parse_labels(text: str, *, name: str) -> list[Span]:
    """Reads a label file: a heading, then lines `class,startTime_usec,endTime_usec` with classes from 1 to 11.

    The heading may be missing. It has no digit, so that a first line with one is a span, or an error.

    Args:
      text: the whole file.
      name: of the file, for error messages.

    Raises:
      ValueError: no line, a line of another form, a class that does not exist, or an end that is not after its start.
    """
    spans = []
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if lines and not any(map(str.isdigit, lines[0][1])):
        del lines[0]
    for number, line in lines:
        try:
            label, start, end = (int(word) for word in line.split(","))
        except ValueError:
            raise ValueError(f"{name}, line {number}: {line!r} is not class,startTime_usec,endTime_usec") from None
        if not 1 <= label <= GESTURES:
            raise ValueError(f"{name}, line {number}: class {label} is not from 1 to {GESTURES}")
        if end <= start:
            raise ValueError(f"{name}, line {number}: the end {end} is not after the start {start}")
        spans.append(Span(label - 1, start, end))
    if not spans:
        raise ValueError(f"{name} labels nothing: fetch it again or take its recording off the list of trials")
    return spans
