"""Configs: reading one from a file, from overrides and from the JSON of a run folder, and checking it.

No function here imports JAX, and every mistake raises `ConfigError` with one sentence. The order for a program is
`load`, `check`, `prepare_workdir`. The options themselves are in `stata_jax.config.options`.
"""

from stata_jax.config.checks import check
from stata_jax.config.files import load
from stata_jax.config.options import defaults
from stata_jax.config.saved import from_json, to_json
from stata_jax.config.values import apply_overrides, parse_overrides
from stata_jax.errors import ConfigError
from stata_jax.paths import prepare_workdir

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
