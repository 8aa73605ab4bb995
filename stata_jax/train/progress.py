"""The one line of progress that a run shows in a terminal, and its plainer form in a log file."""

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

TERMINAL_INTERVAL = 0.25  # seconds between two rewrites of the line in a terminal
FILE_INTERVAL = 10.0  # seconds between two lines in a log file or a pipe
_MEMORY = 0.98  # weight of a step's time after one more step: about the last 50 steps count


class Progress:
    """Shows step, epoch, loss, accuracy, speed and the time left.

    In a terminal one line is rewritten in place. Elsewhere whole lines are printed, seldom. The last update, at
    `total_steps` or before `close`, is always shown.

    The time left is `(total_steps - step) * s`, with `s` the mean time of a step, over the steps of this process,
    where a step's weight falls by 2 % with each step after it. The time up to the first update is left out: it holds
    the compilation.

    Args:
      total_steps: Steps of the whole run.
      start_step: Steps done before this process; 0 for a fresh run.
      stream: Where to print; standard error unless given.
      interval: Least seconds between two prints; 0.25 in a terminal and 10 elsewhere unless given.
      clock: Seconds from any origin, never falling.

    Raises:
      ValueError: If not `0 <= start_step <= total_steps`, or if `interval` is negative.
    """

    def __init__(
        self,
        total_steps: int,
        *,
        start_step: int,
        stream: TextIO | None = None,
        interval: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 <= start_step <= total_steps:
            raise ValueError(f"start_step must be from 0 to total_steps = {total_steps}, got {start_step}")
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        if interval is None:
            interval = TERMINAL_INTERVAL if self._terminal else FILE_INTERVAL
        if interval < 0:
            raise ValueError(f"interval must not be negative, got {interval}")
        self._interval = interval
        self._clock = clock
        self._total = total_steps
        self._step = start_step
        self._last_time: float | None = None  # of the latest update
        self._seconds = 0.0  # weighted sum of step times
        self._weight = 0.0  # sum of the weights
        self._line = ""  # of the latest update
        self._shown = ""  # of the latest print
        self._shown_time: float | None = None
        self._width = 0  # characters that stand on the terminal's current line

    def update(self, step: int, *, epoch: int, loss: float, accuracy: float, images_per_second: float) -> None:
        """Takes the state after `step` and prints it if it is time to.

        Args:
          step: Steps done so far, over all processes of the run.
          epoch: Epoch, counted as the caller likes to show it.
          loss: Training loss.
          accuracy: Training accuracy as a share, from 0 to 1.
          images_per_second: Training images per second.

        Raises:
          ValueError: If `step` is below that of the update before (or the start), or above the total.
        """
        if not self._step <= step <= self._total:
            raise ValueError(f"step must be from {self._step}, the step before, to {self._total}, got {step}")
        now = self._clock()
        self._measure(step, now)
        self._line = (
            f"step {step}/{self._total} {_percent(step, self._total)}%  epoch {epoch}  loss {loss:.4g}  "
            f"acc {100 * accuracy:.1f}%  {images_per_second:.{0 if images_per_second >= 10 else 1}f} img/s  "
            f"left {self._time_left()}"
        )
        due = self._shown_time is None or now - self._shown_time >= self._interval
        if due or step == self._total:
            self._show(now)

    def note(self, text: str) -> None:
        """Prints `text` as lines of its own; in a terminal the progress line moves below them."""
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
        self._stream.write(text + "\n")
        if self._width:
            self._rewrite(self._shown, 0)
        self._stream.flush()

    def close(self) -> None:
        """Shows the latest update if it was held back, and ends the line. Closing twice is harmless."""
        if self._line != self._shown:
            self._show(self._clock())
        if self._width:
            self._stream.write("\n")
            self._stream.flush()
            self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _measure(self, step: int, now: float) -> None:
        """Adds the steps since the update before to the mean step time."""
        steps = step - self._step
        if self._last_time is not None and steps:
            old = _MEMORY**steps
            self._seconds = old * self._seconds + (1 - old) * (now - self._last_time) / steps
            self._weight = old * self._weight + (1 - old)
        if self._last_time is None or steps:
            self._last_time = now
        self._step = step

    def _time_left(self) -> str:
        if self._step == self._total:
            return format_time(0.0)
        if not self._weight:
            return "?"
        return format_time((self._total - self._step) * self._seconds / self._weight)

    def _show(self, now: float) -> None:
        self._shown, self._shown_time = self._line, now
        if self._terminal:
            self._rewrite(self._line, self._width)
        else:
            self._stream.write(self._line + "\n")
        self._stream.flush()

    def _rewrite(self, line: str, covered: int) -> None:
        """Writes over the current line of the terminal, of which `covered` characters are in use."""
        line = line[: _columns(self._stream) - 1]  # a line that wraps could not be rewritten
        self._stream.write("\r" + line.ljust(covered))
        self._width = max(len(line), covered)


def format_time(seconds: float) -> str:
    """Seconds as `m:ss`, or as `h:mm:ss` from an hour on, rounded to a whole second."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _percent(step: int, total: int) -> int:
    """Share done, rounded down, so that 100 means done."""
    return 100 * step // total if total else 100


def _columns(stream: TextIO) -> int:
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # a stream that only plays a terminal
        columns = 0
    return columns or 80  # some pseudo-terminals say 0
