"""Flip and crop against NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.data.augment.crops import flip, pad_crop


def numbered(batch, height, width, channels=3):
    return np.random.default_rng(0).integers(1, 256, (batch, height, width, channels), np.uint8)


def test_flip_mirrors_half_of_the_images():
    images = numbered(400, 3, 4, 1)
    flipped = np.asarray(jax.jit(flip)(jax.random.key(0), images))
    assert flipped.dtype == np.uint8
    mirrored = np.all(flipped == images[:, :, ::-1], axis=(1, 2, 3))
    assert np.all(mirrored | np.all(flipped == images, axis=(1, 2, 3)))
    assert 170 < mirrored.sum() < 230
    np.testing.assert_array_equal(flip(jax.random.key(0), jnp.asarray(images)), flipped)
    np.testing.assert_array_equal(flip(jax.random.key(0), jnp.asarray(images), probability=1.0), images[:, :, ::-1])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_crop_is_a_window_of_the_padded_image(dtype):
    images, padding = numbered(300, 5, 6, 2).astype(dtype), 2
    crop = jax.jit(functools.partial(pad_crop, padding=padding))
    cropped = np.asarray(crop(jax.random.key(1), images))
    assert cropped.dtype == dtype and cropped.shape == images.shape
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    found = np.zeros((5, 5), int)
    for image, window in zip(padded, cropped, strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if np.array_equal(image[y : y + 5, x : x + 6], window)]
        assert len(places) == 1
        found[places[0]] += 1
    assert found.min() >= 3 and found.max() <= 25  # 12 of each place are expected


def test_no_padding_changes_nothing():
    images = jnp.asarray(numbered(2, 3, 3))
    assert pad_crop(jax.random.key(0), images, padding=0) is images
    with pytest.raises(ValueError, match=r"augment.crop_padding must be 0 or more, got -1"):
        pad_crop(jax.random.key(0), images, padding=-1)
