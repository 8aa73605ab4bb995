"""Cluttered digits against NumPy loops over the same scene."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from stata_jax.data.scenes import (
    DigitBank,
    Scene,
    cluttered_digit,
    draw_scene,
    enlarge,
    load_banks,
    paint,
    split_originals,
)

OPTIONS = {"image_size": 32, "fragment": 8, "clutter": 8, "noise": 0.0}


@pytest.fixture(scope="module")
def banks() -> tuple[DigitBank, DigitBank]:
    return load_banks(16)


@functools.lru_cache
def drawer(**options):
    """`cluttered_digit` over a batch of keys and digits, compiled once per set of options."""

    def draw(key, bank, labels, index):
        return cluttered_digit(key, bank, labels, index, **options)

    return jax.jit(jax.vmap(draw, in_axes=(0, None, None, 0)))


def draw_batch(seed: int, bank: DigitBank, count: int, **changes) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Images of random digits of the bank, and which digits they show."""
    shown = np.random.RandomState(seed).randint(0, len(bank.labels), count).astype(np.int32)
    keys = jax.random.split(jax.random.key(seed), count)
    return shown, jax.device_get(drawer(**{**OPTIONS, **changes})(keys, bank.images, bank.labels, shown))


def draw_scenes(count: int, **options) -> tuple[np.ndarray, Scene]:
    """Scenes of digits 0, 1, 2 ... of the bank, in turn."""
    index = np.arange(count, dtype=np.int32) % options["num_digits"]
    keys = jax.random.split(jax.random.key(3), count)
    return index, jax.device_get(jax.jit(jax.vmap(lambda key, i: draw_scene(key, i, **options)))(keys, index))


def overlap(place: np.ndarray, fragment: int, corner: np.ndarray, size: int) -> int:
    """Rows or columns, whichever are fewer, that a fragment and the digit's box have in common."""
    common = [
        len(set(range(place[axis], place[axis] + fragment)) & set(range(corner[axis], corner[axis] + size)))
        for axis in (0, 1)
    ]
    return min(common)


def test_split_is_a_fixed_stratified_partition():
    target = load_digits().target
    train, test = split_originals(target)
    assert not set(train) & set(test)
    assert sorted([*train, *test]) == list(range(1797))
    for label in range(10):
        members = np.sum(target == label)
        assert abs(np.sum(target[test] == label) - members / 4) <= 0.5
    again = split_originals(target)
    np.testing.assert_array_equal(train, again[0])
    # The division of the originals must never change: results before and after would not compare.
    assert (len(train), len(test)) == (1347, 450)
    assert (train[:4].tolist(), test[:4].tolist()) == ([1644, 1050, 1070, 1064], [70, 143, 495, 613])


def test_classes_alternate_within_a_split():
    target = load_digits().target
    for originals in split_originals(target):
        for start in range(0, len(originals) - 100, 37):
            counts = np.bincount(target[originals[start : start + 100]], minlength=10)
            assert counts.min() >= 8
            assert counts.max() <= 12


def test_banks_hold_the_originals_they_name(banks):
    digits = load_digits()
    assert not set(banks[0].originals.tolist()) & set(banks[1].originals.tolist())
    for bank in banks:
        assert (bank.images.dtype, bank.labels.dtype) == (jnp.uint8, jnp.int32)
        originals = np.asarray(bank.originals)
        np.testing.assert_array_equal(bank.labels, digits.target[originals])
        resized = jax.image.resize(jnp.asarray(digits.images[originals], jnp.float32), bank.images.shape, "linear")
        np.testing.assert_allclose(np.asarray(bank.images, np.float32), resized * (255 / 16), atol=0.51)


@pytest.mark.parametrize("size", [1, 5, 8, 16, 21])
def test_enlarge_interpolates_between_pixel_centres(size):
    images = np.random.RandomState(0).randint(0, 17, (2, 8, 8)).astype(np.float64)
    images[:, 0, 0], images[:, 7, 7] = 0, 16
    expected = np.zeros((2, size, size))
    for row in range(size):
        for column in range(size):
            weight_row = np.interp((row + 0.5) * 8 / size - 0.5, range(8), range(8))
            weight_column = np.interp((column + 0.5) * 8 / size - 0.5, range(8), range(8))
            for n in range(2):
                along = [np.interp(weight_column, range(8), images[n, r]) for r in range(8)]
                expected[n, row, column] = np.interp(weight_row, range(8), along)
    np.testing.assert_allclose(enlarge(images, size), expected * 255 / 16, atol=0.5 + 1e-9)


def test_alone_and_without_noise_the_image_is_the_digit_at_its_corner(banks):
    shown, batch = draw_batch(0, banks[0], 50, clutter=0)
    for index, image, label, corner in zip(shown, batch["image"], batch["label"], batch["corner"], strict=True):
        expected = np.zeros((32, 32, 1), np.float32)
        row, column = corner
        expected[row : row + 16, column : column + 16, 0] = np.asarray(banks[0].images[index], np.float32) / 255
        np.testing.assert_allclose(image, expected, atol=1e-7)
        assert label == banks[0].labels[index]


def test_fragments_never_hide_the_digit(banks):
    shown, batch = draw_batch(1, banks[1], 50)
    bare_shown, bare = draw_batch(1, banks[1], 50, clutter=0)
    np.testing.assert_array_equal(shown, bare_shown)
    np.testing.assert_array_equal(batch["corner"], bare["corner"])
    assert np.all(batch["image"] >= bare["image"])
    assert np.all(np.sum(batch["image"] > bare["image"], axis=(1, 2, 3)) > 50)


def test_output_types(banks):
    _, batch = draw_batch(2, banks[0], 3)
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == {
        "image": ((3, 32, 32, 1), np.float32),
        "label": ((3,), np.int32),
        "corner": ((3, 2), np.int32),
    }


def test_paint_matches_a_loop_over_pixels():
    random = np.random.RandomState(0)
    bank = random.randint(0, 256, (5, 6, 6)).astype(np.uint8)
    scene = Scene(
        corner=np.array([3, 1]),
        sources=np.array([4, 0, 2]),
        cuts=np.array([[0, 3], [3, 0], [1, 2]]),
        places=np.array([[7, 0], [0, 7], [4, 4]]),
    )
    expected = np.zeros((10, 10), np.uint8)
    for row in range(10):
        for column in range(10):
            ink = [0]
            if 0 <= row - 3 < 6 and 0 <= column - 1 < 6:
                ink.append(bank[1, row - 3, column - 1])
            for source, cut, place in zip(scene.sources, scene.cuts, scene.places, strict=True):
                down, right = row - place[0], column - place[1]
                if 0 <= down < 3 and 0 <= right < 3:
                    ink.append(bank[source, cut[0] + down, cut[1] + right])
            expected[row, column] = max(ink)
    arrays = jax.tree.map(functools.partial(jnp.asarray, dtype=jnp.int32), scene)
    np.testing.assert_array_equal(paint(jnp.asarray(bank), 1, arrays, image_size=10, fragment=3), expected)


def test_scene_reaches_all_it_may_and_nothing_else():
    size, image_size, fragment = 6, 12, 4
    index, scene = draw_scenes(6000, num_digits=7, size=size, image_size=image_size, fragment=fragment, clutter=3)
    assert {tuple(corner) for corner in scene.corner} == {(r, c) for r in range(7) for c in range(7)}
    assert {tuple(cut) for cut in scene.cuts.reshape(-1, 2)} == {(r, c) for r in range(3) for c in range(3)}
    for shown in range(7):
        assert set(scene.sources[index == shown].ravel()) == set(range(7)) - {shown}

    # In this geometry one row or column may overlap, so all free places around one corner, and only those, occur.
    corner = np.array([2, 5])
    here = scene.places[np.all(scene.corner == corner, axis=1)].reshape(-1, 2)
    free = {
        (r, c) for r in range(9) for c in range(9) if overlap(np.array([r, c]), fragment, corner, size) <= fragment // 4
    }
    assert {tuple(place) for place in here} == free
    counts = np.unique(here, axis=0, return_counts=True)[1]
    expected = len(here) / len(free)
    assert np.sum((counts - expected) ** 2 / expected) < len(free) + 5 * np.sqrt(2 * len(free))


def test_default_fragments_keep_off_the_digit():
    _, scene = draw_scenes(300, num_digits=50, size=16, image_size=32, fragment=8, clutter=8)
    depth = np.array(
        [
            [overlap(place, 8, corner, 16) for place in places]
            for corner, places in zip(scene.corner, scene.places, strict=True)
        ]
    )
    assert depth.max() == 2
    assert scene.places.min() == 0
    assert scene.places.max() == 32 - 8


def test_fragments_take_the_least_overlap_where_there_is_no_room():
    _, scene = draw_scenes(20, num_digits=5, size=8, image_size=10, fragment=6, clutter=4)
    for corner, places in zip(scene.corner, scene.places, strict=True):
        least = min(overlap(np.array([r, c]), 6, corner, 8) for r in range(5) for c in range(5))
        assert least > 6 // 4
        assert {overlap(place, 6, corner, 8) for place in places} == {least}


def test_noise_has_the_given_deviation_and_is_clipped():
    grey = DigitBank(*(jnp.full((2, 16, 16), 128, jnp.uint8), jnp.zeros(2, jnp.int32), jnp.zeros(2, jnp.int32)))
    options = {"image_size": 16, "fragment": 4, "clutter": 0}
    _, batch = draw_batch(0, grey, 100, **options, noise=0.05)
    noise = batch["image"] - np.float32(128 / 255)
    assert abs(noise.mean()) < 2e-3
    assert abs(noise.std() - 0.05) < 2e-3
    assert np.unique(batch["image"]).size > 1000
    _, loud = draw_batch(0, grey, 100, **options, noise=1.0)
    assert (loud["image"].min(), loud["image"].max()) == (0, 1)


def test_noise_leaves_the_scene_alone(banks):
    _, clean = draw_batch(5, banks[0], 10)
    _, noisy = draw_batch(5, banks[0], 10, noise=0.01)
    np.testing.assert_array_equal(clean["corner"], noisy["corner"])
    np.testing.assert_allclose(clean["image"], noisy["image"], atol=0.06)
    assert np.mean(clean["image"] == noisy["image"]) < 0.7  # background below zero is clipped


def test_an_image_follows_from_its_key(banks):
    bank = banks[0]
    draw = drawer(**OPTIONS)
    index = np.array([7, 7, 7], np.int32)
    keys = jax.random.split(jax.random.key(0))
    image = draw(keys[np.array([0, 1, 0])], bank.images, bank.labels, index)["image"]
    np.testing.assert_array_equal(image[0], image[2])
    assert np.any(image[0] != image[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 15}, "image_size 15"),
        ({"fragment": 17}, "fragment must be 1 to 16 pixels, the digits' size, got 17"),
        ({"fragment": 0}, "got 0"),
        ({"clutter": -1}, "clutter .* got -1"),
        ({"noise": -0.1}, "noise .* got -0.1"),
        ({"noise": float("nan")}, "noise .* got nan"),
    ],
)
def test_options_are_checked(banks, changes, message):
    bank = banks[0]
    with pytest.raises(ValueError, match=message):
        cluttered_digit(jax.random.key(0), bank.images, bank.labels, 0, **{**OPTIONS, **changes})


def test_banks_are_checked(banks):
    bank = banks[0]
    with pytest.raises(ValueError, match=r"bank must be .* float32"):
        cluttered_digit(jax.random.key(0), bank.images.astype(jnp.float32), bank.labels, 0, **OPTIONS)
    with pytest.raises(ValueError, match=r"labels must be \(1347,\)"):
        cluttered_digit(jax.random.key(0), bank.images, bank.labels[:5], 0, **OPTIONS)
    with pytest.raises(ValueError, match="single digit"):
        cluttered_digit(jax.random.key(0), bank.images[:1], bank.labels[:1], 0, **OPTIONS)
    with pytest.raises(ValueError, match="size must be at least 1 pixel, got 0"):
        load_banks(0)
