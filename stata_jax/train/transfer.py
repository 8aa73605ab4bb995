"""Starting from the weights of another model: what fits is taken, what may differ is named, the rest is refused."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict


class TransferError(ValueError):
    """Weights that do not fit; the message is one sentence for the user."""


# What a model may have that the other has not: a model trained without an anchor can be given one, and the reverse.
_OPTIONAL = {"params/anchor", "params/lif_anchor/w"}
_HEAD = {"params/head/kernel", "params/head/bias"}


def transfer(fresh: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Puts found weights into freshly initialised variables.

    A head for another number of classes stays fresh. An anchor that only one of the two has stays fresh or is left out.

    Args:
      fresh: `params` and `batch_stats` of the model to train.
      found: The same of another one.

    Returns:
      The variables to start from, and one line for each thing that was not taken over.

    Raises:
      TransferError: If anything else is missing, left over or of another shape.
    """
    want, have = (flatten_dict(tree, sep="/") for tree in (fresh, found))
    notes = []
    taken: dict[str, Any] = {}
    wrong = []
    for name, value in want.items():
        here = np.shape(value)
        if name not in have:
            if name in _OPTIONAL:
                notes.append(f"{name}: not there, starts anew")
            else:
                wrong.append(f"{name} is missing")
        elif np.shape(have[name]) == here:
            taken[name] = have[name]
        elif name in _HEAD and np.shape(have[name])[:-1] == here[:-1]:
            notes.append(f"{name}: {np.shape(have[name])[-1]} classes there and {here[-1]} here, starts anew")
        else:
            wrong.append(f"{name} has shape {np.shape(have[name])} and not {here}")
    for name in have.keys() - want.keys():
        if name in _OPTIONAL:
            notes.append(f"{name}: there but not here, left out")
        else:
            wrong.append(f"{name} is left over")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise TransferError(f"the weights do not fit: {'; '.join(sorted(wrong)[:3])}{more}")
    return dict(unflatten_dict(want | taken, sep="/")), notes
