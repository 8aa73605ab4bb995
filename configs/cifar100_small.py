"""CIFAR-100 on one core of a processor: what `configs/cifar10_small.py` does, with a hundred classes.

python -m stata_jax.main --config=configs/cifar100_small.py --config.data.manual_dir=DIR
"""

from ml_collections import ConfigDict

from stata_jax.configs import cifar10_small, cifar100


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config of a variant: a family, a way to prune, or both."""
    return cifar10_small.shrink(cifar100.get_config(variant), "cifar100_small", variant)
