"""Other values for the keys of a config, as Python has them or as a command line has them."""

import ast
import copy
import difflib
import inspect
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from stata_jax.errors import ConfigError

_EXPECTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple: "numbers such as (2, 5), or None",
}


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


def named(function: Callable[..., Any], *groups: ConfigDict) -> dict[str, Any]:
    """The values of a config that a function or a dataclass has parameters for, by name.

    Args:
      function: What is to be called.
      *groups: Groups of a config; where two have the same name, the later counts.

    Returns:
      Keyword arguments.
    """
    values = {name: value for group in groups for name, value in group.items()}
    return {name: values[name] for name in inspect.signature(function).parameters if name in values}


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) for every key that is not a group."""
    for name, value in tree.items():
        if isinstance(value, dict | ConfigDict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _find(config: ConfigDict, key: str) -> tuple[ConfigDict, str]:
    """Returns the group of a dotted key and the key's name in it, or raises ConfigError with its neighbours."""
    *groups, name = key.split(".")
    known = [leaf for leaf, _ in leaves(config)]
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
