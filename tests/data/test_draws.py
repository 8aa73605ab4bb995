"""Whole numbers and intervals from uniform numbers."""

import jax.numpy as jnp
import numpy as np

from stata_jax.data import draws


def test_whole_numbers_cover_their_range_and_no_more():
    uniform = jnp.asarray([0.0, 0.2499, 0.25, 0.5, np.nextafter(np.float32(1), np.float32(0))], jnp.float32)
    np.testing.assert_array_equal(draws.whole(uniform, 4), [0, 0, 1, 2, 3])
    np.testing.assert_array_equal(draws.whole(uniform, jnp.array([1, 8, 8, 8, 225], jnp.int32)), [0, 1, 2, 4, 224])


def test_between():
    np.testing.assert_allclose(draws.between(jnp.array([0.0, 0.5]), -3.0, 5.0), [-3, 1])
