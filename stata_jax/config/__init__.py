"""Reading a config: from a file, from overrides and from the JSON of a run folder, without importing JAX.

Every mistake raises `ConfigError` with one sentence. The order for a program is `load`, `check`, `prepare_workdir`.
"""

import ast
import copy
import difflib
import json
import numbers
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from stata_jax.config import files
from stata_jax.config.relations import check
from stata_jax.configs import FOLDER
from stata_jax.errors import ConfigError
from stata_jax.paths import expand

__all__ = [
    "ConfigError",
    "apply_overrides",
    "check",
    "defaults",
    "from_json",
    "load",
    "parse_overrides",
    "prepare_workdir",
    "to_json",
]

_EXPECTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple: "numbers such as (2, 5), or None",
}

# What runs did before a key existed, where its default is another: the key, that value, and the values that say whether
# it counts. A saved config without the key is older than it.
_FORMER: tuple[tuple[str, object, Mapping[str, tuple[object, ...]]], ...] = (
    ("align.intra_tokens", "slots", {"align.distance": ("mse", "norm")}),
    ("data.split", "number", {"data.source": ("cifar10_dvs",)}),
)


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
    file, variant = files.locate(path)
    config = files.run(file, variant)
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"get_config() of {file} returns a {type(config).__name__}, not a ConfigDict")
    return apply_overrides(config.lock(), overrides or {})


def apply_overrides(config: ConfigDict, overrides: Mapping[str, object]) -> ConfigDict:
    """Returns a copy of a config with other values for some of its keys.

    An int may stand for a float; a key of a tuple, given or unset, takes a tuple or list of numbers, or None.

    Args:
      config: the config, which is left as it is.
      overrides: values by dotted key.

    Returns:
      The locked copy.

    Raises:
      ConfigError: a key does not exist (its neighbours are named) or a value has the wrong type.
    """
    config = copy.deepcopy(config)  # keeps the types of unset placeholders, which other copies lose
    for key, value in overrides.items():
        group, name = _find(config, key)
        group[name] = _coerce(key, value, group.get_type(name))
    return config.lock()


def parse_overrides(config: ConfigDict, flags: Sequence[str]) -> dict[str, object]:
    """Reads flags `--config.a.b=value` by the types that the keys have in a config.

    Booleans are true, false, 1 or 0; strings stand as they are; tuples are `(2, 5)`, `2,5`, `2`, `()` or `None`.

    Args:
      config: the config that the flags override.
      flags: the flags, one string each.

    Returns:
      Values by dotted key, for `apply_overrides`; the last of two flags with the same key counts.

    Raises:
      ConfigError: a flag is not of this form, its key does not exist, or its value has the wrong type.
    """
    overrides: dict[str, object] = {}
    for flag in flags:
        name, equals, text = flag.partition("=")
        key = name.removeprefix("--config.")
        if key == name or not key or not equals:
            raise ConfigError(f"{flag!r} is not an override of the form --config.key=value")
        group, leaf = _find(config, key)
        kind = group.get_type(leaf)
        try:
            value = _parse(text, kind)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # all that Python's parser raises
            value = text  # refused just below, with the sentence for a wrong type
        overrides[key] = _coerce(key, value, kind)
    return overrides


def to_json(config: ConfigDict) -> str:
    """Returns the JSON text of a config: tuples as lists, unset placeholders as null."""
    return config.to_json(indent=2) + "\n"


def from_json(text: str, base: ConfigDict | None = None) -> ConfigDict:
    """Reads the JSON text of a config back, the inverse of `to_json`.

    The types come from a base config. A key that the text lacks keeps the value of the base; of the shipped one, the
    value that stands for what runs did before the key existed, where its default is another.

    Args:
      text: what `to_json` returned.
      base: a config with all keys; `configs/common.py` if None.

    Returns:
      The locked config.

    Raises:
      ConfigError: the text is not JSON, or has a key or a type that the base does not have.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the saved config is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"the saved config must be a JSON object, not a {type(values).__name__}")
    saved = dict(_leaves(values))
    former = {
        key: value
        for key, value, counts in _FORMER
        if key not in saved and all(saved.get(other) in possible for other, possible in counts.items())
    }
    return apply_overrides(defaults(), former | saved) if base is None else apply_overrides(base, saved)


def defaults() -> ConfigDict:
    """The config of `configs/common.py`."""
    return load(FOLDER / "common.py")


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


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) for every key that is not a group."""
    for name, value in tree.items():
        if isinstance(value, dict | ConfigDict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _find(config: ConfigDict, key: str) -> tuple[ConfigDict, str]:
    """Returns the group of a dotted key and the key's name in it, or raises ConfigError with its neighbours."""
    *groups, name = key.split(".")
    known = [leaf for leaf, _ in _leaves(config)]
    group, prefix = config, ""
    for part in groups:
        if part not in group or not isinstance(group[part], ConfigDict):
            break
        group, prefix = group[part], f"{prefix}{part}."
    if key in known:
        return group, name
    inside = [leaf for leaf in known if leaf.startswith(key + ".")]
    if inside:
        raise ConfigError(f"config.{key} is a group of keys: set one of {', '.join(inside)}")
    near = [leaf for leaf in known if leaf.endswith("." + name)] or difflib.get_close_matches(key, known, cutoff=0.75)
    if near:
        raise ConfigError(f"the config has no key {key}: did you mean {' or '.join(near)}?")
    raise ConfigError(f"the config has no key {key}: the keys there are {', '.join(prefix + leaf for leaf in group)}")


def _parse(text: str, kind: type) -> object:
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if kind is int or kind is float:
        return kind(text)
    if kind is tuple:
        value = ast.literal_eval(text.strip())
        return (value,) if isinstance(value, int | float) else value
    return text


def _coerce(key: str, value: object, kind: type) -> object:
    """Returns the value as the type of its key, or raises ConfigError. Any integer or real type counts, NumPy's too."""

    def is_whole(item: object) -> bool:
        return isinstance(item, numbers.Integral) and not isinstance(item, bool)

    def is_number(item: object) -> bool:
        return isinstance(item, numbers.Real) and not isinstance(item, bool)

    if kind in (bool, str) and isinstance(value, kind):
        return value
    if kind is int and is_whole(value):
        return int(value)  # type: ignore[call-overload]
    if kind is float and is_number(value):
        return float(value)  # type: ignore[arg-type]
    if kind is tuple and isinstance(value, tuple | list) and all(map(is_number, value)):
        return tuple(int(item) if is_whole(item) else float(item) for item in value)
    if kind is tuple and value is None:
        return None
    raise ConfigError(f"{key} is {value!r}, but it must be {_EXPECTED.get(kind, f'of type {kind.__name__}')}")
