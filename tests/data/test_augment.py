"""Label smoothing and mixup against NumPy loops and the moments of the Beta distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.data.augment import mixup, smooth_one_hot


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


def batch(dtype=jnp.float32) -> tuple[jax.Array, jax.Array]:
    random = np.random.RandomState(0)
    images = jnp.asarray(random.rand(5, 4, 3, 2), dtype)
    return images, jnp.asarray(np.eye(5), dtype)  # each target names its image


def test_mixup_mixes_with_the_mirrored_batch_in_one_share():
    images, targets = batch()
    mixed, labels = mixup(jax.random.key(0), images, targets, alpha=1.0)
    lam = float(labels[0, 0])
    assert 0.01 < lam < 0.99
    for b in range(5):
        np.testing.assert_allclose(mixed[b], lam * images[b] + (1 - lam) * images[4 - b], atol=1e-6)
        np.testing.assert_allclose(labels[b], lam * targets[b] + (1 - lam) * targets[4 - b], atol=1e-6)


def test_mixup_of_zero_changes_nothing():
    images, targets = batch()
    mixed, labels = mixup(jax.random.key(0), images, targets, alpha=0.0)
    np.testing.assert_array_equal(mixed, images)
    np.testing.assert_array_equal(labels, targets)


@pytest.mark.parametrize("alpha", [0.2, 2.0])
def test_share_follows_the_beta_distribution(alpha):
    images, targets = batch()
    keys = jax.random.split(jax.random.key(1), 4000)
    lam = jax.jit(jax.vmap(lambda key: mixup(key, images, targets, alpha=alpha)[1][0, 0]))(keys)
    assert abs(float(lam.mean()) - 0.5) < 0.03
    assert float(lam.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)


def test_mixup_keeps_the_dtype():
    images, targets = batch(jnp.bfloat16)
    mixed, labels = mixup(jax.random.key(0), images, targets.astype(jnp.float32), alpha=0.5)
    assert (mixed.dtype, labels.dtype) == (jnp.bfloat16, jnp.float32)


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": -1.0}, "augment.mixup must be 0 or more and finite, got -1.0"),
        ({"alpha": float("inf")}, "got inf"),
        ({"targets": jnp.zeros(5, jnp.int32)}, "targets must be floating point, got int32"),
        ({"images": jnp.zeros((5, 2, 2, 1), jnp.uint8)}, "images must be floating point, got uint8"),
        ({"targets": jnp.zeros((4, 5))}, "got 4 for 5 images"),
    ],
)
def test_mixup_checks_its_arguments(arguments, message):
    images, targets = batch()
    arguments = {"images": images, "targets": targets, "alpha": 0.5, **arguments}
    with pytest.raises(ValueError, match=message):
        mixup(jax.random.key(0), **arguments)
