"""Every option, one file a group. An option that is not here does not exist, and setting one is an error.

The defaults of a config, its checks, what may change when a run goes on, `--help` and `docs/options.md` follow from
these tables; what a value may be beside the others stands in `stata_jax.config.relations`. They are laid out by hand: a
line with the default, the rule and what may change at resume, and below it the comment.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from stata_jax.config.option import Option, Resume
from stata_jax.config.options import align, augment, data, evaluation, model, run, sparsity, train

GROUPS = (run, data, augment, model, sparsity, align, train, evaluation)
OPTIONS: dict[str, Option] = {key: option for group in GROUPS for key, option in group.OPTIONS.items()}


def defaults() -> ConfigDict:
    """Returns a locked config with the default of every option."""
    config = ConfigDict()
    for key, option in OPTIONS.items():
        *groups, name = key.split(".")
        group = config
        for part in groups:
            if part not in group:
                group[part] = ConfigDict()
            group = group[part]
        group[name] = placeholder(tuple) if option.default is None else option.default
    return config.lock()


def keys(*resume: Resume) -> tuple[str, ...]:
    """The options that are treated in one of some ways when a run goes on."""
    return tuple(key for key, option in OPTIONS.items() if option.resume in resume)
