"""The config of a run as the JSON text in its folder."""

import json

from ml_collections import ConfigDict

from stata_jax.config.options import OPTIONS, defaults
from stata_jax.config.values import apply_overrides, leaves
from stata_jax.errors import ConfigError


def to_json(config: ConfigDict) -> str:
    """Returns the JSON text of a config: tuples as lists, unset placeholders as null."""
    return config.to_json(indent=2) + "\n"


def from_json(text: str) -> ConfigDict:
    """Reads the JSON text of a config back, the inverse of `to_json`.

    A key that the text lacks has its default, or what runs did before the key existed, where that is another value.

    Args:
      text: what `to_json` returned.

    Returns:
      The locked config.

    Raises:
      ConfigError: the text is not JSON, or has a key or a type that no option has.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the saved config is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"the saved config must be a JSON object, not a {type(values).__name__}")
    saved = dict(leaves(values))
    former: dict[str, object] = {}
    for key, option in OPTIONS.items():
        if option.former and key not in saved:
            value, other, counts = option.former
            former |= {key: value} if saved.get(other) in counts else {}
    return apply_overrides(defaults(), former | saved)
