"""Dual alignment of attention maps (Sections 4.3 and 4.4)."""

from stata_jax.config.option import FIXED, Option
from stata_jax.config.rules import POSITIONS, SWITCH, at_least, one_of
from stata_jax.registries import DISTANCES, INTRA_TOKENS, MATCHES

# fmt: off
OPTIONS = {
    "align.alpha": Option(0.01, at_least(0), FIXED,
        "Weight of the intra-alignment loss; 0 turns it off."),
    "align.beta": Option(0.01, at_least(0), FIXED,
        "Weight of the inter-alignment loss; 0 turns it off."),
    "align.intra_time": Option(True, SWITCH, FIXED,
        "Better timesteps teach worse ones."),
    "align.intra_heads": Option(True, SWITCH, FIXED,
        "Better heads teach worse ones."),
    "align.intra_tokens": Option("patches", one_of(INTRA_TOKENS), FIXED,
        "How timesteps that kept different tokens are compared. patches: by the rows and columns of the patches that "
        "both kept; slots: slot by slot.",
        former=("slots", "align.distance", ("mse", "norm"))),
    "align.intra_at": Option(None, POSITIONS, FIXED,
        "P_a, the blocks of intra-alignment, such as (0, 2, 3); unset: 0, depth // 3 + 1, depth - 1."),
    "align.inter_at": Option(None, POSITIONS, FIXED,
        "P_r, the blocks of inter-alignment; unset: as for align.intra_at."),
    "align.match": Option("interpolate", one_of(MATCHES), FIXED,
        "Maps of two sizes: interpolate (bilinear), or gather (the surviving tokens)."),
    "align.distance": Option("norm", one_of(DISTANCES), FIXED,
        "Distance of two maps. norm: the l2 norm of the difference, as the paper's equations have it; mse: the mean "
        "squared error, whose gradient is so small at these weights that the alignment does nothing."),
}
