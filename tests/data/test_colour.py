"""Tables and blends on their own, against NumPy; `test_randaugment.py` compares whole operations with Pillow."""

import jax.numpy as jnp
import numpy as np
from PIL import Image

from stata_jax.data.augment import colour


def images(channels=3):
    return np.random.default_rng(0).integers(0, 256, (3, 6, 7, channels), np.uint8)


def test_histogram_counts():
    counts = np.asarray(colour.histogram(jnp.asarray(images())))
    assert counts.shape == (3, 3, 256)
    for b in range(3):
        for c in range(3):
            np.testing.assert_array_equal(counts[b, c], np.bincount(images()[b, ..., c].ravel(), minlength=256))


def test_each_channel_is_looked_up_in_its_own_table():
    tables = np.random.default_rng(1).integers(0, 256, (3, 3, 256))
    found = np.asarray(colour.look_up(jnp.asarray(images()), jnp.asarray(tables, jnp.int32)))
    for b in range(3):
        for c in range(3):
            np.testing.assert_array_equal(found[b, ..., c], tables[b, c][images()[b, ..., c]])


def test_grey_is_pillow_s():
    every = np.random.default_rng(2).integers(0, 256, (1, 200, 200, 3), np.uint8)
    expected = np.asarray(Image.fromarray(every[0]).convert("L"))
    np.testing.assert_array_equal(colour.grey(jnp.asarray(every))[0, ..., 0], expected)


def test_mean_brightness_rounds_half_up():
    assert int(colour.mean_brightness(jnp.asarray([[[[0], [1]]]], jnp.uint8))[0]) == 1
    assert int(colour.mean_brightness(jnp.asarray([[[[0], [0], [1]]]], jnp.uint8))[0]) == 0
    two = images(2)
    np.testing.assert_array_equal(colour.mean_brightness(jnp.asarray(two)), np.floor(two.mean((1, 2, 3)) + 0.5))


def test_auto_contrast_stretches_to_the_whole_range():
    counts = np.zeros(256, np.int32)
    counts[[40, 60, 91]] = 1
    table = np.asarray(colour.auto_contrast_table(jnp.asarray(counts)))
    assert (table[40], table[60], table[91]) == (0, 100, 255)
    single = np.asarray(colour.auto_contrast_table(jnp.asarray(np.eye(256, dtype=np.int32)[40])))
    np.testing.assert_array_equal(single, np.arange(256))
