"""Affine maps against Pillow."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from stata_jax.data.augment import warp


def differences(images, matrices, expected, fill=(10, 20, 30)):
    warped = jax.jit(warp.bicubic)(images, matrices, fill=jnp.asarray(fill, jnp.uint8))
    assert warped.dtype == jnp.uint8
    return np.abs(np.asarray(warped).astype(int) - np.stack(expected).astype(int))


@pytest.mark.parametrize("size", [(16, 16), (9, 14)])
def test_bicubic_is_pillow_s(size):
    """At most 1 level apart, and that rarely: Pillow's coordinates are float64."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, *size, 3), np.uint8)
    entries = np.concatenate([np.eye(2) + rng.normal(0, 0.3, (60, 2, 2)), rng.normal(0, 3, (60, 2, 1))], 2)
    matrices = entries.astype(np.float32)
    expected = []
    for image, matrix in zip(images, matrices, strict=True):
        numbers = tuple(float(value) for value in matrix.ravel())
        options = dict(resample=Image.Resampling.BICUBIC, fillcolor=(10, 20, 30))
        picture = Image.fromarray(image)
        expected.append(np.asarray(picture.transform(picture.size, Image.Transform.AFFINE, numbers, **options)))
    apart = differences(images, matrices, expected)
    assert apart.max() <= 1 and (apart > 0).mean() < 1e-3


@pytest.mark.parametrize("size", [(16, 16), (9, 14)])
def test_rotation_is_pillow_s(size):
    images = np.random.default_rng(1).integers(0, 256, (6, *size, 3), np.uint8)
    degrees = np.array([-30, -27.3, -1, 0, 11.7, 30], np.float32)
    matrices = warp.rotation(jnp.asarray(degrees), height=size[0], width=size[1])
    options = dict(resample=Image.Resampling.BICUBIC, fillcolor=(10, 20, 30))
    expected = [
        np.asarray(Image.fromarray(x).rotate(float(d), **options)) for x, d in zip(images, degrees, strict=True)
    ]
    apart = differences(images, matrices, expected)
    assert apart.max() <= 1 and (apart > 0).mean() < 5e-3


def test_shears_and_translation_move_points_as_they_say():
    x, y = 2.5, 4.5  # the centre of the pixel in row 4 and column 2
    for matrix, expected in (
        (warp.shear_x(jnp.float32(0.25)), (x + 0.25 * y, y)),
        (warp.shear_x(jnp.float32(0.25), about=4.0), (x + 0.25 * (y - 4), y)),
        (warp.shear_y(jnp.float32(-0.5)), (x, y - 0.5 * x)),
        (warp.translation(1.5, -2.0), (x + 1.5, y - 2)),
    ):
        points_x, points_y, _ = warp.source_points(matrix, height=8, width=6)
        np.testing.assert_allclose((points_x[4, 2], points_y[4, 2]), expected, atol=1e-6)


def test_points_outside_are_known_and_filled():
    images = np.full((1, 4, 4, 1), 200, np.uint8)
    matrix = warp.translation(2.0, -1.0)  # two to the left, one down
    _, _, inside = warp.source_points(matrix, height=4, width=4)
    np.testing.assert_array_equal(inside, np.outer([0, 1, 1, 1], [1, 1, 0, 0]).astype(bool))
    warped = warp.bicubic(images, matrix[None], fill=jnp.asarray([7], jnp.uint8))
    np.testing.assert_array_equal(warped[0, ..., 0], np.where(inside, 200, 7))


def test_a_far_point_is_filled():
    far = functools.partial(warp.bicubic, np.zeros((1, 3, 3, 2), np.uint8), fill=jnp.asarray([3, 4], jnp.uint8))
    np.testing.assert_array_equal(far(warp.translation(1e7, 0.0)[None])[0, 1, 1], [3, 4])
