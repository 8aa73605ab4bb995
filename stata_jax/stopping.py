"""How a run ends before its last epoch: by a signal, or because its numbers are no longer finite.

A signal of SIGNALS ends a run after the step that it is at: the step is finished, the state saved, and the exit code
says that the same command goes on. Before the first step, and where something is compiled, there is no step to finish,
and the run ends at once. A second Ctrl-C ends it at once anywhere.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from stata_jax.data.protocol import DataError
from stata_jax.errors import ConfigError

EXIT_ERROR = 2  # a mistake of the user's
EXIT_DIVERGED = 3
# EX_TEMPFAIL of sysexits.h, "try again later": the code on which a scheduler is to start the same command again. It is
# neither that of a mistake, after which that would be in vain, nor 143, with which a process ends that has saved
# nothing.
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130  # Ctrl-C, the shell's own code: whoever pressed it is there, and wants no new start

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class DivergedError(ArithmeticError):
    """The training is no longer finite; the message is one sentence for the user."""


class LostProcessError(RuntimeError):
    """Another process of the run has ended; the message is one sentence for the user."""


def exit_code(error: Exception) -> int:
    """The exit code of a command that an error ends; that of a bug for an error that is told in no sentence."""
    if isinstance(error, DivergedError):
        return EXIT_DIVERGED
    if isinstance(error, LostProcessError):
        return EXIT_STOPPED
    return EXIT_ERROR if isinstance(error, (ConfigError, DataError)) else 1


class Stopped(KeyboardInterrupt):
    """A signal has ended a run.

    Attributes:
      code: The exit code.
      saved: Whether a step was saved, by all processes of the run at once.
    """

    def __init__(self, number: int, *, step: int | None = None) -> None:
        """Takes the signal, and the step that was saved; None if there was nothing to save."""
        self.number, self.saved = number, step is not None
        self.code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_STOPPED
        where = "" if step is None else f", after step {step}, which is saved"
        super().__init__(f"stopped by {signal.Signals(number).name}{where}: the same command goes on from there")


class _Request:
    """What signals have asked of this process; there is one, as there is one main thread."""

    number: int | None = None  # the first signal
    handled = False  # whether the handlers are in place
    deferred: str | None = None  # what to print where a signal is to wait, such as for the end of a step


def _handle(number: int, frame: FrameType | None) -> None:
    if _in_vain(frame):  # what is raised there is printed and dropped: again in a moment
        threading.Timer(0.02, signal.raise_signal, (number,)).start()
        return
    if _Request.number is not None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        return  # schedulers repeat themselves
    _Request.number = number
    if _Request.deferred is None:
        raise Stopped(number)
    with contextlib.suppress(OSError):  # not by `print`, which the signal may have come in the middle of
        os.write(2, _Request.deferred.encode())


def _in_vain(frame: FrameType | None) -> bool:
    """Whether Python is in a function that it calls on its own account, when it clears something away."""
    while frame is not None:
        if frame.f_code.co_name in ("__del__", "_xla_gc_callback"):
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def on_signals() -> Iterator[None]:
    """Within it, signals end a run in the way that the module says; afterwards they do what they did before.

    Outside of the main thread, which alone can take signals, and within itself, it changes nothing.
    """
    if _Request.handled or threading.current_thread() is not threading.main_thread():
        yield
        return
    # What is ignored stays so: a shell has its background commands ignore the Ctrl-C that is for another one.
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _handle) for number in heeded}
    _Request.handled, _Request.number = True, None
    try:
        yield
    finally:
        _Request.handled, _Request.number = False, None
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def after_the_step() -> Iterator[None]:
    """Within it, a signal only leaves a request, for `requested`."""
    before, _Request.deferred = _Request.deferred, "\nfinishing the step and saving (Ctrl-C stops at once) ...\n"
    try:
        yield
    finally:
        _Request.deferred = before


@contextlib.contextmanager
def not_within() -> Iterator[None]:
    """Within it, which is to be short, a signal waits in silence; it raises `Stopped` at the end.

    Raises:
      Stopped: Where a signal has come.
    """
    before, _Request.deferred = _Request.deferred, ""
    try:
        yield
    finally:
        _Request.deferred = before
    check()


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Within it, a signal raises `Stopped` as soon as Python can; so does one that has come before.

    Raises:
      Stopped: Where a signal has come.
    """
    before, _Request.deferred = _Request.deferred, None
    try:
        check()
        yield
    finally:
        _Request.deferred = before


def requested() -> int | None:
    """The signal that asks this run to end, or None."""
    return _Request.number


def check() -> None:
    """Raises `Stopped` where a signal asks this run to end."""
    if _Request.number is not None:
        raise Stopped(_Request.number)
