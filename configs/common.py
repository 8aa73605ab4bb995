"""The base that each config in this folder changes: every option of stata_jax with its default.

    from stata_jax.configs import common

    def get_config():
        config = common.get_config()
        config.sparsity.keep_rate = 0.4
        return config

The options are in `stata_jax/config/options/`, one file a group, and all together in `docs/options.md`.
"""

from ml_collections import ConfigDict

from stata_jax.config.options import defaults


def get_config() -> ConfigDict:
    """Returns the defaults: Spikingformer-4-384 with STATA at keep rate 0.2."""
    return defaults()
