"""CIFAR-10 on one core of a processor: the paper's architecture at a size that trains in minutes.

    python -m stata_jax.main --config=configs/cifar10_small.py --config.data.manual_dir=DIR
    python -m stata_jax.main --config=configs/cifar10_small.py:spikformer-dense

It is there to compare ways to prune over several seeds where there is no GPU, not for its accuracy.
"""

from ml_collections import ConfigDict

from stata_jax.configs import cifar10, variants


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config of a variant: a family, a way to prune, or both."""
    return shrink(cifar10.get_config(variant), "cifar10_small", variant)


def shrink(config: ConfigDict, base: str, variant: str) -> ConfigDict:
    """Makes a CIFAR config of the paper small, and names it after `base` and its variant."""
    variants.name(config, base, *variants.parse(variant))

    config.model.dim = 64
    config.model.depth = 4
    config.model.heads = 8
    config.model.timesteps = 2
    config.model.pooling = "1100"  # early, so that two of the stem's convolutions work on a sixteenth of the places
    # In two timesteps a membrane comes to three quarters of its current. With a threshold of 1, which 9 % of the
    # normalised currents reach, 1 to 2 % of the neurons after attention fire; with 0.5 it is 25 %, and 11 to 15 % fire.
    config.model.threshold = 0.5

    config.augment.randaugment_count = 0
    config.augment.mixup = config.augment.erasing = 0.0

    config.train.batch_size = 64
    config.train.epochs = 2
    config.train.cooldown_epochs = 0
    config.train.schedule_by = "step"
    config.train.learning_rate = 5e-3
    config.train.warmup_epochs = 0.2
    config.train.cpu_threads = 1
    return config
