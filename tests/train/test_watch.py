"""How processes of a run notice that another one is gone, on connections within one process."""

import contextlib
import queue
import socket
import subprocess
import sys
import threading

import pytest

from stata_jax import stopping
from stata_jax.data.protocol import DataError
from stata_jax.errors import ConfigError
from stata_jax.train import watch


@pytest.fixture
def pair():
    """Both ends of a connection, which are closed when the threads that listen to them have ended."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    yield ours, theirs
    for end in (ours, theirs):
        if end.fileno() >= 0:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and "_listen" in thread.name:
            thread.join(10)
    theirs.close()


def test_one_that_is_done_is_not_lost(pair):
    ours, theirs = pair
    heard = queue.Queue()
    here, there = watch.Watch([ours], lost=heard.put), watch.Watch([theirs], lost=heard.put)
    there.done(last=False)
    here.done(last=False)
    theirs.shutdown(socket.SHUT_RDWR)
    here.done(last=True)  # waits until the other has closed
    assert heard.empty()


def test_one_that_is_gone_without_a_word_is_lost(pair):
    heard = queue.Queue()
    watch.Watch(pair[:1], lost=heard.put)
    pair[1].close()
    assert heard.get(timeout=10) is None


def test_one_that_an_error_ends_says_so(pair):
    heard = queue.Queue()
    watch.Watch(pair[:1], lost=heard.put)
    watch.Watch(pair[1:], lost=lambda code: None).failed(3)
    assert heard.get(timeout=10) == 3


def test_strangers_are_not_taken_for_processes_of_the_run():
    server = watch.listen()
    port, found = server.getsockname()[1], []
    thread = threading.Thread(target=lambda: found.extend(watch.accept(server, 1, token=b"right")))
    thread.start()
    stranger = socket.create_connection(("127.0.0.1", port))
    stranger.sendall(b"GET /")
    peer = watch.connect(["127.0.0.1"], port, token=b"right")
    thread.join(10)
    assert len(found) == 1 and found[0].getpeername() == peer.getsockname()
    for each in (stranger, peer, *found):
        each.close()


def test_nobody_listens():
    server = watch.listen()
    port = server.getsockname()[1]
    server.close()
    with pytest.raises(OSError, match="refused"):
        watch.connect(["127.0.0.1"], port, token=b"")


@pytest.mark.parametrize(("code", "expected"), [(None, 75), (3, 3)])
def test_a_process_ends_with_a_sentence(code, expected):
    program = f"from stata_jax.train import watch; watch._PATIENCE = 0.1; print('said'); watch.end_process({code})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (expected, "said\n")
    assert done.stderr.startswith("error: another process of this run has ended") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [(stopping.DivergedError(), 3), (ConfigError(), 2), (DataError(), 2), (ValueError(), 1), (KeyError(), 1)],
)
def test_exit_codes_of_errors(error, code):
    assert stopping.exit_code(error) == code
