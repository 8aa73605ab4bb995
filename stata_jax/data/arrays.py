"""A data set that lives on the device as a whole, for sets as small as CIFAR.

The images are moved there once, as uint8 (150 MB for CIFAR); a batch is a gather by the epoch's order.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from stata_jax.data.batches import Plan, Planned
from stata_jax.data.draws import epoch_order
from stata_jax.data.options import SourceOptions
from stata_jax.streams import PRNG, Stream, stream_key


@partial(jax.jit, static_argnames="examples")
def _order(key: jax.Array, epoch: jax.Array, *, examples: int) -> jax.Array:
    return epoch_order(jax.random.fold_in(key, epoch), examples)


@partial(jax.jit, static_argnames="size")
def _gather_run(
    images: jax.Array, labels: jax.Array, order: jax.Array, start: jax.Array, *, size: int
) -> dict[str, jax.Array]:
    indices = jax.lax.dynamic_slice(order, (start,), (size,))
    return {"image": images[indices], "label": labels[indices]}


@jax.jit
def _gather(images: jax.Array, labels: jax.Array, indices: jax.Array) -> dict[str, jax.Array]:
    return {"image": images[indices], "label": labels[indices]}


class ArraySource(Planned):
    """Batches of arrays on the device, a `Source`.

    The order of an epoch is a permutation that follows from the seed and the epoch alone.
    """

    def __init__(
        self,
        train: tuple[np.ndarray, np.ndarray],
        test: tuple[np.ndarray, np.ndarray],
        options: SourceOptions,
        *,
        num_classes: int,
    ) -> None:
        """Moves the data to the device.

        Args:
          train: Images (N, ...) uint8 and labels (N,) of the training set.
          test: The same of the test set.
          options: Batch sizes, processes, and the seed of the order of the epochs.
          num_classes: Number of classes; the labels are below it.

        Raises:
          DataError: If there are fewer images than a batch.
          ValueError: If the arrays do not fit each other, or a batch does not divide over the processes.
        """
        for images, labels in (train, test):
            if images.dtype != np.uint8 or len(images) != len(labels) or images.shape[1:] != train[0].shape[1:]:
                raise ValueError(f"{len(labels)} labels do not fit {images.dtype} images {images.shape}")
            if len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
                raise ValueError(f"labels must be from 0 to {num_classes - 1}, got {labels.min()} to {labels.max()}")
        self.plan = Plan.of(options, train=len(train[1]), test=len(test[1]))
        self.num_classes = num_classes
        self.image_shape: tuple[int, ...] = train[0].shape[1:]
        self._train, self._test = (
            (jnp.asarray(images), jnp.asarray(labels, jnp.int32)) for images, labels in (train, test)
        )
        self._key = stream_key(options.seed, Stream.ORDER, impl=PRNG)
        self._shuffled: tuple[int, jax.Array] | None = None  # the latest epoch and its order

    def train_batch(self, epoch: int, step: int) -> dict[str, jax.Array]:
        """Batch `step` of an epoch, see `Source.train_batch`.

        Raises:
          ValueError: If there is no such epoch or step.
        """
        start = self.plan.train_start(epoch, step)
        if self._shuffled is None or self._shuffled[0] != epoch:
            self._shuffled = int(epoch), _order(self._key, np.int32(epoch), examples=self.train_examples)
        batch: dict[str, jax.Array] = _gather_run(
            *self._train, self._shuffled[1], np.int32(start), size=self.plan.share
        )
        return batch

    def test_batch(self, step: int) -> dict[str, jax.Array]:
        """Batch `step` of the test set, see `Source.test_batch`.

        Raises:
          ValueError: If there is no such step.
        """
        positions, mask = self.plan.test_positions(step)
        return {**_gather(*self._test, positions), "mask": jnp.asarray(mask)}
