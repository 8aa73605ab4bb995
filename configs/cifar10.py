"""CIFAR-10 as in the paper: what `configs/cifar100.py` does, with ten classes.

    python -m stata_jax.main --config=configs/cifar10.py
    python -m stata_jax.main --config=configs/cifar10.py:spikformer

The archive `cifar-10-python.tar.gz` is downloaded once, or taken from `data.manual_dir`. One GPU with as much memory as
for CIFAR-100.

Top-1 in the paper, dense and with STATA at keep rate 0.2: Spikingformer-4-384 95.8 and 95.8, Spikformer-4-384 95.2 and
95.0, Spike-driven Transformer 2-512 95.6 and 95.4. No run of this config has been made here.
"""

from ml_collections import ConfigDict

from stata_jax.configs import cifar100, variants


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config of a variant: a family, a way to prune, or both."""
    config = cifar100.get_config(variant)
    config.unlock()
    variants.name(config, "cifar10", *variants.parse(variant))
    config.data.source = "cifar10"
    config.data.num_classes = 10
    config.data.mean = (0.4914, 0.4822, 0.4465)
    config.data.std = (0.2470, 0.2435, 0.2616)
    return config.lock()
