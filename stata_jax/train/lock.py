"""A lock on the folder of a run: two runs in one folder would overwrite each other's files."""

import contextlib
import os
import pathlib
import socket
from collections.abc import Iterator

from stata_jax.errors import ConfigError

try:
    import fcntl
except ImportError:  # on Windows, where a folder is not locked
    fcntl = None  # type: ignore[assignment]

FILE = ".lock"


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Holds the lock of a folder, which the system releases when the process ends, however it ends.

    Args:
      folder: Of a run; it exists.

    Raises:
      ConfigError: If a run of another process holds it.
    """
    if fcntl is None:
        yield
        return
    with (folder / FILE).open("a+") as file:
        try:
            # Not flock: children of this process, which may outlive it, would inherit that one.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise ConfigError(
                f"{folder} is in use by a run ({holder}): wait for it to end, or name another folder with --workdir"
            ) from error
        except OSError:  # the file system has no locks
            yield
            return
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
