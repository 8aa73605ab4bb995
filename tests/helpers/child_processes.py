"""The processes that a process has started."""

import pathlib
import subprocess


def children(process: "subprocess.Popen[str]") -> list[int]:
    """Those that still run; none where the process itself has ended."""
    listed = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        return [int(pid) for pid in listed.read_text().split()]
    except OSError:
        return []
