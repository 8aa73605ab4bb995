"""Random erasing: which part of an image goes, how often, and what replaces it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.data.augment.erasing import draw_box, random_erasing


def boxes(count, height, width):
    uniform = jax.random.uniform(jax.random.key(0), (count, 22))
    draw = jax.jit(jax.vmap(functools.partial(draw_box, height=height, width=width)))
    return uniform, np.stack(draw(uniform), axis=1)


@pytest.mark.parametrize("size", [(32, 32), (12, 30)])
def test_a_box_is_the_first_that_fits(size):
    height, width = size
    uniform, drawn = boxes(500, height, width)
    for numbers, box in zip(np.float64(uniform), drawn, strict=True):
        for area, aspect in zip(numbers[:10], numbers[10:20], strict=True):
            area = height * width * (0.02 + area * (1 / 3 - 0.02))
            aspect = np.exp(np.log(0.3) + aspect * (np.log(1 / 0.3) - np.log(0.3)))
            tall, wide = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
            if tall < height and wide < width:
                break
        np.testing.assert_array_equal(box[2:], (tall, wide))
    top, left, tall, wide = drawn.T
    assert top.min() == 0 and left.min() == 0
    assert (top + tall).max() == height and (left + wide).max() == width
    shares, aspects = tall * wide / (height * width), tall / wide
    assert 0.01 < shares.min() < 0.04 and 0.3 < shares.max() < 0.36
    assert aspects.min() < 0.5 and aspects.max() > (2 if height == width else 1)


def test_no_box_where_none_fits():
    _, drawn = boxes(20, 1, 40)
    assert not np.any(drawn[:, 2] * drawn[:, 3])


def test_some_images_lose_a_rectangle_to_noise():
    images = jnp.full((600, 16, 12, 2), 9.0)  # noise never gets there
    erased = np.asarray(jax.jit(functools.partial(random_erasing, probability=0.25))(jax.random.key(1), images))
    gone = np.all(erased != 9, axis=-1)
    np.testing.assert_array_equal(gone, np.any(erased != 9, axis=-1))
    hit = gone.any(axis=(1, 2))
    assert 120 < hit.sum() < 180  # 150 expected, deviation 11
    for mask in gone[hit]:
        rows, columns = mask.any(axis=1), mask.any(axis=0)
        np.testing.assert_array_equal(mask, np.outer(rows, columns))
        assert np.ptp(np.flatnonzero(rows)) + 1 == rows.sum() and np.ptp(np.flatnonzero(columns)) + 1 == columns.sum()
    noise = erased[gone]
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - 1) < 0.05
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.1  # each channel its own


def test_without_noise_the_rectangle_is_the_mean_colour():
    images = jnp.full((20, 16, 12, 2), 9.0)
    erased = np.asarray(random_erasing(jax.random.key(1), images, probability=1.0, noise=False))
    assert {*np.unique(erased)} == {0.0, 9.0} and np.all((erased == 0).any(axis=(1, 2, 3)))


def test_never_is_never():
    images = jnp.ones((2, 4, 4, 1))
    assert random_erasing(jax.random.key(0), images, probability=0.0) is images
    with pytest.raises(ValueError, match=r"probability from 0 to 1, got 1\.5"):
        random_erasing(jax.random.key(0), images, probability=1.5)
    with pytest.raises(ValueError, match="floating point, got uint8"):
        random_erasing(jax.random.key(0), images.astype(jnp.uint8), probability=0.5)
