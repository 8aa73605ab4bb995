"""The families, the published models by name, and models as a library call."""

import difflib
from typing import Any

from stata_jax import speed
from stata_jax.models.transformer import SpikingTransformer
from stata_jax.pruning.placement import prune_positions
from stata_jax.registries import FAMILIES

# The variants of each family: what differs from the defaults of the modules, in the words of their fields.
_VARIANTS: dict[tuple[str, str], dict[str, Any]] = {
    ("spikformer", "cifar"): {"qkv_bias": True},
    ("spikformer", "imagenet"): {"pooling": "1111"},
    ("spikformer", "dvs"): {"pooling": "1111", "timesteps": 16, "attention_scale": 0.25},
    ("spikingformer", "cifar"): {},
    ("spikingformer", "imagenet"): {"pooling": "1111"},
    ("spikingformer", "dvs"): {"pooling": "1111", "timesteps": 16, "tau": 1.5},
    ("spikingformer", "gesture"): {"pooling": "1111", "timesteps": 16, "tau": 1.5},
    ("sdt", "cifar"): {},
    ("sdt", "imagenet"): {"pooling": "1111"},
    ("sdt", "dvs"): {"timesteps": 10, "dvs_mode": True},
    ("sdt", "gesture"): {"pooling": "0111", "timesteps": 16},
}
# Depth, width and heads of the published models, from the authors' training programs.
_SIZES: dict[tuple[str, str], tuple[tuple[int, int, int], ...]] = {
    ("spikformer", "cifar"): ((4, 384, 12),),
    ("spikformer", "imagenet"): ((8, 384, 8), (8, 512, 8), (8, 768, 8)),
    ("spikformer", "dvs"): ((2, 256, 16),),
    ("spikingformer", "cifar"): ((4, 256, 8), (2, 384, 12), (4, 384, 12)),
    ("spikingformer", "imagenet"): ((8, 384, 8), (8, 512, 8), (8, 768, 8)),
    ("spikingformer", "dvs"): ((2, 256, 16),),
    ("spikingformer", "gesture"): ((2, 256, 16),),
    ("sdt", "cifar"): ((2, 256, 8), (2, 512, 8)),
    ("sdt", "imagenet"): ((8, 384, 8), (6, 512, 8), (8, 512, 8), (10, 512, 8), (8, 768, 8)),
    ("sdt", "dvs"): ((2, 256, 8),),
    ("sdt", "gesture"): ((2, 256, 8),),
}
# What is other where a model was published for another data set of the same shape, by name and number of classes.
_OTHER_CLASSES: dict[tuple[str, int], dict[str, Any]] = {("spikingformer_4_384", 100): {"heads": 8}}  # CIFAR-100
# Image size, channels and classes of the variants' data sets; the Spike-driven Transformer halves CIFAR10-DVS.
_DATA = {"cifar": (32, 3, 10), "imagenet": (224, 3, 1000), "dvs": (128, 2, 10), "gesture": (128, 2, 11)}


def _entries() -> dict[str, dict[str, Any]]:
    entries = {}
    for (family, variant), sizes in _SIZES.items():
        size, channels, classes = (64, 2, 10) if (family, variant) == ("sdt", "dvs") else _DATA[variant]
        for depth, dim, heads in sizes:
            settings = {"dim": dim, "depth": depth, "heads": heads} | _VARIANTS[family, variant]
            name = f"{family}_{depth}_{dim}" + (f"_{variant}" if channels == 2 else "")
            shape = (settings["timesteps"], size, size, channels) if channels == 2 else (size, size, channels)
            entries[name] = {"family": family, "settings": settings, "input": shape, "classes": classes}
    return entries


# By name: `family`, `settings` of its module, the shape of one `input` and the number of `classes`.
PUBLISHED: dict[str, dict[str, Any]] = _entries()


def create_model(
    name: str, *, num_classes: int | None = None, keep_rate: float = 1.0, **settings: Any
) -> SpikingTransformer:
    """Makes one of the published models, dense or with STATA's token sparsification.

        model = stata_jax.create_model("spikingformer_4_384", num_classes=100, keep_rate=0.2)
        variables = model.init(jax.random.key(0), images)
        logits, aux = model.apply(variables, images)

    Args:
      name: A key of `PUBLISHED`, `family_depth_width`, with `_dvs` (CIFAR10-DVS) or `_gesture` for event models.
      num_classes: Number of classes; None for that of the published model. 100 for a model of CIFAR-10 gives the one
        that was published for CIFAR-100, where Spikingformer has 8 heads and not 12.
      keep_rate: gamma, in (0, 1]. Below 1 there is an anchor token, and the paper's blocks for this depth prune.
      **settings: Any other field of the module, such as `timesteps=2` or `metric="ssa"`, or `ops`, which by default are
        the kernels that suit what JAX works on.

    Returns:
      A Flax module.

    Raises:
      ValueError: For an unknown name or setting, naming its neighbours, and for a keep rate outside (0, 1].
    """
    if name not in PUBLISHED:
        near = difflib.get_close_matches(name, PUBLISHED, n=3, cutoff=0.5) or list(PUBLISHED)
        raise ValueError(f"there is no published model {name!r}: did you mean {', '.join(near)}?")
    if not 0 < keep_rate <= 1:
        raise ValueError(f"keep_rate is {keep_rate}, but it must be above 0 and at most 1 (1 keeps all tokens)")
    entry = PUBLISHED[name]
    family = FAMILIES[entry["family"]]
    known = set(family.__dataclass_fields__) - {"parent", "name"}
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=3, cutoff=0.5) or sorted(known)
            raise ValueError(f"{name} has no setting {key!r}: did you mean {', '.join(near)}?")
    classes = entry["classes"] if num_classes is None else num_classes
    fields = entry["settings"] | _OTHER_CLASSES.get((name, classes), {})
    fields |= {"num_classes": classes, "keep_rate": keep_rate, "ops": speed.operations()}
    if keep_rate < 1:
        fields |= {"anchor": True, "prune_at": prune_positions(settings.get("depth", entry["settings"]["depth"]))}
    return family(**fields | settings)
