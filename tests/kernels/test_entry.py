"""Tests of stata_jax.kernels.entry."""

import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels.entry import first_entry


@pytest.mark.parametrize(("shape", "expected"), [((3, 4), (1, 1)), ((2,), (1,)), ((), ()), ((4, 0, 3), (1, 0, 1))])
def test_the_first_entry_has_as_many_axes(shape, expected):
    x = 5 + jnp.arange(np.prod(shape, dtype=int)).reshape(shape)
    entry = first_entry(x)
    assert entry.shape == expected
    np.testing.assert_array_equal(entry.ravel(), x.ravel()[:1])
