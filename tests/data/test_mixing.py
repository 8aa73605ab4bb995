"""Mixup and CutMix of a batch: shares, rectangles, probabilities, and when they end."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.data.augment.mixing import cutmix_weights, mix

H, W = 12, 10


def batch(size=5):
    """Image `b` is `b + 1` everywhere, and its target names it."""
    images = np.broadcast_to(np.arange(1, size + 1, dtype=np.float32)[:, None, None, None], (size, H, W, 2))
    return jnp.asarray(images), jnp.asarray(np.eye(size, dtype=np.float32))


def many(count=2000, step=0, **options):
    """Images and targets of many draws for a batch of two, `(count, 2, H, W, 2)` and `(count, 2, 2)`."""
    images, targets = batch(2)
    run = jax.jit(jax.vmap(lambda key, step: mix(key, images, targets, step, **options), in_axes=(0, None)))
    return [np.asarray(part) for part in run(jax.random.split(jax.random.key(0), count), jnp.int32(step))]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_cutmix_rectangle_against_timm_s_rule(share):
    uniform = jax.random.uniform(jax.random.key(0), (300, 2))
    draw = jax.jit(jax.vmap(functools.partial(cutmix_weights, height=H, width=W), in_axes=(0, None)))
    tall, wide = (int(side * np.sqrt(np.float32(1) - np.float32(share))) for side in (H, W))
    centres = set()
    for numbers, weights in zip(np.asarray(uniform), np.asarray(draw(uniform, jnp.float32(share))), strict=True):
        y, x = int(numbers[0] * H), int(numbers[1] * W)
        centres.add((y, x))
        expected = np.ones((H, W))
        expected[max(y - tall // 2, 0) : y + tall // 2, max(x - wide // 2, 0) : x + wide // 2] = 0
        np.testing.assert_array_equal(weights, expected)
    assert len(centres) > 100  # of 120


def test_mixup_is_one_share_for_images_and_targets():
    images, targets = batch()
    mixed, labels = jax.jit(functools.partial(mix, mixup=1.0))(jax.random.key(0), images, targets, 0)
    share = float(labels[0, 0])
    assert 0.01 < share < 0.99
    for b in range(5):
        np.testing.assert_allclose(mixed[b], share * images[b] + (1 - share) * images[4 - b], atol=1e-6)
        np.testing.assert_allclose(labels[b], share * targets[b] + (1 - share) * targets[4 - b], atol=1e-6)
    eager = mix(jax.random.key(0), images, targets, 0, mixup=1.0)
    np.testing.assert_allclose(mixed, eager[0], atol=1e-6)


def test_mixed_bytes_are_rounded_to_the_nearest():
    """As a loop over images and pixels has it, in timm's order: mixed before anything is normalised."""
    images = np.random.default_rng(0).integers(0, 256, (6, H, W, 3), np.uint8)
    run = jax.jit(functools.partial(mix, mixup=1.0))
    for seed in range(5):
        mixed, labels = run(jax.random.key(seed), images, jnp.eye(6), 0)
        assert mixed.dtype == jnp.uint8
        share = np.float32(labels[0, 0])
        for b in range(6):
            for place in np.ndindex(H, W, 3):
                exact = float(share) * float(images[b][place]) + (1 - float(share)) * float(images[5 - b][place])
                assert abs(int(mixed[b][place]) - exact) < 0.5 + 1e-4  # a half may be rounded either way in float32


def test_cut_bytes_are_copied():
    images = np.random.default_rng(0).integers(0, 256, (2, H, W, 3), np.uint8)
    mixed, labels = mix(jax.random.key(3), jnp.asarray(images), jnp.eye(2), 0, cutmix=1.0)
    own = np.all(np.asarray(mixed[0]) == images[0], axis=-1)
    other = np.all(np.asarray(mixed[0]) == images[1], axis=-1)
    assert np.all(own | other) and 0 < other.mean() < 1
    assert float(labels[0, 0]) == pytest.approx(own.mean(), abs=1e-6)


def test_cutmix_targets_are_the_area_that_is_seen():
    images, targets = many(300, cutmix=1.0)
    own = np.mean(images[:, 0, ..., 0] == 1, axis=(1, 2))
    assert {*np.unique(images)} == {1.0, 2.0}
    np.testing.assert_allclose(targets[:, 0, 0], own, atol=1e-6)
    np.testing.assert_allclose(targets[:, 1, 1], own, atol=1e-6)
    # E[own] = 1 - int (sqrt(u) - u / 4)^2 du = 0.68 where sides are not whole numbers; here they are rounded down.
    assert own.min() < 0.45 and own.max() == 1 and 0.67 < own.mean() < 0.8


def test_a_recording_is_mixed_as_a_whole():
    recordings = jnp.asarray(np.random.default_rng(0).random((4, 3, H, W, 2)), jnp.float32)
    targets = jnp.eye(4)
    mixed, _ = mix(jax.random.key(2), recordings, targets, 0, cutmix=1.0)
    own = np.asarray(mixed == recordings)
    assert 0 < own.mean() < 1
    np.testing.assert_array_equal(own, np.broadcast_to(own[:1, :1, :, :, :1], own.shape))


def test_mixed_with_the_probability_given():
    _, targets = many(mixup=1.0, probability=0.3)
    assert np.mean(targets[:, 0, 0] < 1) == pytest.approx(0.3, abs=0.04)
    _, targets = many(100, mixup=1.0, probability=0.0)
    assert np.all(targets[:, 0, 0] == 1)


def test_switches_between_the_two():
    images, _ = many(mixup=1.0, cutmix=1.0, switch_probability=0.8)
    blended = np.any((images != 1) & (images != 2), axis=(1, 2, 3, 4))
    assert np.mean(blended) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("alpha", [0.2, 2.0])
def test_mixup_share_follows_the_beta_distribution(alpha):
    _, targets = many(4000, mixup=alpha)
    share = targets[:, 0, 0]
    assert abs(share.mean() - 0.5) < 0.03
    assert share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)


def test_ends_at_its_step():
    images, targets = batch()
    run = jax.jit(functools.partial(mix, mixup=1.0, off_step=7))
    for step, ended in ((0, False), (6, False), (7, True), (10**6, True)):
        mixed, labels = run(jax.random.key(0), images, targets, jnp.int32(step))
        assert np.array_equal(mixed, images) == ended and np.array_equal(labels, targets) == ended
    mixed, _ = mix(jax.random.key(0), images, targets, 10**6, mixup=1.0)  # without an end
    assert not np.array_equal(mixed, images)


def test_keeps_dtypes():
    images, targets = batch()
    mixed, labels = mix(jax.random.key(0), images.astype(jnp.bfloat16), targets, 0, mixup=0.5, cutmix=0.5)
    assert mixed.dtype == jnp.bfloat16 and labels.dtype == jnp.float32


def test_off_changes_nothing():
    images, targets = batch()
    assert mix(jax.random.key(0), images, targets, 0) == (images, targets)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(mixup=-1.0), "augment.mixup must be 0 or more and finite, got -1.0"),
        (dict(cutmix=float("nan")), "augment.cutmix must be 0 or more and finite, got nan"),
        (dict(probability=2.0), "augment.mix_probability must be from 0 to 1, got 2.0"),
        (dict(switch_probability=-0.5), "augment.switch_probability must be from 0 to 1, got -0.5"),
        (dict(off_step=-1), "off_step must be 0 or more, got -1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        mix(jax.random.key(0), *batch(), 0, **options)


def test_bad_batches():
    images, targets = batch()
    with pytest.raises(ValueError, match="images must be uint8 or floating point, got int32"):
        mix(jax.random.key(0), images.astype(jnp.int32), targets, 0, mixup=1.0)
    with pytest.raises(ValueError, match="targets must be floating point, got int32"):
        mix(jax.random.key(0), images, targets.astype(jnp.int32), 0, mixup=1.0)
    with pytest.raises(ValueError, match="one target per image is needed, got 4 for 5"):
        mix(jax.random.key(0), images, targets[:4], 0, mixup=1.0)
