"""Cluttered digits: a small Spikingformer that keeps a fifth of its tokens. No download, no GPU.

    python -m stata_jax.main --config=configs/digits.py
    python -m stata_jax.main --config=configs/digits.py:random

docs/results.md has the accuracies of the variants, which `configs/variants.py` explains.
"""

from ml_collections import ConfigDict

from stata_jax.configs import variants

VARIANTS = variants.PRUNING


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config of a variant: a family, a way to prune, or both."""
    config = variants.start("digits", variant)

    config.model.dim = 64
    config.model.depth = 2
    config.model.heads = 4
    config.model.timesteps = 2

    # Both blocks prune: 64 patches, then 13, then 3. Attention without a softmax adds up all tokens before any is
    # dropped, so that random tokens learn nearly as well as ranked ones.
    config.sparsity.prune_at = (0, 1)
    config.sparsity.slots = "stable"

    config.data.train_examples = 4096

    config.train.batch_size = 16
    config.train.epochs = 14
    config.train.learning_rate = 4e-3
    config.train.warmup_epochs = 0.5
    config.train.cpu_threads = 1
    return config
