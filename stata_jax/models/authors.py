"""Weights of the published PyTorch models under the authors' names, and ours: renamed and laid out, both ways."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

Path = tuple[str, ...]  # from the collection down, such as ("params", "block0", "mlp", "up", "linear", "kernel")


@dataclasses.dataclass(frozen=True)
class Style:
    """How one of the authors' programs names and shapes its arrays; `{}` stands for conv, linear, bn or lif."""

    stem: tuple[str, ...]  # the five convolutions of the patch embedding
    mlp: tuple[str, str]
    product: str = "conv"  # what a product in a block is called
    attention_axes: int = 1  # axes of length 1 that its kernel carries in attention
    mlp_axes: int = 2
    unused: tuple[str, ...] = ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias")  # in each block


_NUMBERED_LAST = ("proj_{}", "proj_{}1", "proj_{}2", "proj_{}3", "rpe_{}")
_FC = ("fc1_{}", "fc2_{}")
_MLP = ("mlp1_{}", "mlp2_{}")
STYLES: dict[str, dict[str, Style]] = {
    "spikformer": {
        "cifar": Style(_NUMBERED_LAST, _FC, "linear", 0, 0),
        "events": Style(_NUMBERED_LAST, _FC, mlp_axes=1),
        "other": Style(_NUMBERED_LAST, _FC),
    },
    "spikingformer": {
        "cifar": Style(tuple(f"block{i}_{{}}" for i in range(5)), _MLP),
        "other": Style(("proj_{}", "proj1_{}", "proj2_{}", "proj3_{}", "proj4_{}"), _MLP),
    },
    "sdt": {"other": Style(_NUMBERED_LAST, _FC, attention_axes=2, unused=("attn.talking_heads.weight",))},
}
# What the authors' checkpoints carry and their models never use, beside the counters of their normalisations.
_UNUSED = {
    "spikformer": r"block\.\d+\.norm[12]\.(weight|bias)|pos_embed|norm\.(weight|bias)",
    "spikingformer": r"block\.\d+\.norm[12]\.(weight|bias)",
    "sdt": r"block\.\d+\.attn\.(talking_heads\.weight|attn_lif\.w)|patch_embed\.rpe_lif\.w",
}
TITLES = {"spikformer": "Spikformer", "spikingformer": "Spikingformer", "sdt": "Spike-driven Transformer"}
HEAD = ("head.weight", "head.bias")
_NORM = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}


def style_of(family: str, *, pooling: str, qkv_bias: bool, channels: int) -> Style:
    """The style of a family's published variant: each was written apart from the others."""
    if family == "spikformer":
        return STYLES[family]["cifar" if qkv_bias else "events" if channels == 2 else "other"]
    if family == "spikingformer":
        return STYLES[family]["cifar" if pooling.count("1") == 2 else "other"]
    return STYLES[family]["other"]


def depth_of(keys: Iterable[str]) -> int:
    """Number of blocks that the authors' names mention."""
    return 1 + max((int(found[1]) for key in keys if (found := re.match(r"block\.(\d+)\.", key))), default=-1)


def family_of(state: Mapping[str, np.ndarray]) -> str | None:
    """Which family's model a state dict is of, by names and shapes that no other family has; None if it is of none."""
    if any(re.fullmatch(r"block\.\d+\.mlp\.mlp[12]_conv\.weight", name) for name in state):
        return "spikingformer"
    fc1, q = (
        next((state[name] for name in state if re.fullmatch(rf"block\.\d+\.{part}_(conv|linear)\.weight", name)), None)
        for part in (r"mlp\.fc1", r"attn\.q")
    )
    if fc1 is None or q is None:
        return None
    return "sdt" if np.ndim(q) == 4 else "spikformer"  # convolutions of images, or of rows of tokens and products


def check_family(state: Mapping[str, np.ndarray], family: str) -> None:
    """Raises ValueError for an unknown family, or where a state dict is of another one, which it names."""
    if family not in STYLES:
        raise ValueError(f"unknown family {family!r}: known are {', '.join(STYLES)}")
    found = family_of(state)
    if found not in (None, family):
        raise ValueError(f"this file holds a {TITLES[found]}, not a {TITLES[family]}: its family is {found}")


def key_table(style: Style, *, depth: int) -> dict[str, Path]:
    """Where each of the authors' arrays belongs in our variables.

    Args:
      style: How the authors name them.
      depth: Number of blocks.

    Returns:
      Our path by the authors' name, for all parameters and statistics, those of learned time constants included.
    """
    table: dict[str, Path] = {"anchor": ("params", "anchor")}  # ours: the authors' models have none
    table |= {"head.weight": ("params", "head", "kernel"), "head.bias": ("params", "head", "bias")}
    for i, name in enumerate(style.stem):
        _add_layer(table, f"patch_embed.{name}", ("stem", f"conv{i}"), "conv", "conv")
        if i < 4:
            table[f"patch_embed.{name.format('lif')}.w"] = ("params", "stem", f"lif_{i}", "w")
    table["head_lif.w"] = ("params", "lif_head", "w")
    for l in range(depth):
        block, attention = f"block.{l}", (f"block{l}", "attention")
        for theirs, ours in {"q": "q", "k": "k", "v": "v", "proj": "projection"}.items():
            _add_layer(table, f"{block}.attn.{theirs}_{{}}", (*attention, ours), style.product, "linear")
        for theirs, ours in zip(style.mlp, ("up", "down"), strict=True):
            _add_layer(table, f"{block}.mlp.{theirs}", (f"block{l}", "mlp", ours), style.product, "linear")
        for theirs, ours in {"shortcut": "in", "q": "q", "k": "k", "v": "v", "talking_heads": "kv"}.items():
            table[f"{block}.attn.{theirs}_lif.w"] = ("params", *attention, f"lif_{ours}", "w")
        for theirs, ours in {"fc1": "in", "fc2": "hidden"}.items():
            table[f"{block}.mlp.{theirs}_lif.w"] = ("params", f"block{l}", "mlp", f"lif_{ours}", "w")
    return table


def _add_layer(table: dict[str, Path], theirs: str, ours: Path, product: str, module: str) -> None:
    """Adds a product and its normalisation; both sides have a word for the product."""
    for leaf, name in {"weight": "kernel", "bias": "bias"}.items():
        table[f"{theirs.format(product)}.{leaf}"] = ("params", *ours, module, name)
    for leaf, (collection, name) in _NORM.items():
        table[f"{theirs.format('bn')}.{leaf}"] = (collection, *ours, "norm", name)


def import_state(state: Mapping[str, np.ndarray], *, family: str) -> dict[str, Any]:
    """Turns an authors' state dict into our variables.

    Args:
      state: Arrays by the authors' names; gradients or running statistics by those names work as well.
      family: `spikformer`, `spikingformer` or `sdt`.

    Returns:
      Nested dictionaries with the collections `params` and `batch_stats`, float32.

    Raises:
      ValueError: For an unknown family, weights of another family, and keys that are none of the family's, which it
        names.
    """
    check_family(state, family)
    table: dict[str, Path] = {}
    for style in STYLES[family].values():
        table |= key_table(style, depth=depth_of(state))
    counters = {f"{key.removesuffix('running_var')}num_batches_tracked" for key in table if key.endswith("running_var")}
    leftover = [key for key in state if key not in table | dict.fromkeys(counters)]
    leftover = [key for key in leftover if not re.fullmatch(_UNUSED[family], key)]
    if leftover:
        raise ValueError(f"no parameters of the published {family} models: {', '.join(leftover)}")
    placed = {table[key]: our_layout(np.asarray(array, np.float32)) for key, array in state.items() if key in table}
    return {"params": {}, "batch_stats": {}} | dict(unflatten_dict(placed))


def export_state(variables: Mapping[str, Any], style: Style, *, depth: int) -> dict[str, np.ndarray]:
    """Turns our variables into an authors' state dict, the reverse of `import_state`.

    The arrays that their models carry and never use in blocks are not made up here.

    Args:
      variables: `params` and `batch_stats`.
      style: How the authors name them.
      depth: Number of blocks.

    Returns:
      float32 arrays by the authors' names; an anchor token, which their models do not have, as `anchor`.

    Raises:
      ValueError: If a variable has no name in that style.
    """
    by_path = {path: key for key, path in key_table(style, depth=depth).items()}
    state = {}
    for path, array in flatten_dict(variables).items():
        if path not in by_path:
            raise ValueError(f"{'/'.join(path)} has no name in the authors' models")
        key = by_path[path]
        axes = style.mlp_axes if ".mlp." in key else style.attention_axes if ".attn." in key else 0
        state[key] = np.array(their_layout(np.asarray(array, np.float32), path, axes=axes), order="C")
    return state


def our_layout(array: np.ndarray) -> np.ndarray:
    """An authors' weight in our layout: convolutions (H, W, in, out), products (in, out), vectors as they are."""
    if array.ndim == 4 and array.shape[2:] != (1, 1):
        return np.transpose(array, (2, 3, 1, 0))
    if array.ndim >= 2 and array.size == array.shape[0] * array.shape[1]:
        return array.reshape(array.shape[:2]).T
    return array


def their_layout(array: np.ndarray, path: Path, *, axes: int) -> np.ndarray:
    """The reverse of `our_layout`; a product's kernel gets `axes` axes of length 1."""
    if path[-1] != "kernel":
        return array
    if array.ndim == 4:
        return np.transpose(array, (3, 2, 0, 1))
    return array.T.reshape(*array.T.shape, *(1,) * axes)


def unused_arrays(
    state: Mapping[str, np.ndarray], style: Style, *, heads: int, positions: int | None
) -> dict[str, np.ndarray]:
    """Arrays that the authors' models carry without using them.

    With them, the published variants load strictly.

    Args:
      state: The arrays that are used, by the authors' names.
      style: How the authors name them.
      heads: h.
      positions: Number of patches, for a family variant with a position embedding; else None.

    Returns:
      Arrays at their initial values, by the authors' names.
    """
    width = state["head.weight"].shape[1]
    norm = {"weight": np.ones(width, np.float32), "bias": np.zeros(width, np.float32)}
    unused: dict[str, np.ndarray] = {}
    for l in range(depth_of(state)):
        for name in style.unused:
            mixing = name.startswith("attn.talking_heads")
            value = np.zeros((heads, heads, 1), np.float32) if mixing else norm[name.rpartition(".")[2]]
            unused[f"block.{l}.{name}"] = value
        if "head_lif.w" in state:
            unused[f"block.{l}.attn.attn_lif.w"] = np.zeros((), np.float32)
    if "head_lif.w" in state:
        unused["patch_embed.rpe_lif.w"] = np.zeros((), np.float32)
    if positions is not None:
        unused |= {"pos_embed": np.zeros((1, positions, width), np.float32)}
        unused |= {f"norm.{name}": value for name, value in norm.items()}
    counters = (key.removesuffix("running_var") for key in state if key.endswith("running_var"))
    return unused | {f"{layer}num_batches_tracked": np.zeros((), np.int64) for layer in counters}
