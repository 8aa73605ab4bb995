"""The streams of random numbers that follow from a seed, each from a key of its own: here all of them have a name.

A key's children by number, `fold_in(key, i)`, are the same whoever asks for them; so are those of `split`. Without a
constant of its own for each stream, the third step would draw from the numbers of the third epoch's images. Recordings
that are made once and stored, `digits_dvs`, fold in the number of their split, 0 or 1, which no stream has.
"""

import enum

import jax

PRNG = "threefry2x32"  # of data, by name, so that it does not change with JAX's default


class Stream(enum.IntEnum):
    """What draws random numbers; the value is folded into the key of the seed, and is above every count."""

    PARAMETERS = 2**31  # the initial ones
    UPDATES = 2**31 + 1  # by step and device: augmentation, and random tokens in training
    TESTS = 2**31 + 2  # by test batch and device: random tokens in evaluation
    TRAINING_SCENES = 2**31 + 3  # by epoch and image: cluttered digits
    TEST_SCENES = 2**31 + 4  # by image; of `data.test_seed`
    ORDER = 2**31 + 5  # by epoch: the order of stored images
    PICTURES = 2**31 + 6  # by epoch: augmentation that is only looked at


def stream_key(seed: int, stream: Stream, *, impl: str | None = None) -> jax.Array:
    """The key of one stream.

    Args:
      seed: Of the run, or of the test set.
      stream: Which one.
      impl: JAX's name of the generator; its default if None.

    Returns:
      A JAX random key.
    """
    return jax.random.fold_in(jax.random.key(seed, impl=impl), int(stream))
