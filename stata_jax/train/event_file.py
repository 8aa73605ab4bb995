"""Scalars in a file that TensorBoard reads, written by the caller itself, so that a full disk is the caller's error."""

import pathlib
import time

from tensorboardX.event_file_writer import EventsWriter  # type: ignore[import-untyped, unused-ignore]
from tensorboardX.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped, unused-ignore]
from tensorboardX.summary import scalar  # type: ignore[import-untyped, unused-ignore]

_FLUSH_S = 30.0


class EventFile:
    """A new file in a folder of TensorBoard's.

    Args:
      folder: It is made where it is missing.
      purge_step: TensorBoard hides what older files have from this step on.
    """

    def __init__(self, folder: pathlib.Path, *, purge_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # The suffix keeps two writers that start within one second from sharing, and so emptying, one event file.
        self._writer = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        self._flushed = -_FLUSH_S
        # TensorBoard purges by this pair, in this order.
        self._write(Event(step=purge_step, file_version="brain.Event:2"))
        self._write(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Adds a point; it is on the disk half a minute later at the latest, if another one follows."""
        self._write(Event(step=step, summary=scalar(name, value)))

    def close(self) -> None:
        """Writes what is left, and closes the file. Closing twice is harmless."""
        self._writer, writer = None, self._writer
        if writer is not None:
            writer.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)
        if time.monotonic() - self._flushed > _FLUSH_S:
            self._writer.flush()
            self._flushed = time.monotonic()
