"""Cluttered digits as recordings of events: each is moved before a simulated sensor. No download, no GPU.

    python -m stata_jax.main --config=configs/digits_dvs.py

T = 16 frames of equal event count, keep rate 0.2. The recordings are made once, in `data.data_dir`.
The argument is as in `configs/digits.py`.
"""

from ml_collections import ConfigDict

from stata_jax.configs import digits, variants


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config of a variant: a family, a way to prune, or both."""
    config = digits.get_config(variant)
    variants.name(config, "digits_dvs", *variants.parse(variant))
    config.data.source = "digits_dvs"
    config.data.channels = 2
    config.data.train_examples = 4096
    config.data.test_examples = 1000
    config.data.digits.clutter = 2
    # 8x8 patches as with "0011", in half of the time: the wide layers of the stem have 8x8 places, not 32x32.
    config.model.pooling = "1100"
    config.model.timesteps = 16
    config.sparsity.prune_at = (0,)
    config.train.batch_size = 32
    config.train.epochs = 10
    return config
