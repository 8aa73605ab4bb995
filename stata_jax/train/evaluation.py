"""Accuracy, and how well the kept tokens cover the digit, over a whole test set: every image counts once."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from stata_jax.pruning.coverage import coverage_means
from stata_jax.train.parallel import shard

_NEEDED = ("image", "label", "mask", "corner")  # the last one where there is one


def evaluate(
    step: Callable[..., dict[str, Any]],
    variables: Any,
    batches: Iterable[dict[str, jax.Array]],
    *,
    key: jax.Array,
) -> dict[str, Any]:
    """Runs the mapped evaluation step over the test batches.

    Args:
      step: `eval_step`, mapped over the devices.
      variables: Replicated `params` and `batch_stats`.
      batches: Batches with `image`, `label` and `mask`, and `corner` where it is known; padding has a false mask.
      key: A JAX random key, for the metric `random` alone.

    Returns:
      `top1` and `top5`, shares from 0 to 1, `loss`, the mean cross entropy, and `images`, how many were counted. If the
      step tells it, also `coverage` and `coverage_chance`, see `coverage_means`. All are plain numbers.

    Raises:
      ValueError: If there are no batches.
    """
    sums: dict[str, Any] | None = None
    for i, batch in enumerate(batches):
        inputs = shard({name: batch[name] for name in _NEEDED if name in batch})
        counted = jax.device_get(step(variables, inputs, jax.random.fold_in(key, i)))
        # Summed over the devices already: any copy will do.
        first = jax.tree.map(lambda x: np.asarray(x[0], np.float64), counted)
        sums = first if sums is None else jax.tree.map(np.add, sums, first)
    if sums is None:
        raise ValueError("there are no test batches: raise data.test_examples")
    images, covered = int(sums.pop("count")), sums.pop("coverage", None)
    result: dict[str, Any] = {name: float(total) / images for name, total in sums.items()} | {"images": images}
    return result if covered is None else result | coverage_means(covered, images)
