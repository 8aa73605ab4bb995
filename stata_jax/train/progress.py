"""The one line of progress that a run shows: tqdm's in a terminal, and whole lines, seldom, in a log file."""

import os
import sys
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm

TERMINAL_INTERVAL = 0.25  # seconds between two rewrites of the line in a terminal
FILE_INTERVAL = 10.0  # seconds between two lines in a log file or a pipe
_BAR = "step {n}/{total} {percentage:.0f}%|{bar:10}|{postfix}, {remaining} left"


class Progress:
    """Shows step, epoch, loss, accuracy, speed and the time left, and notes above the line.

    The last update, at `total_steps` or before `close`, is always shown. The time left counts from the first update on,
    so that it leaves out the compilation.

    Args:
      total_steps: Steps of the whole run.
      stream: Where to print; standard error unless given.
      interval: Least seconds between two prints; 0.25 in a terminal and 10 elsewhere unless given.
    """

    def __init__(self, total_steps: int, *, stream: TextIO | None = None, interval: float | None = None) -> None:
        self._total = total_steps
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        usual = TERMINAL_INTERVAL if self._terminal else FILE_INTERVAL
        self._interval = usual if interval is None else interval
        self._line: _Line | None = None  # from the first update on

    def update(self, step: int, *, epoch: int, loss: float, accuracy: float, images_per_second: float) -> None:
        """Takes the state after `step` and prints it if it is time to.

        Args:
          step: Steps done so far, over all processes of the run.
          epoch: Epoch, counted as the caller likes to show it.
          loss: Training loss.
          accuracy: Training accuracy as a share, from 0 to 1.
          images_per_second: Training images per second.
        """
        speed = f"{images_per_second:.{0 if images_per_second >= 10 else 1}f}"
        state = f"epoch {epoch}, loss {loss:.4g}, acc {100 * accuracy:.1f}%, {speed} img/s"
        if self._line is None:
            self._line = _Line(
                initial=step,
                total=self._total,
                file=self._stream if self._terminal else _WholeLines(self._stream),
                postfix=state,
                bar_format=_BAR if self._terminal else _BAR.replace("|{bar:10}|", ""),
                dynamic_ncols=_has_columns(self._stream),
                ncols=79 if self._terminal else None,  # where their number is unknown
                mininterval=self._interval,
                miniters=1,
            )
        else:
            self._line.set_postfix_str(state, refresh=False)
            self._line.update(step - self._line.n)
        if step == self._total:
            self._line.refresh()

    def note(self, text: str) -> None:
        """Prints `text` as lines of its own; in a terminal the line of progress moves below them."""
        if self._terminal:
            _Line.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Shows the latest update if it was held back, and ends the line. Closing twice is harmless."""
        if self._line is not None:
            self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Line(tqdm):
    """A bar of tqdm without the thread that it starts to look after bars."""

    monitor_interval = 0


class _WholeLines:
    """Has each rewriting of a line be a line of its own, unless it is as the one before."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""

    def write(self, text: str) -> None:
        """Writes what tqdm writes, without its carriage returns and the spaces that cover an older line."""
        line = text.strip()
        if line and line != self._last:
            print(line, file=self._stream, flush=True)
            self._last = line

    def flush(self) -> None:
        """Does nothing: each line is flushed as it is written."""


def _has_columns(stream: TextIO) -> bool:
    """Whether a stream is a terminal that knows its width; some pseudo-terminals say 0."""
    try:
        return os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):  # a file, or a stream that only plays a terminal
        return False


def format_time(seconds: float) -> str:
    """Seconds as `m:ss`, or as `h:mm:ss` from an hour on, rounded to a whole second."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
