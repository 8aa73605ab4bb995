"""Notices at once when another process of a run is gone: collectives would wait for it for ever.

Each process holds a connection to the first one. The system closes it when a process ends, however it ends; one that is
done says so before.
"""

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence

from stata_jax.stopping import EXIT_STOPPED

_DONE = b"."
_PATIENCE = 60.0  # seconds until all processes are connected
# Where a machine is gone without a word: silence for 10 s, then three unanswered questions 10 s apart.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}

LOST = "another process of this run has ended: the same command on all of them goes on from the last checkpoint"


class Watch:
    """The connections of one process to others."""

    def __init__(self, peers: Sequence[socket.socket], *, lost: Callable[[], None]) -> None:
        """Watches connections in threads.

        Args:
          peers: Connections to other processes.
          lost: Called, in a thread, where one of them is closed by a process that is not done.
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
        for peer in self._peers:
            with contextlib.suppress(OSError):  # it is done, too, and gone
                peer.sendall(_DONE)
        if last:
            for thread in self._threads:
                thread.join(_PATIENCE)

    def _listen(self, peer: socket.socket) -> None:
        said = _received(peer)
        if said != _DONE:
            self._lost()
        _received(peer)  # which comes when that process ends


def _received(peer: socket.socket) -> bytes:
    """The next byte of a connection; none when it is closed."""
    try:
        return peer.recv(1)
    except OSError:
        return b""


def end_process() -> None:
    """Ends this process with a sentence and the exit code after which the same command is to be started again."""
    print("error:", LOST, file=sys.__stderr__, flush=True)
    os._exit(EXIT_STOPPED)


def listen() -> socket.socket:
    """A socket that the other processes can connect to, on a free port."""
    return socket.create_server(("", 0), backlog=1024)


def accept(server: socket.socket, count: int) -> list[socket.socket]:
    """The connections of the other processes.

    Args:
      server: As `listen` returned it; closed here.
      count: How many there are.

    Raises:
      OSError: If they do not all come.
    """
    with server:
        server.settimeout(_PATIENCE)
        return [server.accept()[0] for _ in range(count)]


def connect(hosts: Sequence[str], port: int) -> socket.socket:
    """The connection to the first process.

    Args:
      hosts: Its names and addresses, of which one must be reachable.
      port: Of its socket.

    Raises:
      OSError: If none is.
    """
    error: OSError | None = None
    for host in hosts:
        try:
            return socket.create_connection((host, port), timeout=_PATIENCE / len(hosts))
        except OSError as failed:
            error = failed
    raise error or OSError("there is no address")
