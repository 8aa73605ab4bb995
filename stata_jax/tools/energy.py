"""Synaptic operations and theoretical energy of a model, layer by layer, from measured firing rates.

A matmul of spikes with weights only adds up the weights where spikes are: an accumulate (AC) for each. A matmul of
real numbers needs a multiply-accumulate (MAC) for each weight. The OPs of published tables are the ACs alone.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax

from stata_jax.models.transformer import SpikingTransformer
from stata_jax.tools.operations import REAL, SUMS, MatmulCount, matmuls
from stata_jax.tools.rates import mean_rates

MAC, AC = "MAC", "AC"
_PICOJOULES = {MAC: 4.6, AC: 0.9}  # of one 32-bit operation at 45 nm (Horowitz, ISSCC 2014)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One matmul of a model, for one image.

    Attributes:
      name: As `matmuls` names it.
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


def layer_operations(
    rates: Mapping[str, float],
    matmuls: Sequence[MatmulCount],
    *,
    once: bool = False,
    cheaper: bool = False,
    sums_as_macs: bool = False,
) -> list[Layer]:
    """Operations of each layer for one image.

        operations = r_in * T * MACs of a timestep

    as ACs where spikes come in, as MACs with `r_in = 1` where real numbers do: in the first convolution, and in a head
    that takes a mean of tokens, as those of Spikformer and Spikingformer do. Attention of a block with `n` tokens:

        T h n d_h^2 (min(r_k, r_v) + r_q),   d_h = D / h

    and with sums and masks instead of matmuls, as in the Spike-driven Transformer, `T n D (min(r_k, r_v) + r_q)`.
    Normalisation, neurons, pooling, biases and the ranking of tokens are not counted. Numbers of tokens are those that
    are left after pruning, the anchor included.

    By default this counts as the published figures do; each option is another way.

    Args:
      rates: Firing rates of the inputs by name, as `mean_rates` returns them.
      matmuls: Of the model, see `stata_jax.tools.operations.matmuls`.
      once: Whether the first convolution counts once and not T times. A static image is the same at each timestep, and
        the models here convolve it once; the published figures count all T. A recording differs at each.
      cheaper: Whether attention counts as it is computed here: in the order `(Q K^T) V` where a block has no more
        tokens than `d_h`, so that it is `T h n^2 d_h (min(r_q, r_k) + r_v)`. The published formula is that of
        `Q (K^T V)`, whatever the number of tokens.
      sums_as_macs: Whether a matmul with sums of spikes, which are whole numbers, counts as MACs at rate 1. By
        default a 2 counts as two spikes; the authors of Spikingformer take binary inputs alone for spikes. Such sums
        enter q, k, v and the MLP's first layer in Spikformer.

    Returns:
      The layers in their order, with the names of the matmuls.

    Raises:
      ValueError: If a rate is missing.

    Source: Spikingformer (Zhou et al., 2023) and its published logs; STATA, Tables 2 and 6.
    """

    def rate_of(name: str) -> float:
        if name not in rates:
            raise ValueError(f"rates has no {name}, which is needed to count: it has {', '.join(rates) or 'none'}")
        return float(rates[name])

    layers = []
    for each in matmuls:
        block, _, part = each.name.partition("/attention/")
        if each.takes in REAL or (sums_as_macs and each.takes == SUMS):
            layers.append(Layer(each.name, each.macs // each.repeats if once else each.macs, 1.0, MAC))
        elif each.tokens:
            q, k, v = (rate_of(f"{block}/spikes/{spikes}") for spikes in "qkv")
            count = each.macs if cheaper else each.inputs * (each.width or 1)
            map_first = cheaper and each.tokens <= each.width
            first, second = (min(q, k), v) if map_first else (min(k, v), q)
            layers.append(Layer(each.name, count, first if part == "map" else second, AC))
        else:
            layers.append(Layer(each.name, each.macs, rate_of(each.name), AC))
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
      ValueError: If recordings are to be counted once.
    """
    if options.get("once") and images.ndim == 5:
        raise ValueError("a recording has other frames at each timestep, so its first convolution counts at each")
    rates = mean_rates(model, variables, [{"image": images}], train=train)
    shape = images.shape[1:] if images.ndim == 4 else (images.shape[0], *images.shape[2:])
    return layer_operations(rates, matmuls(model, shape), **options)
