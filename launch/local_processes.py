"""Runs a command as several processes on this machine, joined over loopback:

    python launch/local_processes.py 2 python -m stata_jax.main --config=configs/digits.py --config.train.cpu_threads=1

Each process gets `--distributed`, `--coordinator`, `--num_processes` and `--process_id` behind the command. What the
first one prints is shown as it is, lines of the others after their number. The exit code is the first that is not 0.
"""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO


def free_port() -> int:
    """A port of the loopback device that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(count: int, command: Sequence[str], *, into: list["subprocess.Popen[str]"]) -> None:
    """Starts the processes, and adds them to a list; the output of all but the first is piped."""
    address = f"127.0.0.1:{free_port()}"
    for index in range(count):
        flags = ["--distributed", f"--coordinator={address}", f"--num_processes={count}", f"--process_id={index}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if index else {}
        # In sessions of their own: Ctrl-C in a terminal would come to them twice, from there and from here.
        into.append(subprocess.Popen([*command, *flags], text=True, start_new_session=True, **pipes))


def show(index: int, lines: IO[str]) -> None:
    """Prints the lines of a process behind its number."""
    for line in lines:
        print(f"[{index}] {line}", end="", file=sys.stderr)


def main(argv: Sequence[str]) -> int:
    """Runs the command; signals go on to all processes."""
    if len(argv) < 2 or not argv[0].isdigit() or int(argv[0]) < 1:
        print(__doc__, file=sys.stderr)
        return 2
    processes: list[subprocess.Popen[str]] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: [process.send_signal(number) for process in processes])
    start(int(argv[0]), argv[1:], into=processes)
    shown = [
        threading.Thread(target=show, args=(index, process.stdout), daemon=True)
        for index, process in enumerate(processes)
        if process.stdout is not None
    ]
    for thread in shown:
        thread.start()
    codes = [process.wait() for process in processes]
    for thread in shown:
        thread.join()
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
