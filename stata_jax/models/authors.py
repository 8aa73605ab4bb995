"""Weights of the published PyTorch models, renamed and laid out for ours."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

# Pattern of an authors' layer name and ours. `conv` and `bn` of a pair end in the same place.
_LAYERS: dict[str, tuple[tuple[str, str], ...]] = {
    "spikingformer": (
        (r"patch_embed\.(?:block|proj)(\d*)", r"stem/conv\1"),
        (r"block\.(\d+)\.attn\.([qkv])", r"block\1/attention/\2"),
        (r"block\.(\d+)\.attn\.proj", r"block\1/attention/projection"),
        (r"block\.(\d+)\.mlp\.mlp1", r"block\1/mlp/up"),
        (r"block\.(\d+)\.mlp\.mlp2", r"block\1/mlp/down"),
        (r"head", r"head"),
    ),
}
# Parameters that the authors' checkpoints carry and their models never use.
_UNUSED: dict[str, str] = {"spikingformer": r"block\.\d+\.norm[12]\.(weight|bias)"}
# The last part of a key: collection, module within the layer, name.
_NORM = {
    "weight": ("params", "norm", "scale"),
    "bias": ("params", "norm", "bias"),
    "running_mean": ("batch_stats", "norm", "mean"),
    "running_var": ("batch_stats", "norm", "var"),
}


def our_path(key: str, *, family: str) -> tuple[str, ...] | None:
    """Where one of the authors' arrays belongs in our variables.

    Args:
      key: The authors' name, such as `block.0.attn.q_conv.weight`.
      family: The model family.

    Returns:
      The path from the collection down, such as `("params", "block0", "attention", "q", "linear", "kernel")`, or None
      for an array that the authors' own model never uses.

    Raises:
      ValueError: For a key that is none of the family's.
    """
    if key.endswith("num_batches_tracked") or re.fullmatch(_UNUSED[family], key):
        return None
    layer, _, leaf = key.rpartition(".")
    stem, _, kind = layer.rpartition("_")
    for pattern, ours in _LAYERS[family]:
        if kind == "bn" and leaf in _NORM and (found := re.fullmatch(pattern, stem)):
            collection, module, name = _NORM[leaf]
        elif kind == "conv" and leaf in ("weight", "bias") and (found := re.fullmatch(pattern, stem)):
            module = "conv" if "/conv" in ours else "linear"
            collection, name = "params", "kernel" if leaf == "weight" else "bias"
        elif layer == pattern and leaf in ("weight", "bias"):
            return ("params", ours, "kernel" if leaf == "weight" else "bias")
        else:
            continue
        path = found.expand(ours)
        return (collection, *(path + "0" if path.endswith("stem/conv") else path).split("/"), module, name)
    raise ValueError(f"{key!r} is no parameter of the published {family} models")


def our_layout(array: np.ndarray) -> np.ndarray:
    """An authors' weight in our layout: convolutions (H, W, in, out), products (in, out), vectors as they are."""
    if array.ndim == 4 and array.shape[2:] != (1, 1):
        return np.transpose(array, (2, 3, 1, 0))
    if array.ndim >= 2:
        return array.reshape(array.shape[:2]).T
    return array


def import_state(state: Mapping[str, np.ndarray], *, family: str) -> dict[str, Any]:
    """Turns an authors' state dict into our variables.

    Args:
      state: Arrays by the authors' names; gradients or running statistics by those names work as well.
      family: The model family, such as `spikingformer`.

    Returns:
      Nested dictionaries with the collections `params` and `batch_stats`, float32.

    Raises:
      ValueError: For an unknown family, and for keys that are none of the family's.
    """
    if family not in _LAYERS:
        raise ValueError(f"cannot import family {family!r}: known are {', '.join(_LAYERS)}")
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for key, array in state.items():
        path = our_path(key, family=family)
        if path is None:
            continue
        node = variables
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = our_layout(np.asarray(array, np.float32))
    return variables
