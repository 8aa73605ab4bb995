"""Frames of another size, against loops over pixels."""

import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.data.frame_size import is_possible, resize


def test_a_divisor_shrinks_by_the_mean_over_blocks():
    frames = np.random.RandomState(0).randint(0, 256, (2, 3, 8, 8, 2)).astype(np.uint8)
    small = resize(jnp.asarray(frames), size=4)
    assert small.dtype == jnp.float32
    expected = np.zeros((2, 3, 4, 4, 2))
    for row in range(8):
        for column in range(8):
            expected[:, :, row // 2, column // 2] += frames[:, :, row, column] / 4
    np.testing.assert_allclose(small, expected, rtol=1e-6)
    np.testing.assert_array_equal(resize(jnp.asarray(frames), size=8), frames)


@pytest.mark.parametrize(("sensor", "size"), [(34, 32), (34, 30), (34, 36), (34, 38), (9, 7), (9, 13)])
def test_a_size_nearby_cuts_or_pads_as_much_on_each_side(sensor, size):
    frames = np.random.RandomState(0).randint(0, 256, (2, 3, sensor, sensor, 2)).astype(np.uint8)
    found = resize(jnp.asarray(frames), size=size)
    assert found.dtype == jnp.uint8 and found.shape == (2, 3, size, size, 2)
    border = (sensor - size) // 2
    expected = np.zeros((2, 3, size, size, 2), np.uint8)
    for row in range(sensor):
        for column in range(sensor):
            if 0 <= row - border < size and 0 <= column - border < size:
                expected[:, :, row - border, column - border] = frames[:, :, row, column]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [0, 3, 28, 33, 35, 40])
def test_other_sizes_are_refused(size):
    assert not is_possible(34, size)
    with pytest.raises(ValueError, match=rf"data\.image_size is {size}, but frames are 34x34 pixels: set it to 34"):
        resize(jnp.zeros((1, 34, 34, 2)), size=size)


def test_frames_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match="frames are 34x32 pixels"):
        resize(jnp.zeros((1, 34, 32, 2)), size=32)
