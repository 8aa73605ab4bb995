"""What configs have in common beside their defaults: the families, and the ways to prune.

A config's argument is a family, a way to prune, or both with a hyphen, in any order:

    python -m stata_jax.main --config=configs/cifar100.py:sdt
    python -m stata_jax.main --config=configs/cifar100.py:spikformer-dense
"""

from ml_collections import ConfigDict

from stata_jax import registries
from stata_jax.config.options import OPTIONS
from stata_jax.configs import common

FAMILIES = tuple(registries.FAMILIES)
FAMILY = str(OPTIONS["model.family"].default)
# The first is the default. stata: anchor token, timestep-wise ranking, both alignment losses, keep rate 0.2; dense: no
# pruning, no anchor, no alignment; random, l1, ssa, firing: stata but for the metric that ranks the tokens; shared: the
# scores of the anchor averaged over time, the same tokens at every timestep (the paper's AT); baseline: random tokens,
# no anchor, no alignment (the first row of the paper's Table 5).
PRUNING = ("stata", "dense", "random", "l1", "ssa", "firing", "shared", "baseline")


def start(base: str, variant: str) -> ConfigDict:
    """Returns the defaults with the family and the way to prune of a config's argument, and its name.

    Raises:
      ValueError: as `parse`.
    """
    family, pruning = parse(variant)
    config = common.get_config()
    config.model.family = family
    prune(config, pruning)
    name(config, base, family, pruning)
    return config


def parse(variant: str) -> tuple[str, str]:
    """Splits a config's argument into family and way to prune; what it leaves out is the default.

    Raises:
      ValueError: for another word, or two of one kind.
    """
    chosen: dict[tuple[str, ...], str] = {}
    for word in variant.split("-") if variant else []:
        kind = next((kind for kind in (FAMILIES, PRUNING) if word in kind), None)
        if kind is None or kind in chosen:
            raise ValueError(
                f"variant {variant!r} must be one of {', '.join(FAMILIES)}, or one of "
                f"{', '.join(PRUNING)}, or one of each with a hyphen between them"
            )
        chosen[kind] = word
    return chosen.get(FAMILIES, FAMILY), chosen.get(PRUNING, PRUNING[0])


def name(config: ConfigDict, base: str, *words: str) -> None:
    """Names the run after the config and after what is not the default."""
    config.name = "_".join([base, *(word for word in words if word not in (FAMILY, PRUNING[0]))])


def prune(config: ConfigDict, pruning: str) -> None:
    """Sets one of `PRUNING` in a config."""
    if pruning in ("dense", "baseline"):
        config.sparsity.anchor = False
        config.align.alpha = config.align.beta = 0.0
    if pruning == "dense":
        config.sparsity.keep_rate = 1.0
    if pruning in ("random", "l1", "ssa", "firing"):
        config.sparsity.metric = pruning
    if pruning == "baseline":
        config.sparsity.metric = "random"
    if pruning == "shared":
        config.sparsity.timestep_wise = False
