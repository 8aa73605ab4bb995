"""Config files: which one a text names, and running it."""

import contextlib
import importlib.util
import inspect
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

import stata_jax
from stata_jax.config.values import apply_overrides
from stata_jax.configs import FOLDER
from stata_jax.errors import ConfigError

_DRIVE = re.compile(r"[A-Za-z]:([\\/]|.*\.py(:|$))")  # how a path with a drive begins on Windows
_PATH = re.compile(r"[\\/]|\.py$")  # in a path; the variants of the shipped configs have none of it


def load(path: str | os.PathLike[str], overrides: Mapping[str, object] | None = None) -> ConfigDict:
    """Runs a config file and returns its config with the overrides applied; `check` is a step of its own.

    Args:
      path: a file that defines `get_config`, such as `configs/digits.py`, or the name of a shipped one, `digits`. What
        follows a colon, as in `digits:dense`, is the variant, the argument of `get_config`.
      overrides: values by dotted key, such as `{"sparsity.keep_rate": 0.4}`.

    Returns:
      The locked config.

    Raises:
      ConfigError: there is no such file, it fails, it has no such variant, or an override does not fit.
    """
    file, variant = locate(path)
    config = run(file, variant)
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"get_config() of {file} returns a {type(config).__name__}, not a ConfigDict")
    return apply_overrides(config.lock(), overrides or {})


def locate(text: str | os.PathLike[str]) -> tuple[pathlib.Path, str | None]:
    """Finds the config file that a user names.

    A file that is there comes first, then the shipped config of that name. What follows a colon is the variant, unless
    the colon is part of the file's name or of a Windows drive.

    Args:
      text: A file or the name of a shipped config, such as `configs/digits.py` or `digits`, and after a colon the
        variant: `digits:dense`.

    Returns:
      The file, and the variant or None. Where nothing is found, what was probably meant.
    """
    text = os.path.expanduser(text)
    first = 2 if _DRIVE.match(text) else 0  # a drive's colon separates nothing
    colons = [place for place in range(first, len(text)) if text[place] == ":"]
    for end in [len(text), *reversed(colons)]:
        file = _find(text[:end])
        if file is not None:
            return file, text[end + 1 :] if end < len(text) else None
    if colons and not _PATH.search(text[colons[-1] + 1 :]):
        return pathlib.Path(text[: colons[-1]]), text[colons[-1] + 1 :]
    return pathlib.Path(text), None


def _find(name: str) -> pathlib.Path | None:
    shipped = FOLDER / f"{name}.py"
    if os.path.isfile(name):  # unlike pathlib's, false for impossible names
        return pathlib.Path(name)
    return shipped if not _PATH.search(name) and os.path.isfile(shipped) else None


def run(file: pathlib.Path, variant: str | None) -> object:
    """Runs a config file and returns what its `get_config` returns.

    While it runs, `stata_jax.configs` are the shipped files as they are now, and `configs` those of the folder
    `configs` beside the file's own folder or, where it has none of that name, the shipped ones.

    Args:
      file: As `locate` returns it.
      variant: The argument of `get_config`; None for none.

    Returns:
      The config, if the file is right.

    Raises:
      ConfigError: There is no such file, it fails, or has no such variant.
    """
    try:
        source = file.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = "" if os.path.exists(file) else _hint(file)
        raise ConfigError(f"the config file {file} cannot be read: {reason}{hint}") from error
    try:
        with _imports_for(file):
            return _call_get_config(source, file, variant)
    except ConfigError:
        raise
    except Exception as error:  # a config file is a program, and may raise anything
        raise ConfigError(_describe(error, file)) from error


def _hint(file: pathlib.Path) -> str:
    """What to write for the shipped config that was probably meant."""
    name = pathlib.PureWindowsPath(file).name.removesuffix(".py")  # which takes both kinds of slash
    if name and os.path.isfile(FOLDER / f"{name}.py"):
        return f" (--config={name} is the shipped one)"
    if _PATH.search(str(file)):
        return ""
    shipped = sorted(path.stem for path in FOLDER.glob("*.py") if "def get_config(" in path.read_text(encoding="utf-8"))
    return f" (the shipped configs are {', '.join(shipped)})"


def _call_get_config(source: bytes, file: pathlib.Path, variant: str | None) -> object:
    namespace: dict[str, Any] = {"__name__": "config_file", "__file__": str(file)}
    exec(compile(source, str(file), "exec"), namespace)
    get_config = namespace.get("get_config")
    if not callable(get_config):
        raise ConfigError(f"the config file {file} does not define get_config()")
    arguments = [] if variant is None else [variant]
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError as error:
        problem = f"needs a variant: {file}:VARIANT" if variant is None else f"has no variants, so no {variant!r}"
        raise ConfigError(f"the config file {file} {problem}") from error
    return get_config(*arguments)


class _Configs:
    """Finds the package `configs` of a config file, before one that another project has on the path."""

    def __init__(self, beside: pathlib.Path) -> None:
        self._init, self._folders = beside / "__init__.py", [str(beside), str(FOLDER)]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "configs":
            return None
        if self._init.is_file():
            return importlib.util.spec_from_file_location(name, self._init, submodule_search_locations=self._folders)
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = self._folders
        return spec


@contextlib.contextmanager
def _imports_for(file: pathlib.Path) -> Iterator[None]:
    """Makes a config file's imports work from any folder, and see the files as they are now."""

    def forget() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if re.match(r"(stata_jax\.)?configs(\.|$)", name)]
        return {name: sys.modules.pop(name) for name in names}

    above = file.resolve().parent.parent
    path, finders, modules = list(sys.path), list(sys.meta_path), forget()
    sys.path.insert(0, str(above))
    sys.meta_path.insert(0, _Configs(above / "configs"))
    try:
        yield
    finally:
        forget()
        sys.path[:], sys.meta_path[:] = path, finders
        sys.modules.update(modules)
        vars(stata_jax)["configs"] = modules["stata_jax.configs"]


def _describe(error: Exception, file: pathlib.Path) -> str:
    """Says in one line what a config file raised, and where."""
    text = " ".join(str(error).split())
    if isinstance(error, ValueError):  # the config file's own words, such as the list of its variants
        return f"{file}: {text}"
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{file}, line {lines[-1] if lines else 1}: {type(error).__name__}: {text}"
