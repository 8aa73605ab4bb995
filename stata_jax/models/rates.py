"""Firing rates of all neuron layers, from the intermediates of a network."""

from collections.abc import Mapping
from typing import Any

import jax
from flax.traverse_util import flatten_dict


def firing_rates(intermediates: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The firing rate of each neuron layer that the patches pass, by name.

    Args:
      intermediates: The collection `intermediates` of a `SpikingTransformer`.

    Returns:
      Scalars, such as `stem/lif1`, `block0/attention/q` and `head/in`.
    """
    rates = {}
    for path, values in flatten_dict(intermediates).items():
        if path[-1] != "rate" or path[-2] == "lif_anchor":
            continue
        *modules, layer, _ = path
        name = layer.replace("_", "") if modules == ["stem"] else layer.removeprefix("lif_")
        rates["head/in" if path[:-1] == ("lif_head",) else "/".join([*modules, name])] = values[-1]
    return rates
