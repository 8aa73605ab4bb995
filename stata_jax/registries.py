"""What can be chosen by name in a config; it imports no JAX, so that a wrong name is said at once.

A registry holds where its objects are, `module:object`, and imports one when it is first asked for. To extend it, write
a file and add a line here, or leave this package as it is and do one of these:

    python -m stata_jax.main --config=digits --config.sparsity.metric=my_package.scores:entropy
    registries.METRICS.register("entropy", "my_package.scores:entropy")

The first is the same in every command. The second gives a name, and belongs where every command that is to know the
name comes by: a config file serves for training, but evaluating a run does not read it.
"""

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

from stata_jax.errors import ConfigError


class Registry(Mapping[str, Any]):
    """Objects by name, which are imported when they are first asked for.

    A text `module:object` stands for the object there, without being one of the names.
    """

    def __init__(self, entries: Mapping[str, object]) -> None:
        """Takes, by name, an object or where it is, `module:object`."""
        self._entries = dict(entries)

    def register(self, name: str, entry: object) -> None:
        """Adds an object under a name.

        Args:
          name: What a config says.
          entry: The object, or where it is, `module:object`.

        Raises:
          ValueError: If the name is taken by something else.
        """
        if self._entries.setdefault(name, entry) != entry:
            raise ValueError(f"there is another {name!r} already")

    def is_possible(self, name: object) -> bool:
        """Whether a text is a name, or `module:object` of a module that there is; nothing is imported but packages."""
        if not isinstance(name, str):
            return False
        module, colon, attribute = name.partition(":")
        try:
            return name in self or bool(colon and attribute and importlib.util.find_spec(module))
        except (ImportError, ValueError):
            return False

    def __getitem__(self, name: str) -> Any:
        """Returns the object of a name, or at `module:object`.

        Raises:
          KeyError: There is no such name.
          ConfigError: There is nothing of that name in the module.
        """
        entry = name if ":" in name else self._entries[name]
        if not isinstance(entry, str):
            return entry
        module, _, attribute = entry.partition(":")
        found = importlib.import_module(module)
        if not hasattr(found, attribute):
            raise ConfigError(f"there is no {attribute!r} in the module {module}, {found.__file__}")
        return getattr(found, attribute)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


class Sources(Registry):
    """Functions that open a data set, and what it has: `images` of one size, `pictures` of any size, `recordings`."""

    def __init__(self, entries: Mapping[str, Mapping[str, object]]) -> None:
        """Takes entries by kind, and in each by name."""
        super().__init__({name: entry for group in entries.values() for name, entry in group.items()})
        self._kinds = {name: kind for kind, group in entries.items() for name in group}

    def register(self, name: str, entry: object, *, kind: str = "images") -> None:
        """Adds a data set under a name, see `Registry.register`; `kind` is `images`, `pictures` or `recordings`."""
        super().register(name, entry)
        self._kinds[name] = kind

    def kind(self, name: str) -> str:
        """What a data set has; of `module:object`, what the attribute `kind` of that function says, or images."""
        return getattr(self[name], "kind", "images") if ":" in name else self._kinds.get(name, "none")


# Subclasses of `stata_jax.models.transformer.SpikingTransformer`.
FAMILIES = Registry(
    {
        "spikformer": "stata_jax.models.spikformer:Spikformer",
        "spikingformer": "stata_jax.models.spikingformer:Spikingformer",
        "sdt": "stata_jax.models.sdt:SpikeDrivenTransformer",
    }
)

# Functions that score tokens, see `stata_jax.pruning.metrics`.
METRICS = Registry(
    {
        "anchor": "stata_jax.pruning.metrics:anchor",
        "ssa": "stata_jax.pruning.metrics:ssa",
        "l1": "stata_jax.pruning.metrics:l1",
        "firing": "stata_jax.pruning.metrics:firing",
        "saliency": "stata_jax.pruning.metrics:saliency",
        "random": "stata_jax.pruning.metrics:random",
    }
)

# Functions of `stata_jax.data.options.SourceOptions` that return a `stata_jax.data.protocol.Source`.
SOURCES = Sources(
    {
        "images": {
            "digits": "stata_jax.data.sources.digits:open_digits",
            "cifar10": "stata_jax.data.sources.cifar:open_cifar",
            "cifar100": "stata_jax.data.sources.cifar:open_cifar",
        },
        "pictures": {
            "imagenet": "stata_jax.data.sources.imagenet:open_imagenet",
            "image_folder": "stata_jax.data.sources.image_folder:open_image_folder",
        },
        "recordings": {
            "cifar10_dvs": "stata_jax.data.sources.cifar10_dvs:open_cifar10_dvs",
            "dvs128_gesture": "stata_jax.data.sources.dvs128_gesture:open_dvs128_gesture",
            "nmnist": "stata_jax.data.sources.nmnist:open_nmnist",
            "digits_dvs": "stata_jax.data.sources.digits_dvs:open_digits_dvs",
        },
    }
)

# Functions (key, images) -> images that `augment.extra` names; the operations of the published recipes have options of
# their own.
AUGMENTATIONS = Registry({})

# Choices of one module each, which import them from here.
NEURONS = ("lif", "plif")
POOLS = ("all", "tokens")
SLOTS = ("sorted", "stable")
MATCHES = ("interpolate", "gather")
INTRA_TOKENS = ("patches", "slots")
DISTANCES = ("norm", "mse")
LOSSES = ("cross_entropy", "tet")
OPTIMIZERS = ("adamw", "lamb")
SCHEDULES = ("step", "epoch")
ON_NONFINITE = ("stop", "skip")
BATCH_NORMS = ("all", "device")
KERNELS = ("auto", "plain", "cpu", "gpu")
# Fields of `stata_jax.ops.operations.Operations` that kernels replace.
REPLACED = (
    "lif",
    "plif",
    "linear",
    "convolve",
    "normalize",
    "matmul_norm_lif",
    "max_pool",
    "attention",
    "multiply",
    "read_beside",
)
DTYPES = ("float32", "bfloat16")
FRAMES = ("count", "duration")
RANDAUGMENTS = ("fifteen", "five")
CUTOUTS = ("side", "area")
