"""CIFAR-10 as in the paper: what `configs/cifar100.py` does, with ten classes.

    python -m stata_jax.main --config=configs/cifar10.py
    python -m stata_jax.main --config=configs/cifar10.py:spikformer

The archive `cifar-10-python.tar.gz` is downloaded once, or taken from `data.manual_dir`, where it, or that of the
binary batches, may be packed or unpacked. One GPU with as much memory as for CIFAR-100. Spikingformer has 12 heads, as
its authors' file for CIFAR-10 has it.

Top-1 in the paper, dense and with STATA at keep rate 0.2: Spikingformer-4-384 95.8 and 95.8, Spikformer-4-384 95.2 and
95.0, Spike-driven Transformer 2-512 95.6 and 95.4. No run of this config has been made here.
"""

from ml_collections import ConfigDict

from stata_jax.configs import cifar100, variants


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config of a variant: a family, a way to prune, or both."""
    config = cifar100.get_config(variant)
    variants.name(config, "cifar10", *variants.parse(variant))
    config.data.source = "cifar10"
    config.data.num_classes = 10
    if config.model.family == "spikingformer":
        config.model.heads = 12
    return config
