"""RandAugment: every operation against Pillow, every argument against timm's rules, and the statistics of the draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from stata_jax.data.augment import randaugment
from stata_jax.data.augment.randaugment import (
    NO_OPERATION,
    OPERATIONS,
    apply_operation,
    arguments,
    rand_augment,
)

FILL = (125, 123, 114)
apply = jax.jit(apply_operation, static_argnames="fill")


def pictures(channels=3, size=(20, 24)):
    """Random images, and those at the edges of what an image may be."""
    rng = np.random.default_rng(0)
    shape = (*size, channels)
    ramp = np.broadcast_to(np.linspace(0, 255, size[1]).astype(np.uint8)[None, :, None], shape)
    narrow = rng.integers(100, 120, shape).astype(np.uint8)
    few = rng.choice(np.array([3, 200, 255], np.uint8), shape, p=[0.1, 0.2, 0.7])
    dark = np.minimum(rng.geometric(0.1, shape), 255).astype(np.uint8)
    constant = [np.full(shape, value, np.uint8) for value in (0, 77, 255)]
    one = np.full(shape, 9, np.uint8)
    one[3, 4] = 250
    free = [rng.integers(0, 256, shape, np.uint8) for _ in range(3)]
    return np.stack([*free, ramp, narrow, few, dark, *constant, one])


def ours(name, images, argument):
    operation = jnp.full(len(images), OPERATIONS.index(name), jnp.int32)
    fill = FILL[: images.shape[-1]]
    return np.asarray(apply(images, operation, jnp.full(len(images), argument, jnp.float32), fill=fill))


def pillow(name, image, argument):
    """The operation as timm calls it."""
    grey = image.shape[-1] == 1
    picture = Image.fromarray(image[..., 0] if grey else image)
    fill = FILL[0] if grey else FILL
    affine = functools.partial(
        picture.transform, picture.size, Image.Transform.AFFINE, resample=Image.Resampling.BICUBIC, fillcolor=fill
    )
    added = [min(255, value + int(argument)) if value < 128 else value for value in range(256)]
    result = {
        "AutoContrast": lambda: ImageOps.autocontrast(picture),
        "Equalize": lambda: ImageOps.equalize(picture),
        "Invert": lambda: ImageOps.invert(picture),
        "Rotate": lambda: picture.rotate(argument, resample=Image.Resampling.BICUBIC, fillcolor=fill),
        "Posterize": lambda: ImageOps.posterize(picture, int(argument)),
        "Solarize": lambda: ImageOps.solarize(picture, int(argument)),
        "SolarizeAdd": lambda: picture.point(added if grey else 3 * added),
        "Color": lambda: ImageEnhance.Color(picture).enhance(argument),
        "Contrast": lambda: ImageEnhance.Contrast(picture).enhance(argument),
        "Brightness": lambda: ImageEnhance.Brightness(picture).enhance(argument),
        "Sharpness": lambda: ImageEnhance.Sharpness(picture).enhance(argument),
        "ShearX": lambda: affine((1, argument, 0, 0, 1, 0)),
        "ShearY": lambda: affine((1, 0, 0, argument, 1, 0)),
        "TranslateX": lambda: affine((1, 0, argument * picture.width, 0, 1, 0)),
        "TranslateY": lambda: affine((1, 0, 0, 0, 1, argument * picture.height)),
    }[name]()
    return np.asarray(result).reshape(image.shape)


CASES = {
    "Equalize": (0.0,),
    "Invert": (0.0,),
    "Posterize": (1.0, 2.0, 3.0, 4.0),
    "Solarize": (0.0, 26.0, 128.0, 256.0),
    "SolarizeAdd": (0.0, 11.0, 99.0, 110.0),
}
# Where Pillow computes in floating point and drops what is behind the point, results may be 1 apart.
ROUNDED = {
    "AutoContrast": (0.0,),
    **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), (0.1, 0.19, 0.64, 1.0, 1.27, 1.81, 1.9)),
    "Rotate": (-30.0, -27.0, 3.1, 25.4),
    **dict.fromkeys(("ShearX", "ShearY"), (-0.3, -0.27, 0.011, 0.25)),
    **dict.fromkeys(("TranslateX", "TranslateY"), (-0.45, -0.405, 0.02, 0.25)),
}


def test_all_operations_are_compared():
    assert {*CASES, *ROUNDED} == {*OPERATIONS}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_whole_number_operations_are_pillow_s(name, channels):
    images = pictures(channels)
    for argument in CASES[name]:
        expected = np.stack([pillow(name, image, argument) for image in images])
        np.testing.assert_array_equal(ours(name, images, argument), expected, err_msg=f"{name} {argument}")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ROUNDED)
def test_other_operations_are_pillow_s_but_for_rounding(name, channels):
    images = pictures(channels)
    for argument in ROUNDED[name]:
        expected = np.stack([pillow(name, image, argument) for image in images]).astype(int)
        apart = np.abs(ours(name, images, argument).astype(int) - expected)
        assert apart.max() <= 1, f"{name} {argument}"
        # Translations by tenths of a pixel make many whole numbers.
        assert (apart > 0).mean() < (0.06 if name.startswith("Translate") else 0.01), f"{name} {argument}"


def test_small_images_are_pillow_s():
    """Steps of equalisation that go beyond 255, and images without an inside to smooth."""
    for size in ((2, 1), (17, 16)):
        images = np.random.default_rng(1).integers(0, 40, (4, *size, 3)).astype(np.uint8) * 6
        images[0, 0] = 255
        for name, argument in (("Equalize", 0.0), ("Sharpness", 1.9), ("AutoContrast", 0.0)):
            expected = np.stack([pillow(name, image, argument) for image in images]).astype(int)
            assert np.abs(ours(name, images, argument).astype(int) - expected).max() <= (name != "Equalize")


def test_posterize_to_no_bits_is_black():
    assert not ours("Posterize", pictures(), 0.0).any()


def test_each_image_gets_its_own_operation():
    images = np.repeat(pictures()[:1], len(OPERATIONS) + 1, axis=0)
    operation = jnp.arange(NO_OPERATION, len(OPERATIONS), dtype=jnp.int32)
    argument = jnp.full(len(images), 0.25, jnp.float32)
    together = np.asarray(apply(images, operation, argument, fill=FILL))
    np.testing.assert_array_equal(together[0], images[0])
    for index, name in enumerate(OPERATIONS):
        np.testing.assert_array_equal(together[index + 1], ours(name, images[:1], 0.25)[0], err_msg=name)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_than_three_channels(channels):
    images = pictures(channels)
    np.testing.assert_array_equal(ours_any("Color", images, 1.9), images)
    assert ours_any("Contrast", images, 0.1)[3].std() < 0.2 * images[3].std()
    np.testing.assert_array_equal(ours_any("Rotate", images, 0.0), images)


def ours_any(name, images, argument):
    operation = jnp.full(len(images), OPERATIONS.index(name), jnp.int32)
    return np.asarray(apply(images, operation, jnp.full(len(images), argument, jnp.float32), fill=(128,)))


def test_bad_images_and_fills():
    images, one = jnp.zeros((1, 4, 4, 3), jnp.uint8), jnp.zeros(1, jnp.int32)
    with pytest.raises(ValueError, match=r"uint8 \(B, H, W, C\), got float32 \(1, 4, 4, 3\)"):
        apply_operation(images.astype(jnp.float32), one, one.astype(jnp.float32), fill=(1,))
    with pytest.raises(ValueError, match=r"1 or 3 values, one for each channel, got \(1, 2\)"):
        apply_operation(images, one, one.astype(jnp.float32), fill=(1, 2))


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_arguments_are_timm_s(sign):
    levels = np.concatenate([np.arange(11), np.random.default_rng(0).uniform(0, 10, 200)])
    inputs = jnp.asarray(levels, jnp.float32), jnp.full(len(levels), sign, jnp.float32)
    up = arguments(*inputs, increasing=True)
    down = arguments(*inputs, increasing=False)
    for i, level in enumerate(np.float64(inputs[0])):
        expected = {
            "Rotate": (2 * [sign * level / 10 * 30]),
            "Posterize": [4 - int(level / 10 * 4), int(level / 10 * 4)],
            "Solarize": [256 - int(level / 10 * 256), int(level / 10 * 256)],
            "SolarizeAdd": 2 * [int(level / 10 * 110)],
            "Color": [max(0.1, 1 + sign * level / 10 * 0.9), level / 10 * 1.8 + 0.1],
            "ShearX": 2 * [sign * level / 10 * 0.3],
            "TranslateX": 2 * [sign * level / 10 * 0.45],
        }
        for same in ("Contrast", "Brightness", "Sharpness"):
            expected[same] = expected["Color"]
        expected |= {"ShearY": expected["ShearX"], "TranslateY": expected["TranslateX"]}
        assert up.keys() == down.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose((up[name][i], down[name][i]), values, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.fixture
def drawn(monkeypatch):
    """What `rand_augment` would apply to 3000 images: operations and arguments of each layer."""

    def draw(**options):
        layers = []

        def keep(images, operation, argument, *, fill, possible):
            layers.append((np.asarray(operation), np.asarray(argument)))
            return images

        monkeypatch.setattr(randaugment, "apply_operation", keep)
        options = dict(count=1, magnitude=9.0, std=0.4, increasing=True) | options
        rand_augment(jax.random.key(0), jnp.zeros((3000, 2, 2, 1), jnp.uint8), **options)
        return layers

    return draw


def test_half_of_the_images_get_one_of_fifteen(drawn):
    ((operation, _),) = drawn()
    counts = np.bincount(operation + 1, minlength=16)
    assert 1380 < counts[0] < 1620  # 1500 expected, deviation 27
    assert counts[1:].min() > 60 and counts[1:].max() < 140  # 100 expected, deviation 10


def test_the_five_are_spikformer_s(drawn):
    ((operation, _),) = drawn(operations="five")
    names, counts = np.unique(operation, return_counts=True)
    five = ("Equalize", "Rotate", "ShearX", "TranslateX", "TranslateY")
    assert {OPERATIONS[index] for index in names[1:]} == {*five} and names[0] == NO_OPERATION
    assert 1380 < counts[0] < 1620  # 1500 expected, deviation 27
    assert counts[1:].min() > 230 and counts[1:].max() < 370  # 300 expected, deviation 16


def test_a_set_leaves_its_operations_as_they_are():
    five = ("Equalize", "Rotate", "ShearX", "TranslateX", "TranslateY")
    images = np.repeat(pictures()[:1], len(OPERATIONS) + 1, axis=0)
    operation = jnp.arange(NO_OPERATION, len(OPERATIONS), dtype=jnp.int32)
    argument = jnp.full(len(images), 0.25, jnp.float32)
    some = jax.jit(apply_operation, static_argnames=("fill", "possible"))
    found = np.asarray(some(images, operation, argument, fill=FILL, possible=five))
    for index, name in enumerate(OPERATIONS):
        expected = ours(name, images[:1], 0.25)[0] if name in five else images[0]
        np.testing.assert_array_equal(found[index + 1], expected, err_msg=name)


def test_levels_are_normal_and_signs_even(drawn):
    ((operation, argument),) = drawn(magnitude=5.0, std=1.0)
    degrees = argument[operation == OPERATIONS.index("Rotate")]
    levels = np.abs(degrees) / 3
    assert 0.3 < np.mean(degrees < 0) < 0.7
    assert abs(levels.mean() - 5) < 0.4 and 0.75 < levels.std() < 1.25
    ((operation, argument),) = drawn(magnitude=9.5, std=5.0)
    assert np.abs(argument[operation == OPERATIONS.index("Rotate")]).max() == pytest.approx(30)
    ((operation, argument),) = drawn(std=0.0)
    np.testing.assert_allclose(np.abs(argument[operation == OPERATIONS.index("Rotate")]), 27, rtol=1e-5)


def test_layers_are_drawn_anew(drawn):
    first, second = drawn(count=2)
    assert 0.2 < np.mean(first[0] == second[0]) < 0.35  # a quarter none and none, and 1/60 the same one


@pytest.mark.parametrize("operations", ["fifteen", "five"])
def test_random_draws_are_pillow_s(operations, monkeypatch):
    """Images as they come out, against Pillow with the operation and the argument that each was drawn."""
    drawn = []

    def keep(images, operation, argument, **options):
        drawn.append((np.asarray(operation), np.asarray(argument)))
        return apply(images, operation, argument, **options)

    apply = jax.jit(apply_operation, static_argnames=("fill", "possible"))
    monkeypatch.setattr(randaugment, "apply_operation", keep)
    images = np.random.default_rng(2).integers(0, 256, (300, 18, 16, 3), np.uint8)
    options = dict(count=1, magnitude=9.0, std=0.4, increasing=True, operations=operations, fill=FILL)
    found = np.asarray(rand_augment(jax.random.key(7), jnp.asarray(images), **options)).astype(int)
    ((chosen, argument),) = drawn
    assert len({*chosen}) == 1 + len(randaugment.SETS[operations])
    for image, one, index, value in zip(images, found, chosen, argument, strict=True):
        expected = image if index == NO_OPERATION else pillow(OPERATIONS[index], image, float(value))
        apart = np.abs(one - expected)
        assert apart.max() <= 1 and (apart > 0).mean() < 0.05, OPERATIONS[index]  # rounding, as above


def test_same_key_same_images_and_jit_changes_nothing():
    images = jnp.asarray(np.repeat(pictures()[:4], 8, axis=0))
    augment = functools.partial(rand_augment, count=1, magnitude=9.0, std=0.4, increasing=True, fill=FILL)
    first = np.asarray(jax.jit(augment)(jax.random.key(3), images))
    np.testing.assert_array_equal(first, jax.jit(augment)(jax.random.key(3), images))
    eager = np.asarray(augment(jax.random.key(3), images)).astype(int)
    apart = np.abs(first - eager)  # products are rounded on their own there
    assert apart.max() <= 1 and (apart > 0).mean() < 1e-3
    assert np.any(np.asarray(first) != np.asarray(jax.jit(augment)(jax.random.key(4), images)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(count=-1), "randaugment_count must be 0 or more, got -1"),
        (dict(magnitude=11.0), "randaugment_magnitude must be from 0 to 10, got 11.0"),
        (dict(std=float("inf")), "randaugment_std must be 0 or more and finite, got inf"),
        (dict(operations="six"), "randaugment_operations must be one of fifteen, five, got 'six'"),
    ],
)
def test_bad_options(options, message):
    options = dict(count=1, magnitude=9.0, std=0.4, increasing=True) | options
    with pytest.raises(ValueError, match=message):
        rand_augment(jax.random.key(0), jnp.zeros((1, 4, 4, 3), jnp.uint8), **options)
