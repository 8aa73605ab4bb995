"""The whole pipeline: what is off changes nothing, the order of operations, dtypes, and clear errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.data.augment import pipeline
from stata_jax.data.augment.pipeline import AugmentOptions, augment, prepare
from stata_jax.data.augment.targets import smooth_one_hot

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
KEY = jax.random.key(0)
LABELS = jnp.arange(6, dtype=jnp.int32) % 4
OFF = AugmentOptions(num_classes=4)
CIFAR = AugmentOptions(
    num_classes=4,
    flip=True,
    crop_padding=4,
    randaugment_count=1,
    randaugment_std=0.4,
    erasing=0.25,
    mixup=0.5,
    mix_off_step=100,
    label_smoothing=0.1,
    mean=MEAN,
    std=STD,
)


def pixels(channels=3):
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (6, 16, 16, channels), np.uint8))


def events():
    return jnp.asarray(np.random.default_rng(0).poisson(0.5, (6, 3, 16, 16, 2)).astype(np.uint8))


def test_off_leaves_real_images_bit_for_bit():
    images = jnp.asarray(np.random.default_rng(0).normal(0, 5, (6, 8, 8, 1)), jnp.float32)
    for run in (functools.partial(augment, options=OFF), jax.jit(functools.partial(augment, options=OFF))):
        same, targets = run(KEY, images, LABELS, 3)
        np.testing.assert_array_equal(same.view(jnp.int32), images.view(jnp.int32))
        np.testing.assert_array_equal(targets, np.eye(4)[LABELS])
    np.testing.assert_array_equal(prepare(images, options=OFF), images)


def test_pixels_become_shares_and_are_normalised():
    images = pixels()
    np.testing.assert_allclose(prepare(images, options=OFF), np.asarray(images) / 255, rtol=1e-6)
    options = AugmentOptions(num_classes=4, mean=MEAN, std=STD)
    expected = (np.asarray(images) / 255 - MEAN) / STD
    for run in (prepare, jax.jit(prepare, static_argnames="options")):
        prepared = run(images, options=options)
        assert prepared.dtype == jnp.float32
        np.testing.assert_allclose(prepared, expected, atol=1e-5)
    np.testing.assert_allclose(augment(KEY, images, LABELS, 0, options=options)[0], expected, atol=1e-5)


def test_counts_stay_counts():
    prepared = prepare(events(), options=OFF)
    assert prepared.dtype == jnp.float32
    np.testing.assert_array_equal(prepared, events())
    moved, _ = augment(KEY, events(), LABELS, 0, options=AugmentOptions(num_classes=4, events=True))
    assert moved.dtype == jnp.float32 and {*np.unique(moved)} <= {*np.unique(events())}
    assert not np.array_equal(moved, events())


def test_the_whole_recipe_is_deterministic():
    run = jax.jit(functools.partial(augment, options=CIFAR))
    images, targets = run(KEY, pixels(), LABELS, jnp.int32(0))
    assert images.shape == (6, 16, 16, 3) and images.dtype == targets.dtype == jnp.float32
    np.testing.assert_allclose(targets.sum(-1), 1, atol=1e-6)
    again = run(KEY, pixels(), LABELS, jnp.int32(0))
    np.testing.assert_array_equal(images, again[0])
    other = run(jax.random.key(1), pixels(), LABELS, jnp.int32(0))
    assert not np.array_equal(images, other[0])
    _, late = run(KEY, pixels(), LABELS, jnp.int32(100))  # mixing has ended, the rest has not
    np.testing.assert_allclose(late, smooth_one_hot(LABELS, num_classes=4, smoothing=0.1), atol=1e-6)


def test_the_order_is_timm_s(monkeypatch):
    calls = []

    def spy(name, images_at):
        function = getattr(pipeline, name)

        def call(*arguments, **options):
            calls.append((name, str(arguments[images_at].dtype)))
            return function(*arguments, **options)

        monkeypatch.setattr(pipeline, name, call)

    for name in ("flip", "pad_crop", "rand_augment", "random_erasing", "mix"):
        spy(name, 1)
    spy("prepare", 0)
    jax.eval_shape(functools.partial(augment, options=CIFAR), KEY, pixels(), LABELS, 0)
    byte, real = "uint8", "float32"
    expected = [("pad_crop", byte), ("flip", byte), ("rand_augment", byte), ("mix", byte), ("prepare", byte)]
    assert calls == [*expected, ("random_erasing", real)]


def test_images_are_mixed_then_normalised_then_erased():
    """Outside of the rectangle, each image is the normalised mixture of bytes; inside, it is 0."""
    options = AugmentOptions(num_classes=6, mixup=1.0, erasing=1.0, erasing_noise=False, mean=MEAN, std=STD)
    images, labels = np.asarray(pixels()), jnp.arange(6, dtype=jnp.int32)
    found, targets = jax.jit(functools.partial(augment, options=options))(KEY, images, labels, 0)
    found, share = np.asarray(found), float(targets[0, 0])
    assert 0.01 < share < 0.99
    mixture = np.round(share * images + (1 - share) * images[::-1].astype(np.float64))
    expected = (mixture / 255 - MEAN) / STD
    erased = np.all(found == 0, axis=-1)
    level = 1.01 / 255 / np.asarray(STD)  # a half that is rounded the other way
    assert np.all((np.abs(found - expected) < level) | erased[..., None])
    assert np.mean(np.abs(found - expected)[~erased] < 1e-5) > 0.99
    for mask in erased:
        rows, columns = mask.any(axis=1), mask.any(axis=0)
        assert mask.any() and np.array_equal(mask, np.outer(rows, columns))  # one rectangle, not the partner's too


def test_mixed_counts_are_not_rounded():
    counts = np.asarray(events())
    options = AugmentOptions(num_classes=6, mixup=0.5)
    mixed, targets = augment(KEY, jnp.asarray(counts), jnp.arange(6, dtype=jnp.int32), 0, options=options)
    share = float(targets[0, 0])
    np.testing.assert_allclose(mixed, share * counts + (1 - share) * counts[::-1].astype(float), atol=1e-5)


def test_the_operations_are_those_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(
        pipeline, "rand_augment", lambda key, images, **options: asked.append(options["operations"]) or images
    )
    monkeypatch.setattr(pipeline, "augment_events", lambda key, images, *, cutout: asked.append(cutout) or images)
    for operations in ("fifteen", "five"):
        options = AugmentOptions(num_classes=4, randaugment_count=1, randaugment_operations=operations)
        augment(KEY, pixels(), LABELS, 0, options=options)
    for cutout in ("side", "area"):
        augment(KEY, events(), LABELS, 0, options=AugmentOptions(num_classes=4, events=True, event_cutout=cutout))
    assert asked == ["fifteen", "five", "side", "area"]


def test_what_comes_from_outside_has_the_mean_colour(monkeypatch):
    fills = []
    monkeypatch.setattr(
        pipeline, "rand_augment", lambda key, images, **options: fills.append(options["fill"]) or images
    )
    augment(KEY, pixels(), LABELS, 0, options=CIFAR)
    augment(KEY, pixels(), LABELS, 0, options=AugmentOptions(num_classes=4, randaugment_count=1))
    assert fills == [(125, 123, 114), (128,)]


@pytest.mark.parametrize("channels", [1, 2])
def test_real_images_are_rounded_for_randaugment(channels):
    images = jnp.asarray(np.random.default_rng(0).random((6, 8, 8, channels)), jnp.float32)
    options = AugmentOptions(num_classes=4, randaugment_count=1, randaugment_std=0.4)
    changed, _ = jax.jit(functools.partial(augment, options=options))(KEY, images, LABELS, 0)
    levels = np.asarray(changed) * 255
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)
    kept = np.max(np.abs(changed - images), axis=(1, 2, 3)) < 0.5 / 255 + 1e-6
    assert kept.any()


def test_erasing_comes_after_normalisation():
    options = AugmentOptions(num_classes=4, erasing=1.0, erasing_noise=False, mean=(0.5,), std=(0.1,))
    images, _ = augment(KEY, jnp.full((6, 16, 16, 1), 255, jnp.uint8), LABELS, 0, options=options)
    np.testing.assert_allclose(np.unique(images), [0, 5], atol=1e-5)


def test_options_are_hashable():
    assert hash(CIFAR) == hash(AugmentOptions(**vars(CIFAR))) and CIFAR != OFF


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(mean=MEAN), "one value per channel, got .* and"),
        (dict(mean=(0.5,), std=(0.0,)), "data.std must be above 0"),
        (dict(mean=(float("nan"),), std=(1.0,)), "data.mean must be finite"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        AugmentOptions(num_classes=4, **options)


@pytest.mark.parametrize("name", ["flip", "crop_padding", "randaugment_count", "erasing"])
def test_options_of_images_are_refused_for_recordings(name):
    with pytest.raises(ValueError, match=f"augment.{name} is for images"):
        augment(KEY, events(), LABELS, 0, options=AugmentOptions(num_classes=4, **{name: 1}))


def test_bad_batches():
    with pytest.raises(ValueError, match=r"must be images .* got \(3, 3\)"):
        prepare(jnp.zeros((3, 3)), options=OFF)
    with pytest.raises(ValueError, match="must be uint8 or floating point, got int32"):
        prepare(pixels().astype(jnp.int32), options=OFF)
    with pytest.raises(ValueError, match=r"data\.mean has 3 values but the images have 1 channels"):
        prepare(pixels(1), options=CIFAR)
