"""Cluttered digits: a small Spikingformer that keeps a fifth of its tokens, twice. No download, no GPU.

    python -m stata_jax.main --config=configs/digits.py
    python -m stata_jax.main --config=configs/digits.py:random

README.md has the time it takes and the accuracies of the variants:

- `stata`, the default: anchor token, timestep-wise ranking, both alignment losses, keep rate 0.2;
- `dense`: no pruning, no anchor, no alignment: the plain Spikingformer;
- `random`, `l1`, `ssa`: the same as `stata` but for the metric that ranks the tokens;
- `shared`: the anchor's scores averaged over time, the same tokens at every timestep (the paper's AT);
- `baseline`: random tokens, no anchor, no alignment (the first row of the paper's Table 5).
"""

from ml_collections import ConfigDict

from configs import common

VARIANTS = ("stata", "dense", "random", "l1", "ssa", "shared", "baseline")


def get_config(variant: str = "stata") -> ConfigDict:
    """Returns the config of one of `VARIANTS`."""
    if variant not in VARIANTS:
        raise ValueError(f"variant {variant!r} is none of {', '.join(VARIANTS)}")
    config = common.get_config()
    config.unlock()
    config.name = "digits" if variant == "stata" else f"digits_{variant}"

    config.data.digits.size = 14
    config.data.digits.clutter = 14

    config.model.dim = 64
    config.model.depth = 2
    config.model.heads = 4
    config.model.timesteps = 2
    # A sixteenth of the usual scale. Attention without a softmax adds up all tokens, so that with the usual scale a
    # small task is solved by spreading what all tokens know over all of them before any is dropped; then it hardly
    # matters which ones are kept.
    config.model.attention_scale = 0.0078125

    # Both blocks prune, 64 patches to 13 to 3, so that as few are left as in the published models of eight blocks.
    config.sparsity.prune_at = (0, 1)
    config.sparsity.slots = "stable"

    config.train.batch_size = 32
    config.train.epochs = 14
    config.train.learning_rate = 4e-3
    config.train.warmup_epochs = 0.5

    if variant in ("dense", "baseline"):
        config.sparsity.anchor = False
        config.align.alpha = config.align.beta = 0.0
    if variant == "dense":
        config.sparsity.keep_rate = 1.0
    if variant in ("random", "l1", "ssa"):
        config.sparsity.metric = variant
    if variant == "baseline":
        config.sparsity.metric = "random"
    if variant == "shared":
        config.sparsity.timestep_wise = False
    return config.lock()
