"""Checks of a whole config, before anything is compiled: an impossible value costs a second and one sentence."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from stata_jax.config.options import OPTIONS
from stata_jax.config.relations import problems
from stata_jax.errors import ConfigError


def check(config: ConfigDict) -> None:
    """Checks every value of a config, alone and against the others.

    Args:
      config: a config with the keys of `configs/common.py`.

    Raises:
      ConfigError: a key is missing or has an impossible value; the sentence says what is possible.
    """
    for key, option in OPTIONS.items():
        try:
            value = config[key]
        except (KeyError, TypeError) as error:  # TypeError: a group of keys is a plain value
            raise ConfigError(f"the config has no key {key}: start from configs/common.py") from error
        if not option.rule.is_possible(value):
            raise ConfigError(f"{key} is {value!r}, but it {option.rule.possible}")
    for key, what in problems(config):
        raise ConfigError(f"{key} is {config[key]!r}, but it {what}")


def refuse_other(config: ConfigDict, expected: Mapping[str, object], why: str) -> None:
    """Raises where a value is not the only one that can be dealt with.

    Args:
      config: A config.
      expected: Values by dotted key.
      why: Goes between the value that is there and the one that is expected.

    Raises:
      ConfigError: Naming the first other value.
    """
    for key, value in expected.items():
        if config[key] != value:
            raise ConfigError(f"{key} is {config[key]!r}, but {why} {value!r}")
