"""Token sparsification (Section 4.2)."""

from stata_jax.config.option import Option, Resume
from stata_jax.config.rules import POSITIONS, SWITCH, at_least, name_in, number, one_of
from stata_jax.registries import METRICS, POOLS, SLOTS

OPTIONS = {
    "sparsity.anchor": Option(True, SWITCH, "The anchor token at index 0."),
    "sparsity.keep_rate": Option(
        0.2,
        number("must be above 0 and at most 1 (1 keeps all tokens)", lambda value: 0 < value <= 1),
        "gamma, the share of the patch tokens that a pruning block keeps; 1 keeps all.",
    ),
    "sparsity.metric": Option("anchor", name_in(METRICS), "What ranks tokens: anchor (Eq. 9), ssa, l1 or random."),
    "sparsity.timestep_wise": Option(
        True, SWITCH, "Each timestep keeps its own tokens (TAT); False: all keep the same (AT)."
    ),
    "sparsity.prune_at": Option(
        None, POSITIONS, "P_I, the blocks that prune, e.g. (2, 5); unset: every third block from depth // 3."
    ),
    "sparsity.slots": Option(
        "sorted", one_of(SLOTS), "Order of the kept tokens: sorted, or stable, where a token keeps its slot."
    ),
    "sparsity.pool": Option(
        "all", one_of(POOLS), "Mean before the head: all (with the anchor) or tokens (without).", Resume.NETWORK
    ),
    "sparsity.anchor_init": Option(
        2.0, at_least(0), "Standard deviation of the anchor's initial values, large enough to fire."
    ),
}
