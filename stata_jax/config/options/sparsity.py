"""Token sparsification (Section 4.2)."""

from stata_jax.config.option import FIXED, NETWORK, Option
from stata_jax.config.rules import KEEP_RATE, POSITIONS, SWITCH, at_least, name_in, one_of
from stata_jax.registries import METRICS, POOLS, SLOTS

# fmt: off
OPTIONS = {
    "sparsity.anchor": Option(True, SWITCH, FIXED,
        "Adds the anchor token, at index 0."),
    "sparsity.keep_rate": Option(0.2, KEEP_RATE, FIXED,
        "gamma, the share of the patch tokens that a pruning block keeps; 1 keeps all."),
    "sparsity.metric": Option("anchor", name_in(METRICS), FIXED,
        "What ranks tokens: anchor (Equation 9), or to compare with: ssa, attention from all tokens; l1, their norm; "
        "firing, spikes that they make default neurons fire; saliency, how far they are from the mean token and "
        "from the timestep before; random."),
    "sparsity.timestep_wise": Option(True, SWITCH, FIXED,
        "Each timestep keeps its own tokens (TAT); False: all keep the same (AT)."),
    "sparsity.prune_at": Option(None, POSITIONS, FIXED,
        "P_I, the blocks that prune, such as (2, 5); unset: every third block from depth // 3."),
    "sparsity.slots": Option("sorted", one_of(SLOTS), FIXED,
        "Order of the kept tokens: sorted, or stable, where a token keeps its slot."),
    "sparsity.rescale": Option(False, SWITCH, NETWORK,
        "Multiplies attention behind a pruning by (tokens before) / (tokens left), because a sum without a softmax "
        "shrinks with the number of tokens."),
    "sparsity.pool": Option("all", one_of(POOLS), NETWORK,
        "Mean before the head: all (with the anchor) or tokens (without)."),
    "sparsity.anchor_init": Option(2.0, at_least(0), FIXED,
        "Standard deviation of the anchor's initial values, large enough to fire."),
}
