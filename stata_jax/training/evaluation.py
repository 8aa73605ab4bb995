"""Accuracy over a whole test set: every image counts once."""

from collections.abc import Callable, Iterable
from typing import Any

import jax

from stata_jax.training.parallel import shard


def evaluate(
    step: Callable[..., dict[str, jax.Array]],
    variables: Any,
    batches: Iterable[dict[str, jax.Array]],
    *,
    key: jax.Array,
) -> dict[str, float]:
    """Runs the mapped evaluation step over the test batches.

    Args:
      step: `eval_step`, mapped over the devices.
      variables: Replicated `params` and `batch_stats`.
      batches: Batches with `image`, `label` and `mask`; padding has a false mask.
      key: A JAX random key, for the metric `random` alone.

    Returns:
      `top1` and `top5`, shares from 0 to 1, `loss`, the mean cross entropy, and `images`, how many were counted.
    """
    sums: dict[str, float] = {"top1": 0, "top5": 0, "loss": 0.0, "count": 0}
    for i, batch in enumerate(batches):
        inputs = shard({name: batch[name] for name in ("image", "label", "mask")})
        counted = step(variables, inputs, jax.random.fold_in(key, i))
        for name in sums:
            sums[name] += counted[name][0].item()  # summed over the devices already: any copy will do
    images = sums.pop("count")
    return {name: total / images for name, total in sums.items()} | {"images": images}
