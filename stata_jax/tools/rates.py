"""Firing rates of what enters the layers of a model, measured on images."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from stata_jax.models.transformer import SpikingTransformer


def input_rates(
    model: SpikingTransformer, variables: Any, images: jax.Array, *, key: jax.Array | None = None, train: bool = False
) -> dict[str, jax.Array]:
    """Mean of what enters each layer, for each image: of spikes the firing rate, of sums of spikes the spikes a number.

    It is taken where the layer takes its input, hence after a max-pool, a mask or a residual and not at the neuron
    before it, and over the tokens that are left.

    Args:
      model: The network.
      variables: `params` and `batch_stats`.
      images: Shape (B, H, W, C), or (T, B, H, W, C).
      key: A JAX random key, for the metric `random` alone.
      train: Whether to normalise by the batch, so that neurons of a fresh network fire.

    Returns:
      By the name of each layer with weights, as in `count_macs`, and by `block{l}/spikes/` q, k and v for the operands
      of attention; each of shape (B,).
    """
    _, updated = model.apply(variables, images, train=train, key=key, mutable=["batch_stats", "intermediates"])
    rates: dict[str, jax.Array] = {}
    for path, values in flatten_dict(updated["intermediates"]).items():
        *modules, name = path
        if name == "input":
            rates["/".join(modules)] = _image_means(values[-1])
        elif name == "head_input":
            rates["head"] = jnp.mean(values[-1].astype(jnp.float32), axis=(0, -1))
        elif name == "spikes":
            rates |= {f"{modules[0]}/spikes/{of}": _image_means(values[-1][of]) for of in "qkv"}
    return rates


def _image_means(x: jax.Array) -> jax.Array:
    """The mean of (T, B, ...) over all axes but the batch."""
    return jnp.mean(x.astype(jnp.float32), axis=(0, *range(2, x.ndim)))


def mean_rates(
    model: SpikingTransformer,
    variables: Any,
    batches: Iterable[Mapping[str, Any]],
    *,
    key: jax.Array | None = None,
    train: bool = False,
) -> dict[str, float]:
    """Input rates averaged over the images of all batches.

    Args:
      model: The network.
      variables: `params` and `batch_stats`.
      batches: Each with `image`, and with `mask` (B,) where some images are padding.
      key: A JAX random key, for the metric `random` alone.
      train: Whether to normalise by the batch.

    Returns:
      One number for each name, see `input_rates`.

    Raises:
      ValueError: If there is no image.
    """

    @jax.jit
    def look(variables: Any, images: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        rates = input_rates(model, variables, images, key=key, train=train)
        return {name: jnp.sum(rate * mask) for name, rate in rates.items()}

    sums: dict[str, float] = {}
    count = 0.0
    for batch in batches:
        images = batch["image"]
        mask = jnp.asarray(batch.get("mask", jnp.ones(images.shape[images.ndim - 4])), jnp.float32)
        count += float(jnp.sum(mask))
        for name, value in jax.device_get(look(variables, images, mask)).items():
            sums[name] = sums.get(name, 0.0) + float(value)
    if not count:
        raise ValueError("there is no image to measure rates on")
    return {name: value / count for name, value in sums.items()}
