"""Synaptic operations and theoretical energy of a model, layer by layer, from measured firing rates.

A matmul of spikes with weights only adds up the weights where spikes are: an accumulate (AC) for each. A matmul of
real numbers needs a multiply-accumulate (MAC) for each weight. The OPs of published tables are the ACs alone.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax

from stata_jax.models.transformer import SpikingTransformer
from stata_jax.registries import FAMILIES
from stata_jax.tools.operations import count_macs
from stata_jax.tools.rates import mean_rates

MAC, AC = "MAC", "AC"
_PICOJOULES = {MAC: 4.6, AC: 0.9}  # of one 32-bit operation at 45 nm (Horowitz, ISSCC 2014)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One matmul of a model, for one image.

    Attributes:
      name: As `count_macs` names it.
      macs: Multiply-accumulates over all timesteps, were the input dense.
      rate: Firing rate of the input; 1 where real numbers come in.
      kind: `MAC` or `AC`.
    """

    name: str
    macs: int
    rate: float
    kind: str

    @property
    def operations(self) -> float:
        """What is really done, operations of the layer's kind: `rate * macs`."""
        return self.rate * self.macs


def kind_of(name: str, *, family: str, sums_as_macs: bool = False) -> str:
    """Which kind of operation a layer needs, by what comes in.

    Args:
      name: As `count_macs` names it.
      family: `spikformer`, `spikingformer` or `sdt`.
      sums_as_macs: See `layer_operations`.

    Returns:
      `MAC` for the first convolution, and for a head that takes a mean of tokens, which the Spike-driven Transformer's
      does not; `AC` for the others.
    """
    head = name == "head" and family != "sdt"
    sums = sums_as_macs and family == "spikformer" and name.endswith(("/q", "/k", "/v", "/up"))
    return MAC if name == "stem/conv0" or head or sums else AC


def layer_operations(
    rates: Mapping[str, float],
    *,
    once: bool = False,
    cheaper: bool = False,
    sums_as_macs: bool = False,
    **sizes: Any,
) -> list[Layer]:
    """Operations of each layer for one image.

        operations = r_in * T * MACs of a timestep

    as ACs where spikes come in, as MACs with `r_in = 1` where real numbers do: in the first convolution, and in the
    head of Spikformer and Spikingformer, which takes a mean of tokens. Attention of a block with `n` tokens:

        T h n d_h^2 (min(r_k, r_v) + r_q),   d_h = D / h

    and in the Spike-driven Transformer, which has sums and masks instead of matmuls, `T n D (min(r_k, r_v) + r_q)`.
    Normalisation, neurons, pooling, biases and the ranking of tokens are not counted. Numbers of tokens are those that
    are left after pruning, the anchor included.

    By default this counts as the published figures do; each option is another way.

    Args:
      rates: Firing rates of the inputs by name, as `mean_rates` returns them.
      once: Whether the first convolution counts once and not T times. A static image is the same at each timestep, and
        the models here convolve it once; the published figures count all T. A recording differs at each.
      cheaper: Whether attention counts as it is computed here: in the order `(Q K^T) V` where a block has no more
        tokens than `d_h`, so that it is `T h n^2 d_h (min(r_q, r_k) + r_v)`. The published formula is that of
        `Q (K^T V)`, whatever the number of tokens.
      sums_as_macs: Whether a matmul with sums of spikes, which are whole numbers, counts as MACs at rate 1. By
        default a 2 counts as two spikes; the authors of Spikingformer take binary inputs alone for spikes. Such sums
        enter q, k, v and the MLP's first layer in Spikformer.
      **sizes: All arguments of `count_macs`.

    Returns:
      The layers in their order, with the names of `count_macs`.

    Raises:
      ValueError: If a rate is missing, or as `count_macs`.

    Source: Spikingformer (Zhou et al., 2023) and its published logs; STATA, Tables 2 and 6.
    """
    macs = count_macs(**sizes)
    family, timesteps, dim = sizes["family"], sizes["timesteps"], sizes["dim"]
    width = dim // sizes["heads"]

    def rate_of(name: str) -> float:
        if name not in rates:
            raise ValueError(f"rates has no {name}, which is needed to count: it has {', '.join(rates) or 'none'}")
        return float(rates[name])

    layers = []
    for name, count in macs.items():
        block, _, part = name.partition("/attention/")
        if kind_of(name, family=family, sums_as_macs=sums_as_macs) == MAC:
            layers.append(Layer(name, count // timesteps if once and name == "stem/conv0" else count, 1.0, MAC))
        elif part in ("map", "value"):
            q, k, v = (rate_of(f"{block}/spikes/{spikes}") for spikes in "qkv")
            tokens = macs[f"{block}/attention/q"] // (timesteps * dim**2)
            if family != "sdt" and not cheaper:
                count = timesteps * tokens * dim * width
            map_first = cheaper and family != "sdt" and tokens <= width
            first, second = (min(q, k), v) if map_first else (min(k, v), q)
            layers.append(Layer(name, count, first if part == "map" else second, AC))
        else:
            layers.append(Layer(name, count, rate_of(name), AC))
    return layers


def total(layers: Iterable[Layer], kind: str) -> float:
    """Operations of one kind, `MAC` or `AC`, in all layers."""
    return sum(layer.operations for layer in layers if layer.kind == kind)


def energy_mj(layers: Sequence[Layer]) -> float:
    """Theoretical energy of one image at 45 nm, in millijoules: `4.6 GMAC + 0.9 GAC`.

    Args:
      layers: As `layer_operations` returns them.

    Returns:
      The energy.

    Source: Horowitz, ISSCC 2014, for the energy of an operation; Spikingformer (Zhou et al., 2023).
    """
    return sum(picojoules * total(layers, kind) for kind, picojoules in _PICOJOULES.items()) * 1e-9


def totals(layers: Sequence[Layer]) -> dict[str, float]:
    """What all layers of one image need: `ac`, `mac` and `energy_mj`, which are never added up."""
    return {"ac": total(layers, AC), "mac": total(layers, MAC), "energy_mj": energy_mj(layers)}


def model_sizes(model: SpikingTransformer, image_shape: Sequence[int]) -> dict[str, Any]:
    """The arguments of `count_macs` for a model.

    Args:
      model: The network.
      image_shape: `(..., H, W, C)`; of a batch of recordings `(T, B, H, W, C)`, whose T is taken.

    Returns:
      Arguments by name.

    Raises:
      ValueError: If the images are not square.
    """
    height, width, channels = image_shape[-3:]
    if height != width:
        raise ValueError(f"operations are counted for square images, got {height}x{width}")
    names = ("dim", "depth", "heads", "mlp_ratio", "pooling", "num_classes", "keep_rate", "anchor")
    return {name: getattr(model, name) for name in names} | {
        "family": next(name for name, family in FAMILIES.items() if isinstance(model, family)),
        "image_size": height,
        "channels": channels,
        "timesteps": image_shape[0] if len(image_shape) == 5 else model.timesteps,
        "prune_at": tuple(model.prune_at),
    }


def model_operations(
    model: SpikingTransformer, variables: Any, images: jax.Array, *, train: bool = False, **options: bool
) -> list[Layer]:
    """Operations of each layer of a model for one image, with rates measured on a batch.

    Args:
      model: The network.
      variables: `params` and `batch_stats`.
      images: Shape (B, H, W, C), or (T, B, H, W, C).
      train: Whether to normalise by the batch, so that neurons of a fresh network fire.
      **options: `once`, `cheaper` and `sums_as_macs`, see `layer_operations`.

    Returns:
      The layers; `energy_mj` adds them up.

    Raises:
      ValueError: If the images are not square, or recordings are to be counted once.
    """
    if options.get("once") and images.ndim == 5:
        raise ValueError("a recording has other frames at each timestep, so its first convolution counts at each")
    rates = mean_rates(model, variables, [{"image": images}], train=train)
    return layer_operations(rates, **options, **model_sizes(model, images.shape))
