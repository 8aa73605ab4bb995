"""Notices at once when another process of a run is gone: collectives would wait for it for ever.

Each process holds a connection to the first one. The system closes it when a process ends, however it ends; one that is
done, or that an error ends, says so before.
"""

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence

from stata_jax.stopping import EXIT_STOPPED

_DONE = 0  # an exit code; another one is that of an error
_PATIENCE = 60.0  # seconds until all processes are connected, and for one to end by an error that all have in common
# Where a machine is gone without a word: silence for 10 s, then three unanswered questions 10 s apart.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}

FAILED = "another process of this run has ended with exit code {}, and says why"
LOST = "another process of this run has ended: the same command on all of them goes on from the last checkpoint"


class Watch:
    """The connections of one process to others."""

    def __init__(self, peers: Sequence[socket.socket], *, lost: Callable[[int | None], None]) -> None:
        """Watches connections in threads.

        Args:
          peers: Connections to other processes.
          lost: Called, in a thread, where one of them is closed by a process that is not done: with the exit code of
            the error that has ended it, or None where it could not say so.
        """
        self._peers, self._lost = list(peers), lost
        self._threads = [threading.Thread(target=self._listen, args=(peer,), daemon=True) for peer in self._peers]
        for peer in self._peers:
            peer.settimeout(None)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, seconds in _KEEP_ALIVE.items():
                if hasattr(socket, name):
                    peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
        for thread in self._threads:
            thread.start()

    def done(self, *, last: bool) -> None:
        """Tells the others that this process ends because the run does.

        Args:
          last: Whether to wait until they have ended: JAX's coordinator has to.
        """
        self._say(_DONE)
        if last:
            for thread in self._threads:
                thread.join(_PATIENCE)

    def failed(self, code: int) -> None:
        """Tells the others that an error ends this process, with its exit code."""
        self._say(code)

    def _say(self, code: int) -> None:
        for peer in self._peers:
            with contextlib.suppress(OSError):  # it is gone, too
                peer.sendall(bytes([code]))

    def _listen(self, peer: socket.socket) -> None:
        with peer:
            said = _received(peer)
            if said != bytes([_DONE]):
                self._lost(said[0] if said else None)
            _received(peer)  # which comes when that process ends


def _received(peer: socket.socket) -> bytes:
    """The next byte of a connection; none when it is closed."""
    try:
        return peer.recv(1)
    except OSError:
        return b""


def end_process(code: int | None) -> None:
    """Ends this process because another one has ended.

    Args:
      code: The exit code of the error that has ended the other, which this one may have as well, and then has the time
        to end by itself; None where it is gone without a word: the same command is to be started again.
    """
    if code is not None:
        time.sleep(_PATIENCE)
    print("error:", LOST if code is None else FAILED.format(code), file=sys.__stderr__, flush=True)
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    os._exit(EXIT_STOPPED if code is None else code)


def listen() -> socket.socket:
    """A socket that the other processes can connect to, on a free port."""
    return socket.create_server(("", 0), backlog=1024)


def accept(server: socket.socket, count: int, *, token: bytes) -> list[socket.socket]:
    """The connections of the other processes.

    Args:
      server: As `listen` returned it; closed here.
      count: How many there are.
      token: What each of them sends first; other connections are none of the run.

    Raises:
      OSError: If they do not all come.
    """
    found: list[socket.socket] = []
    with server:
        server.settimeout(_PATIENCE)
        while len(found) < count:
            peer, _ = server.accept()
            peer.settimeout(_PATIENCE)
            said = b""
            while len(said) < len(token) and (part := _received(peer)):
                said += part
            if said == token:
                found.append(peer)
            else:
                peer.close()
    return found


def connect(hosts: Sequence[str], port: int, *, token: bytes) -> socket.socket:
    """The connection to the first process.

    Args:
      hosts: Its names and addresses, of which one must be reachable.
      port: Of its socket.
      token: See `accept`.

    Raises:
      OSError: If none is.
    """
    error: OSError | None = None
    for host in hosts:
        try:
            peer = socket.create_connection((host, port), timeout=_PATIENCE / len(hosts))
            peer.sendall(token)
            return peer
        except OSError as failed:
            error = failed
    raise error or OSError("there is no address")
