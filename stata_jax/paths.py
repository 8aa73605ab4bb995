"""Folders and files as users name them: as text or as paths, and with `~` for the home folder, where there is one."""

import os
import pathlib
import tempfile

from stata_jax.errors import ConfigError


def expand(path: str | os.PathLike[str]) -> pathlib.Path:
    """A path with `~` replaced by the home folder.

    Args:
      path: As the user gave it.

    Returns:
      The path.

    Raises:
      ConfigError: If it begins with `~` and nobody knows the home folder, as in a container whose user has none.
    """
    text = os.fspath(path)
    expanded = os.path.expanduser(text)
    if expanded == text and text.replace("\\", "/").partition("/")[0] == "~":
        raise ConfigError(f"{text}: there is no home folder for ~ (HOME is not set): name the folder without it")
    return pathlib.Path(expanded)


def cache_folder() -> pathlib.Path | None:
    """Where to keep what can be made again, `~/.cache/stata_jax`; None if there is no home folder."""
    home = os.path.expanduser("~")
    return None if home == "~" else pathlib.Path(home) / ".cache" / "stata_jax"


def prepare_workdir(path: str | os.PathLike[str]) -> pathlib.Path:
    """Makes a run folder, if it is not there yet, and tries to write in it.

    Args:
      path: the folder; `~` is the home folder.

    Returns:
      Its absolute path.

    Raises:
      ConfigError: it cannot be made or written in.
    """
    if not os.fspath(path):
        raise ConfigError("the workdir is empty: name a folder")
    folder = expand(path).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"the workdir {folder} cannot be written: {error.strerror}") from error
    return folder
