"""Label smoothing against NumPy loops."""

import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.data.augment.targets import smooth_one_hot


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_smooth_one_hot_matches_a_loop(smoothing):
    labels = np.array([[0, 3], [2, 1]], np.int32)
    targets = smooth_one_hot(jnp.asarray(labels), num_classes=4, smoothing=smoothing)
    expected = np.full((2, 2, 4), smoothing / 4)
    for row in range(2):
        for column in range(2):
            expected[row, column, labels[row, column]] += 1 - smoothing
    assert targets.dtype == jnp.float32
    np.testing.assert_allclose(targets, expected, atol=1e-7)
    np.testing.assert_allclose(targets.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"smoothing": -0.1}, "augment.label_smoothing must be from 0 to 1, got -0.1"),
        ({"smoothing": 1.5}, "got 1.5"),
        ({"smoothing": float("nan")}, "got nan"),
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"labels": jnp.zeros(2)}, "labels must be integers, got float32"),
    ],
)
def test_smooth_one_hot_checks_its_arguments(arguments, message):
    arguments = {"labels": jnp.zeros(2, jnp.int32), "num_classes": 3, "smoothing": 0.1, **arguments}
    with pytest.raises(ValueError, match=message):
        smooth_one_hot(**arguments)
