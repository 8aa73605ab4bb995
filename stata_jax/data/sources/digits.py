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

from stata_jax.data.batches import Plan, Planned
from stata_jax.data.draws import epoch_order
from stata_jax.data.options import SourceOptions
from stata_jax.data.scenes import NUM_CLASSES, DigitBank, cluttered_digit, load_banks
from stata_jax.streams import PRNG, Stream, stream_key


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


@partial(jax.jit, static_argnames=("examples", "size", "options"))
def _draw_train_batch(
    key: jax.Array,
    bank: DigitBank,
    epoch: jax.Array,
    start: jax.Array,
    *,
    examples: int,
    size: int,
    options: SceneOptions,
) -> dict[str, jax.Array]:
    epoch_key = jax.random.fold_in(key, epoch)
    indices = jax.lax.dynamic_slice(epoch_order(epoch_key, examples), (start,), (size,))
    return draw_images(epoch_key, bank, indices, options=options)


draw_batch = jax.jit(draw_images, static_argnames="options")


@dataclass(frozen=True, eq=False)
class DigitsSource(Planned):
    """Batches of cluttered digits, a `Source`; made by `open_digits`.

    Attributes:
      plan: how the images are cut into batches.
      train_bank, test_bank: digits of each split, without a common original.
      train_key: PRNG key of the run's scenes.
      test_key: PRNG key of the test scenes.
      options: size, clutter and noise of the images.
    """

    plan: Plan
    train_bank: DigitBank
    test_bank: DigitBank
    train_key: jax.Array
    test_key: jax.Array
    options: SceneOptions

    @property
    def num_classes(self) -> int:
        """Number of classes that there are images of; a network may have more outputs."""
        return NUM_CLASSES

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)` of an image."""
        return (self.options.image_size, self.options.image_size, self.options.channels)

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
        start = self.plan.train_start(epoch, step)
        batch: dict[str, jax.Array] = _draw_train_batch(
            self.train_key,
            self.train_bank,
            np.int32(epoch),
            np.int32(start),
            examples=self.train_examples,
            size=self.plan.share,
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
        positions, mask = self.plan.test_positions(step)
        batch = draw_batch(self.test_key, self.test_bank, positions, options=self.options)
        return {**batch, "mask": jnp.asarray(mask)}


def open_digits(options: SourceOptions) -> DigitsSource:
    """Loads the digits and checks the options.

    Args:
      options: of which `size`, `clutter`, `fragment` and `noise` say how a scene is composed, `seed` and `test_seed`
        what the scenes follow from. All channels are the same, the digits being grey.

    Raises:
      ValueError: an option that cannot be met; the message names its key.
    """
    plan = Plan.of(options, train=options.train_examples, test=options.test_examples)
    for name, value, least, hint in (
        ("data.digits.size", options.size, 1, "16 doubles the original digits"),
        ("data.digits.fragment", options.fragment, 1, "set data.digits.clutter to 0 for no fragments"),
        ("data.digits.clutter", options.clutter, 0, "0 leaves the fragments out"),
        ("data.digits.noise", options.noise, 0, "0 leaves the noise out"),
        ("data.channels", options.channels, 1, "the digits are grey"),
        ("data.num_classes", options.num_classes, NUM_CLASSES, "there are ten digits"),
    ):
        if not (value >= least and math.isfinite(value)):
            raise ValueError(f"{name} must be at least {least} and finite, got {value}: {hint}")
    for name, value, most, hint in (
        (
            "data.digits.size",
            options.size,
            options.image_size,
            "it must fit the canvas, lower it or raise data.image_size",
        ),
        (
            "data.digits.fragment",
            options.fragment,
            options.size,
            "it is cut from a digit, lower it",
        ),
    ):
        if value > most:
            raise ValueError(f"{name} must be at most {most}, got {value}: {hint}")

    train_bank, test_bank = load_banks(options.size)
    scene = SceneOptions(options.image_size, options.fragment, options.clutter, float(options.noise), options.channels)
    return DigitsSource(
        plan=plan,
        train_bank=train_bank,
        test_bank=test_bank,
        train_key=stream_key(options.seed, Stream.TRAINING_SCENES, impl=PRNG),
        test_key=stream_key(options.test_seed, Stream.TEST_SCENES, impl=PRNG),
        options=scene,
    )
