"""The grids of `python -m stata_jax.sweep`: what is trained and compared. Plain data.

A cell is what differs from a config's variant `stata`, by dotted key. It is defined once, so that a cell means the same
in every grid, and grids share its runs.
"""

_PLAIN = {"sparsity.anchor": False, "align.alpha": 0.0, "align.beta": 0.0}  # no anchor token, no alignment

CELLS: dict[str, dict[str, object]] = {
    "stata": {},
    "dense": {"sparsity.keep_rate": 1.0, **_PLAIN},
    # Other metrics, as the paper compares them, without anchor and alignment.
    "random": {"sparsity.metric": "random", **_PLAIN},
    "l1": {"sparsity.metric": "l1", **_PLAIN},
    "ssa": {"sparsity.metric": "ssa", **_PLAIN},
    "firing": {"sparsity.metric": "firing", **_PLAIN},
    # The metric alone is another; anchor and alignment stay.
    "random_aligned": {"sparsity.metric": "random"},
    "l1_aligned": {"sparsity.metric": "l1"},
    "ssa_aligned": {"sparsity.metric": "ssa"},
    "firing_aligned": {"sparsity.metric": "firing"},
    # Part by part: the anchor with the same tokens at every timestep, timestep-wise, then each alignment.
    "at": {"sparsity.timestep_wise": False, "align.alpha": 0.0, "align.beta": 0.0},
    "tat": {"align.alpha": 0.0, "align.beta": 0.0},
    "tat_intra": {"align.beta": 0.0},
    "tat_intra_time": {"align.beta": 0.0, "align.intra_heads": False},
    "tat_intra_heads": {"align.beta": 0.0, "align.intra_time": False},
    "tat_inter": {"align.alpha": 0.0},
    # Controls: queries and keys that stay as they were drawn, so that a random network's attention ranks; and neurons
    # after attention that never fire, so that tokens learn of each other in the stem alone.
    "random_attention": {"train.frozen": r"attention/[qk]/"},
    "no_attention": {"model.attention_threshold": 1e6},
    "dense_random_attention": {"sparsity.keep_rate": 1.0, **_PLAIN, "train.frozen": r"attention/[qk]/"},
    "dense_no_attention": {"sparsity.keep_rate": 1.0, **_PLAIN, "model.attention_threshold": 1e6},
    # Other keep rates; with 1 nothing is dropped, but anchor and alignment stay.
    "gamma_0.4": {"sparsity.keep_rate": 0.4},
    "gamma_0.6": {"sparsity.keep_rate": 0.6},
    "gamma_0.8": {"sparsity.keep_rate": 0.8},
    "gamma_1": {"sparsity.keep_rate": 1.0},
    # Choices that the paper leaves open.
    "gather": {"align.match": "gather"},
    "mse": {"align.distance": "mse"},
    "intra_slots": {"align.intra_tokens": "slots"},
    "slots_sorted": {"sparsity.slots": "sorted"},
    "slots_stable": {"sparsity.slots": "stable"},
    "pool_tokens": {"sparsity.pool": "tokens"},
}

# Cells without training: the weights of another cell, evaluated with these values.
_METRICS = ("random", "l1", "ssa", "firing", "saliency")  # those that need no training
_OF_DENSE: dict[str, tuple[str, dict[str, object]]] = {
    f"dense_{metric}{suffix}": ("dense", {"sparsity.metric": metric, "sparsity.keep_rate": rate})
    for metric in _METRICS
    for suffix, rate in {"": 0.2, "_0.4": 0.4, "_0.6": 0.6, "_0.8": 0.8}.items()
}
_OF_STATA: dict[str, tuple[str, dict[str, object]]] = {
    f"stata_{metric}": ("stata", {"sparsity.metric": metric}) for metric in _METRICS
}
EVALUATED = _OF_DENSE | _OF_STATA

_GAMMA: dict[str, object] = {
    "title": "Keep rates (Table 6 and Figure 4 of the paper)",
    "baseline": "dense",
    "cells": ["dense", "gamma_1", "gamma_0.8", "gamma_0.6", "gamma_0.4", "stata"],
    "over": "sparsity.keep_rate",
}

# The baseline is what the others are compared with, seed by seed; `over` is the key of the figures' x axis.
GRIDS: dict[str, dict[str, object]] = {
    "table1": {
        "title": "Metrics without anchor and alignment lose accuracy (Table 1 of the paper)",
        "baseline": "dense",
        "cells": ["dense", "random", "l1", "ssa", "firing", "stata"],
    },
    "table2": {
        "title": "Accuracy, ACs and energy (Table 2 of the paper)",
        "baseline": "dense",
        "cells": ["dense", "random", "ssa", "stata"],
    },
    "table5": {
        "title": "What each part adds (Table 5 of the paper)",
        "baseline": "random",
        "cells": ["random", "at", "tat", "tat_intra", "stata"],
    },
    "table6": _GAMMA,
    "figure4": _GAMMA,
    "figure5": _GAMMA
    | {
        "title": "Training speed over the keep rate (Figure 5 of the paper)",
        "cells": ["dense", "gamma_0.8", "gamma_0.6", "gamma_0.4", "stata"],
    },
    "main": {
        "title": "STATA against dense and random tokens",
        "baseline": "dense",
        "cells": ["dense", "random", "stata"],
    },
    "metrics": {
        "title": "Metrics at the same keep rate",
        "baseline": "stata",
        "cells": ["dense", "random", "l1", "ssa", "firing", "at", "tat", "stata"],
    },
    "controls": {
        "title": "What attention is worth, and what learned attention is",
        "baseline": "stata",
        "cells": ["dense", "dense_random_attention", "dense_no_attention", "stata", "random_attention", "no_attention"],
    },
    "aligned": {
        "title": "The metric alone, all with anchor and alignment",
        "baseline": "stata",
        "cells": ["random_aligned", "l1_aligned", "ssa_aligned", "firing_aligned", "stata"],
    },
    "align": {
        "title": "Each alignment alone",
        "baseline": "tat",
        "cells": ["tat", "tat_intra_time", "tat_intra_heads", "tat_intra", "tat_inter", "stata"],
    },
    "choices": {
        "title": "Choices that the paper leaves open",
        "baseline": "stata",
        "cells": ["stata", "gather", "mse", "intra_slots", "slots_sorted", "slots_stable", "pool_tokens"],
    },
    "training_free": {
        "title": "Pruning networks that were not trained for it",
        "baseline": "dense",
        "cells": ["dense", *_OF_DENSE, "stata", *_OF_STATA],
    },
}
