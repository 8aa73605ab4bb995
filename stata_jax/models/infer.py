"""What the shapes and names of an authors' checkpoint tell of its model."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from stata_jax.models.authors import check_family, depth_of

_FIRST = ("patch_embed.proj_conv.weight", "patch_embed.block0_conv.weight")
_HIDDEN = tuple(f"block.0.mlp.{name}.weight" for name in ("fc1_linear", "fc1_conv", "mlp1_conv"))


def settings_of(state: Mapping[str, np.ndarray], *, family: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads the settings of a published model off its state dict.

    Args:
      state: Arrays by the authors' names.
      family: `spikformer`, `spikingformer` or `sdt`.

    Returns:
      Two dictionaries of settings by dotted config key. The first holds what the arrays tell for certain. The second
      holds what only the published variants tell: all that is known is which of them has such arrays.

    Raises:
      ValueError: For an unknown family, weights of another family, or arrays without which nothing can be told.
    """
    check_family(state, family)
    depth = depth_of(state)
    first = next((name for name in _FIRST if name in state), None)
    hidden = next((name for name in _HIDDEN if name in state), None)
    if first is None or hidden is None:
        raise ValueError(
            f"these are not the weights of a published {family} model: the first convolution of patch_embed or "
            "block.0.mlp is missing"
        )
    head = "head.weight" in state
    for name, axes in {first: (4,), hidden: (2, 3, 4), "head.weight": (2,)}.items():
        if name in state and (state[name].ndim not in axes or not state[name].size):
            raise ValueError(f"{name} has the impossible shape {state[name].shape}")
    dim, channels = state[hidden].shape[1], state[first].shape[1]
    classes = len(state["head.weight"]) if head else 0
    told: dict[str, Any] = {
        "model.family": family,
        "model.dim": int(dim),
        "model.depth": depth,
        "model.mlp_ratio": int(state[hidden].shape[0] // dim),
        "model.qkv_bias": any(f"block.0.attn.q_{kind}.bias" in state for kind in ("linear", "conv")),
        "model.neuron": "plif" if any(key.endswith("_lif.w") for key in state) else "lif",
        "data.channels": int(channels),
        "sparsity.anchor": "anchor" in state,
    }
    if head:
        told["data.num_classes"] = classes
    if family == "sdt" and "block.0.attn.talking_heads.weight" in state:
        told["model.heads"] = len(np.atleast_1d(state["block.0.attn.talking_heads.weight"]))
    events = channels == 2
    if family == "sdt":
        small = depth == 2 and classes in (0, 10, 100)  # the CIFAR and CIFAR10-DVS models; ImageNet's are deeper
        pooling = "0011" if small else "0111" if events else "1111"
    else:
        cifar = "block.0.attn.q_linear.weight" in state or first.endswith("block0_conv.weight")
        pooling = "0011" if cifar else "1111"
    patch = 2 ** pooling.count("1")
    size = 128 if events else 224 if patch == 16 else 32
    if family == "sdt" and events and classes != 11:
        size = 64
    if "pos_embed" in state:
        size = patch * math.isqrt(state["pos_embed"].shape[1])
    assumed = {
        "model.pooling": pooling,
        "model.attention_scale": 0.25 if family == "spikformer" and events else 0.125,
        "model.tau": 1.5 if family == "spikingformer" and events else 2.0,
        "model.dvs_mode": family == "sdt" and events and classes in (0, 10),
        "data.image_size": size,
    }
    if not head:
        assumed["data.num_classes"] = 1000 if size == 224 else 10
    if channels == 3 and patch == 16:  # the ImageNet models
        assumed["data.test_crop"] = 0.95 if family == "sdt" else 1.0
    return told, assumed
