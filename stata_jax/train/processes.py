"""The processes that train one model together: starting them, and what they must agree on."""

import contextlib
import functools
import json
import os
import secrets
import socket
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from stata_jax import stopping
from stata_jax.errors import ConfigError
from stata_jax.train import parallel
from stata_jax.train.watch import Watch, accept, connect, end_process, listen

# What collectives say where another process is gone, and memory that is full or a program that is wrong does not.
_OF_A_LOST_PROCESS = ("UNAVAILABLE", "ABORTED", "DEADLINE_EXCEEDED", "CANCELLED", "Gloo", "NCCL", "onnection")
_ADDRESS_BYTES = 512
_LAG = 2  # steps between a question to all processes and its answer, so that nobody waits for it


def join(*, coordinator: str | None = None, count: int | None = None, index: int | None = None) -> None:
    """Joins the processes of a run; for before the first array, and once in a process.

    Where all three are None, JAX reads them from Slurm or, with the package `kubernetes`, from Kubernetes.

    Args:
      coordinator: Address of the first process, `host:port`.
      count: How many processes there are.
      index: Which of them this is, from 0.

    Raises:
      ConfigError: If they are unknown, impossible, or the others do not come.
    """
    # JAX's own answer to SIGTERM would come before ours, and its answer to a lost process is to abort.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_enable_recoverability", True)
    try:
        # Where all is said, another way to start processes that is also there has no say.
        method = None if coordinator is None else "deactivate"
        jax.distributed.initialize(coordinator, count, index, cluster_detection_method=method)
    except (ValueError, RuntimeError) as error:
        why = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"--distributed: the processes of the run cannot be joined ({why}): give --coordinator=HOST:PORT, "
            "--num_processes and --process_id where neither Slurm nor Kubernetes says them"
        ) from error


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Within it, a process ends with a sentence where another one has ended before all are done; for commands.

    Raises:
      ConfigError: If the processes cannot reach the first one.
    """
    if not several():
        yield
        return
    try:
        peers = _connections()
    except OSError as error:
        raise ConfigError(f"--distributed: the first process of the run cannot be reached ({error})") from error
    watch = Watch(peers, lost=end_process)
    try:
        yield
    except stopping.Stopped as stop:
        if stop.saved:  # then all processes end here
            watch.done(last=is_first())
        raise
    except Exception as error:
        if not isinstance(error, stopping.LostProcessError):
            watch.failed(stopping.exit_code(error))
        raise
    watch.done(last=is_first())


def _connections() -> list[socket.socket]:
    """A connection to the first process; the first has one to each of the others."""
    from jax.experimental import multihost_utils

    server = listen() if is_first() else None
    port = server.getsockname()[1] if server else 0
    address = json.dumps([secrets.token_hex(16), port, socket.gethostname(), _own_address()]).encode()
    told = multihost_utils.broadcast_one_to_all(np.frombuffer(address.ljust(_ADDRESS_BYTES), np.uint8))
    token, port, *hosts = json.loads(np.asarray(told, np.uint8).tobytes())
    if server:
        return accept(server, jax.process_count() - 1, token=token.encode())
    hosts = ["127.0.0.1", *hosts] if socket.gethostname() in hosts else hosts
    return [connect(hosts, port, token=token.encode())]


def _own_address() -> str:
    """The address by which other machines see this one, or an empty text."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent; the system says which address it would send from
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def several() -> bool:
    """Whether this process is one of several."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return jax.process_index() == 0


@contextlib.contextmanager
def first_alone_speaks() -> Iterator[None]:
    """Within it, what other processes than the first print is dropped, errors that end them apart; for commands."""
    if is_first():
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def wait(name: str) -> None:
    """Waits until all processes have come to the place of this name."""
    if several():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def connect_devices() -> None:
    """Connects the devices of all processes with a small sum.

    On processors they would be connected in the first step, and give up after 30 seconds there, which is less than
    processes may differ by in the time that they compile it.
    """
    if several():
        ones = np.ones(jax.local_device_count(), np.int32)
        jax.block_until_ready(_largest_of_all()(ones, ones))


@functools.cache
def _largest_of_all() -> Any:
    """The mapped program for the largest number of all devices, compiled once."""
    return parallel.on_all_devices(lambda number, _: jax.lax.pmax(number, parallel.AXIS), shared=0)


@contextlib.contextmanager
def first_before_others(name: str) -> Iterator[None]:
    """Has the first process do what is within before the others do."""
    if not is_first():
        wait(name)
    yield
    if is_first():
        wait(name)


def check_same(value: int, *, what: str) -> None:
    """Raises ConfigError where processes have different values.

    Args:
      value: Of this process.
      what: Says in the message what it is.
    """
    if not several():
        return
    from jax.experimental import multihost_utils

    values = np.asarray(multihost_utils.process_allgather(np.asarray(value, np.int32))).ravel().tolist()
    if len(set(values)) > 1:
        raise ConfigError(f"the processes of this run see {what} {values}: they need one folder that all of them see")


def requested_alone() -> int | None:
    """The signal that asks this process to end, where there are no others that it would have to end with."""
    return None if several() else stopping.requested()


def check_alone() -> None:
    """Raises `Stopped` where a signal asks this process to end, and there are no others."""
    if not several():
        stopping.check()


class Agreement:
    """Has all processes hear, at the same step, of a signal that has come to some of them.

    It may come to one process, or to all of them at different steps, and a process that ends alone leaves the others
    waiting. Each step asks for the largest number of all processes; the answer is read two steps later, when it is
    there.
    """

    def __init__(self) -> None:
        self._asked: list[Any] = []

    def after_step(self) -> int | None:
        """The signal after which all processes end with this step, or None."""
        number = stopping.requested()
        if not several():
            return number
        flags = np.full(jax.local_device_count(), number or 0, np.int32)
        self._asked.append(_largest_of_all()(flags, flags))
        if len(self._asked) <= _LAG:
            return None
        return int(self._asked.pop(0)[0]) or None


@contextlib.contextmanager
def errors_of_others() -> Iterator[None]:
    """Within it, an operation that fails because another process is gone raises LostProcessError.

    Raises:
      LostProcessError: In a run of several processes, in place of the runtime's error.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not several() or not any(word in str(error) for word in _OF_A_LOST_PROCESS):
            raise
        why = str(error).strip().partition("\n")[0][:200]
        raise stopping.LostProcessError(
            f"another process of this run has ended or cannot be reached ({why}): the same command on all of them "
            "goes on from the last checkpoint"
        ) from error
