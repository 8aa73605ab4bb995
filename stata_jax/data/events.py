"""Events of a dynamic vision sensor, and the frames that they are counted into.

A recording of `E` events becomes `T` frames: its events, in their order, are cut into `T` runs, and frame `i` counts
the events of run `i` by pixel and polarity. The two ways to cut are those of SpikingJelly (Fang et al., 2023,
doi:10.1126/sciadv.adi1480), which the published event models were trained with.
"""

from typing import NamedTuple

import numpy as np

from stata_jax.registries import FRAMES

MOST = 255  # the largest count that a frame holds


class Events(NamedTuple):
    """Events in the order in which a camera wrote them: that of their time, but for `count_backward`.

    Attributes:
      t: `(E,)` int64, microseconds.
      x: `(E,)` int32, column, from the left.
      y: `(E,)` int32, row, from the top.
      p: `(E,)` uint8, polarity, the channel of a frame that the event is counted in.
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray


def runs_by_count(count: int, timesteps: int) -> np.ndarray:
    """Cuts `E` events into `T` runs of equal number.

    Run `i` holds events `i * (E // T)` to `(i + 1) * (E // T) - 1`; the last one holds what is left over as well.

    Args:
      count: `E`, at least `T`.
      timesteps: `T`.

    Returns:
      `(T + 1,)` int64: run `i` is `events[runs[i]:runs[i + 1]]`.
    """
    runs = np.arange(timesteps + 1, dtype=np.int64) * (count // timesteps)
    runs[-1] = count
    return runs


def runs_by_duration(t: np.ndarray, timesteps: int) -> np.ndarray:
    """Cuts events into `T` runs of equal time.

    With `dt = (t[-1] - t[0]) // T`, whole microseconds, run `i` holds the events of
    `t[0] + i * dt <= t < t[0] + (i + 1) * dt`; the last one holds everything from `t[0] + (T - 1) * dt` on, so that the
    up to `T` microseconds lost in the division are its own. A run may be empty.

    Args:
      t: `(E,)` integer timestamps that never decrease, at least one.
      timesteps: `T`.

    Returns:
      `(T + 1,)` int64: run `i` is `events[runs[i]:runs[i + 1]]`.
    """
    t = t.astype(np.int64)
    starts = t[0] + np.arange(timesteps) * ((t[-1] - t[0]) // timesteps)
    return np.append(np.searchsorted(t, starts, side="left"), t.size).astype(np.int64)


def to_frames(events: Events, *, timesteps: int, by: str, height: int, width: int, name: str) -> tuple[np.ndarray, int]:
    """Counts events into frames: `frames[i, y, x, p]` is the number of events `(x, y, p)` in run `i`.

    By count, the order is that of the file. By duration, events are sorted by their time first, those of equal time in
    the order of the file.

    Args:
      events: `E` events.
      timesteps: `T`, the number of frames.
      by: `count` (`runs_by_count`) or `duration` (`runs_by_duration`).
      height: rows of a frame in pixels.
      width: columns of a frame in pixels.
      name: of the recording, for error messages.

    Returns:
      `(T, H, W, 2)` uint8, in which a count above 255 is 255, and how many counts were cut down so.

    Raises:
      ValueError: an unknown `by`; fewer events than frames; an event outside the frame; or, by duration, a time that is
        shorter than one microsecond a frame.
    """
    if by not in FRAMES:
        raise ValueError(f"data.frames must be one of {', '.join(FRAMES)}, got {by!r}")
    if timesteps < 1:
        raise ValueError(f"timesteps must be at least 1, got {timesteps}: a recording becomes that many frames")
    count = events.t.size
    if count < timesteps:
        raise ValueError(f"{name} has {count} events, too few for {timesteps} frames: remove it or lower the timesteps")
    if events.x.min() < 0 or events.x.max() >= width or events.y.min() < 0 or events.y.max() >= height:
        raise ValueError(
            f"{name} has an event outside the {height}x{width} frame (rows {events.y.min()} to {events.y.max()}, "
            f"columns {events.x.min()} to {events.x.max()}): it is damaged or from another sensor"
        )
    if by == "count":
        runs = runs_by_count(count, timesteps)
    else:
        events = select(events, np.argsort(events.t, kind="stable"))
        lasts = events.t[-1] - events.t[0]
        if lasts < timesteps:
            raise ValueError(
                f"{name} lasts {lasts} microseconds, too short for {timesteps} frames of equal duration: cut by count"
            )
        runs = runs_by_duration(events.t, timesteps)

    run = np.repeat(np.arange(timesteps), np.diff(runs))
    cell = ((run * height + events.y) * width + events.x) * 2 + events.p
    counts = np.bincount(cell, minlength=timesteps * height * width * 2)
    frames = np.minimum(counts, MOST).astype(np.uint8).reshape(timesteps, height, width, 2)
    return frames, int(np.count_nonzero(counts > MOST))


def count_backward(t: np.ndarray, *, name: str) -> int:
    """Counts the timestamps that are earlier than the one before them; cameras write some.

    Args:
      t: `(E,)` timestamps in microseconds, in the order of the file.
      name: of the recording, for the message.

    Raises:
      ValueError: time runs backwards as a whole: of all steps between two events that change the time, more than half
        go back.
    """
    steps = np.diff(t)
    back, forth = int((steps < 0).sum()), int((steps > 0).sum())
    if back > forth:
        first = int(np.flatnonzero(steps < 0)[0])
        raise ValueError(
            f"{name} has timestamps that run backwards in {back} of the {back + forth} places where they change, first "
            f"from {t[first]} to {t[first + 1]} microseconds at event {first + 1}, and more than half is too many: the "
            "recording is damaged, fetch it again or remove it"
        )
    return back


def select(events: Events, chosen: np.ndarray | slice) -> Events:
    """The events that a mask, indices or a slice chooses."""
    return Events(*(field[chosen] for field in events))
