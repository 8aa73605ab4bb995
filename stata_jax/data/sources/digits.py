"""Epochs and batches of cluttered digits.

Every image is drawn where it is used, from numbers alone: training image `i` of an epoch from (seed, epoch, i), test
image `i` from (test_seed, i). Nothing is stored, shuffled or skipped, so a run resumes by asking for the next step.
"""

import math
from dataclasses import asdict, dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from stata_jax.data.digits import NUM_CLASSES, DigitBank, cluttered_digit, load_banks
from stata_jax.streams import PRNG, Stream, stream_key

_ORDER = np.uint32(2**32 - 1)  # folded in for the order of an epoch; no image has this index


@dataclass(frozen=True)
class SceneOptions:
    """How an image is composed, as in `cluttered_digit`; hashable, hence static under `jax.jit`."""

    image_size: int
    fragment: int
    clutter: int
    noise: float
    channels: int = 1


def draw_images(key: jax.Array, bank: DigitBank, indices: jax.Array, *, options: SceneOptions) -> dict[str, jax.Array]:
    """Draws images by index: image `i` shows digit `i % n` of the bank and is drawn from `fold_in(key, i)`.

    Args:
      key: PRNG key of the epoch or of the test set.
      bank: the split's `n` digits.
      indices: `(B,)` int32.
      options: size, clutter, noise and channels, which are all the same.

    Returns:
      `image` `(B, H, W, C)` float32, `label` `(B,)` int32, `corner` `(B, 2)` int32.
    """

    def draw(index: jax.Array) -> dict[str, jax.Array]:
        digit = index % bank.labels.shape[0]
        return cluttered_digit(jax.random.fold_in(key, index), bank.images, bank.labels, digit, **scene)

    scene = asdict(options)
    channels = scene.pop("channels")
    drawn = jax.vmap(draw)(indices)
    return drawn | {"image": jnp.repeat(drawn["image"], channels, axis=-1)}


def epoch_order(key: jax.Array, examples: int) -> jax.Array:
    """The order in which an epoch shows its images: a permutation of `0 .. examples - 1`, `(examples,)` int32."""
    return jax.random.permutation(jax.random.fold_in(key, _ORDER), jnp.arange(examples, dtype=jnp.int32))


@partial(jax.jit, static_argnames=("examples", "batch_size", "options"))
def _draw_train_batch(
    key: jax.Array,
    bank: DigitBank,
    epoch: jax.Array,
    step: jax.Array,
    *,
    examples: int,
    batch_size: int,
    options: SceneOptions,
) -> dict[str, jax.Array]:
    epoch_key = jax.random.fold_in(key, epoch)
    order = epoch_order(epoch_key, examples)
    indices = jax.lax.dynamic_slice(order, (step * batch_size,), (batch_size,))
    return draw_images(epoch_key, bank, indices, options=options)


@partial(jax.jit, static_argnames=("examples", "batch_size", "options"))
def _draw_test_batch(
    key: jax.Array, bank: DigitBank, step: jax.Array, *, examples: int, batch_size: int, options: SceneOptions
) -> dict[str, jax.Array]:
    position = step * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
    batch = draw_images(key, bank, position % examples, options=options)
    return {**batch, "mask": position < examples}


@dataclass(frozen=True, eq=False)
class DigitsSource:
    """Batches of cluttered digits; made by `make_source`.

    Attributes:
      train_bank, test_bank: digits of each split, without a common original.
      train_key: PRNG key of the run's scenes.
      test_key: PRNG key of the test scenes.
      options: size, clutter and noise of the images.
      train_examples: training images per epoch.
      test_examples: test images.
      batch_size: images per training batch.
      eval_batch_size: images per test batch.
    """

    train_bank: DigitBank
    test_bank: DigitBank
    train_key: jax.Array
    test_key: jax.Array
    options: SceneOptions
    train_examples: int
    test_examples: int
    batch_size: int
    eval_batch_size: int

    @property
    def num_classes(self) -> int:
        """Number of classes that there are images of; a network may have more outputs."""
        return NUM_CLASSES

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)` of an image."""
        return (self.options.image_size, self.options.image_size, self.options.channels)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; what is left over is not shown in that epoch."""
        return self.train_examples // self.batch_size

    @property
    def test_steps(self) -> int:
        """Batches that hold every test image; the last may be padded."""
        return math.ceil(self.test_examples / self.eval_batch_size)

    def train_batch(self, epoch: int, step: int) -> dict[str, jax.Array]:
        """Draws batch `step` of an epoch, the same one whenever it is asked for.

        Args:
          epoch: from 0.
          step: within the epoch, `0 <= step < steps_per_epoch`.

        Returns:
          `image` `(B, H, W, C)` float32 in [0, 1], `label` `(B,)` int32, `corner` `(B, 2)` int32, the row and column
          of the digit's top-left pixel.

        Raises:
          ValueError: no such epoch or step.
        """
        if epoch < 0:
            raise ValueError(f"epoch must be 0 or more, got {epoch}")
        _check_step(step, self.steps_per_epoch)
        batch: dict[str, jax.Array] = _draw_train_batch(
            self.train_key,
            self.train_bank,
            np.int32(epoch),
            np.int32(step),
            examples=self.train_examples,
            batch_size=self.batch_size,
            options=self.options,
        )
        return batch

    def test_batch(self, step: int) -> dict[str, jax.Array]:
        """Draws batch `step` of the test set, which depends on the test seed alone.

        Args:
          step: `0 <= step < test_steps`.

        Returns:
          As `train_batch`, and `mask` `(B,)` bool: False where the last batch is padded with images shown before.

        Raises:
          ValueError: no such step.
        """
        _check_step(step, self.test_steps)
        batch: dict[str, jax.Array] = _draw_test_batch(
            self.test_key,
            self.test_bank,
            np.int32(step),
            examples=self.test_examples,
            batch_size=self.eval_batch_size,
            options=self.options,
        )
        return batch


def _check_step(step: int, steps: int) -> None:
    if not 0 <= step < steps:
        raise ValueError(f"step must be from 0 to {steps - 1}, got {step}")


def make_source(
    *,
    image_size: int,
    train_examples: int,
    test_examples: int,
    test_seed: int,
    size: int,
    clutter: int,
    fragment: int,
    noise: float,
    batch_size: int,
    eval_batch_size: int,
    seed: int,
    channels: int = 1,
    num_classes: int = NUM_CLASSES,
) -> DigitsSource:
    """Loads the digits and checks the options, which are named as in `configs/common.py`.

    Args:
      image_size: `H = W`, the images' height and width in pixels.
      train_examples: images per epoch, at least one batch.
      test_examples: images of the test set.
      test_seed: what the test set follows from.
      size: the digits' height and width in pixels.
      clutter: number of fragments of other digits in an image.
      fragment: the fragments' height and width in pixels.
      noise: standard deviation of the pixel noise, on a scale of 0 to 1.
      batch_size: images per training batch, over all devices.
      eval_batch_size: images per test batch, over all devices.
      seed: what the training images and their order follow from.
      channels: channels of the images, all the same, the digits being grey.
      num_classes: outputs of the network, at least the ten digits.

    Raises:
      ValueError: an option that cannot be met; the message names its key.
    """
    for name, value, least, hint in (
        ("train.batch_size", batch_size, 1, "set the number of images per step"),
        ("eval.batch_size", eval_batch_size, 1, "set the number of test images per step"),
        ("data.train_examples", train_examples, batch_size, "raise it to one batch or lower train.batch_size"),
        ("data.test_examples", test_examples, 1, "there must be something to test on"),
        ("data.digits.size", size, 1, "16 doubles the original digits"),
        ("data.digits.fragment", fragment, 1, "set data.digits.clutter to 0 for no fragments"),
        ("data.digits.clutter", clutter, 0, "0 leaves the fragments out"),
        ("data.digits.noise", noise, 0, "0 leaves the noise out"),
        ("data.channels", channels, 1, "the digits are grey"),
        ("data.num_classes", num_classes, NUM_CLASSES, "there are ten digits"),
    ):
        if not (value >= least and math.isfinite(value)):
            raise ValueError(f"{name} must be at least {least} and finite, got {value}: {hint}")
    for name, value, most, hint in (
        ("data.digits.size", size, image_size, "a digit must fit the canvas, lower it or raise data.image_size"),
        ("data.digits.fragment", fragment, size, "a fragment is cut from a digit, lower it or raise data.digits.size"),
    ):
        if value > most:
            raise ValueError(f"{name} must be at most {most}, got {value}: {hint}")

    train_bank, test_bank = load_banks(size)
    return DigitsSource(
        train_bank=train_bank,
        test_bank=test_bank,
        train_key=stream_key(seed, Stream.TRAINING_SCENES, impl=PRNG),
        test_key=stream_key(test_seed, Stream.TEST_SCENES, impl=PRNG),
        options=SceneOptions(image_size, fragment, clutter, float(noise), channels),
        train_examples=train_examples,
        test_examples=test_examples,
        batch_size=batch_size,
        eval_batch_size=eval_batch_size,
    )
