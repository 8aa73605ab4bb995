"""Telling a full disk from a bug, whatever layers its error has come through."""

import contextlib
import errno
import functools
import logging
import os
import sys
from collections.abc import Iterator

from absl import logging as absl_logging

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def full_disk(error: BaseException) -> str | None:
    """The system's words where an error comes from a disk, a quota or a file that is full.

    Args:
      error: What was raised; what it was raised from and within counts as well.

    Returns:
      Such as `No space left on device`, or None where that is not it.
    """
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        each = waiting.pop()
        seen.append(each)
        for number in _FULL:
            # Libraries in C++ raise errors of their own, which say the system's words among others.
            if (isinstance(each, OSError) and each.errno == number) or os.strerror(number) in str(each):
                return os.strerror(number)
        waiting += [e for e in (each.__cause__, each.__context__) if e is not None and e not in seen]
    return None


@contextlib.contextmanager
def quiet_when_full() -> Iterator[None]:
    """Within it, libraries do not tell of a full disk once in each of their threads: orbax raises it as well."""
    loggers = (absl_logging.get_absl_logger(), logging.getLogger("asyncio"))
    for logger in loggers:
        logger.addFilter(_not_full)  # for good: the last ones come when what has failed is cleared away
    _hook_once()
    yield


@functools.cache
def _hook_once() -> None:
    """Has Python not print what writers of a checkpoint have to say after the first error; for good, and only once."""
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        # What writes a checkpoint goes on to tell a loop of it that has ended with the first error.
        if not (unraisable.exc_type is RuntimeError and str(unraisable.exc_value) == "Event loop is closed"):
            before(unraisable)

    sys.unraisablehook = hook


def _not_full(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return full_disk(error if error is not None else Exception(record.getMessage())) is None
