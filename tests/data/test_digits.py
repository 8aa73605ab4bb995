"""Epochs and batches: what an image depends on, what it is made of, and that none is missed or counted twice."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.data.draws import epoch_order
from stata_jax.data.options import SourceOptions
from stata_jax.data.scenes import DigitBank, cluttered_digit
from stata_jax.data.sources import digits as source_module
from stata_jax.data.sources.digits import DigitsSource, open_digits
from stata_jax.streams import PRNG, Stream, stream_key

OPTIONS = {
    "image_size": 24,
    "train_examples": 64,
    "test_examples": 21,
    "test_seed": 5,
    "size": 12,
    "clutter": 3,
    "fragment": 6,
    "noise": 0.1,
    "batch_size": 16,
    "eval_batch_size": 8,
    "seed": 0,
}


def make(**changes) -> DigitsSource:
    return open_digits(SourceOptions(**OPTIONS | changes))


@pytest.fixture(scope="module")
def source() -> DigitsSource:
    return make()


def epoch_of(source: DigitsSource, epoch: int) -> dict[str, np.ndarray]:
    batches = [jax.device_get(source.train_batch(epoch, step)) for step in range(source.steps_per_epoch)]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def whole_test_set(source: DigitsSource) -> dict[str, np.ndarray]:
    batches = [jax.device_get(source.test_batch(step)) for step in range(source.test_steps)]
    joined = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    return {name: value[joined["mask"]] for name, value in joined.items()}


def with_ink(bank: DigitBank, ink: int) -> DigitBank:
    """The bank with every pixel of every digit at one value."""
    return bank._replace(images=jnp.full_like(bank.images, ink))


def test_counts_and_shapes(source):
    assert (source.num_classes, source.image_shape) == (10, (24, 24, 1))
    assert (source.train_examples, source.test_examples) == (64, 21)
    assert (source.steps_per_epoch, source.test_steps) == (4, 3)
    train = {"image": ((16, 24, 24, 1), np.float32), "label": ((16,), np.int32), "corner": ((16, 2), np.int32)}
    test = {name: ((8, *shape[1:]), dtype) for name, (shape, dtype) in train.items()} | {"mask": ((8,), np.bool_)}
    for batch, expected in ((source.train_batch(0, 0), train), (source.test_batch(0), test)):
        assert {name: (value.shape, value.dtype) for name, value in batch.items()} == expected
    image = np.asarray(source.train_batch(0, 0)["image"])
    assert (image.min(), image.max()) == (0, 1)


def test_training_image_follows_from_seed_epoch_and_index(source):
    def draw(seed_key, epoch, index):
        key = jax.random.fold_in(jax.random.fold_in(seed_key, epoch), index)
        bank = source.train_bank
        options = {"image_size": 24, "fragment": 6, "clutter": 3, "noise": 0.1}
        return cluttered_digit(key, bank.images, bank.labels, index % 1347, **options)

    draw = jax.jit(draw)
    seed_key = stream_key(0, Stream.TRAINING_SCENES, impl=PRNG)
    order = np.asarray(epoch_order(jax.random.fold_in(seed_key, 2), 64))
    batch = source.train_batch(2, 3)
    for place in (0, 7, 15):
        alone = draw(seed_key, 2, jnp.int32(order[3 * 16 + place]))
        for name, value in alone.items():
            np.testing.assert_allclose(value, batch[name][place], atol=1e-6)


def test_epoch_shows_every_image_once_in_an_order_of_its_own(source):
    orders = [np.asarray(epoch_order(jax.random.fold_in(source.train_key, epoch), 64)) for epoch in range(3)]
    for epoch, order in enumerate(orders):
        assert sorted(order) == list(range(64))
        labels = epoch_of(source, epoch)["label"]
        np.testing.assert_array_equal(labels, np.asarray(source.train_bank.labels)[order])
        counts = np.bincount(labels, minlength=10)
        assert counts.max() - counts.min() <= 2
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[1], orders[2])
    assert not np.array_equal(orders[0], np.arange(64))


def test_epoch_is_repeatable_and_unlike_the_next(source):
    first, again, following = epoch_of(source, 0), epoch_of(make(), 0), epoch_of(source, 1)
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    keys = [jax.random.fold_in(source.train_key, epoch) for epoch in (0, 1)]
    back = [np.argsort(np.asarray(epoch_order(key, 64))) for key in keys]
    np.testing.assert_array_equal(first["label"][back[0]], following["label"][back[1]])
    same = np.all(first["image"][back[0]] == following["image"][back[1]], axis=(1, 2, 3))
    assert not same.any()


def test_images_do_not_depend_on_the_batch_size(source):
    whole, parts = epoch_of(source, 1), epoch_of(make(batch_size=12), 1)
    assert len(parts["label"]) == 60
    for name, value in parts.items():
        np.testing.assert_allclose(value, whole[name][:60], atol=1e-6)
    whole, parts = whole_test_set(source), whole_test_set(make(eval_batch_size=30))
    for name, value in parts.items():
        np.testing.assert_allclose(value, whole[name], atol=1e-6)


def test_seed_changes_the_training_images_and_the_test_seed_the_test_images(source):
    other = make(seed=1)
    assert not np.array_equal(source.train_batch(0, 0)["image"], other.train_batch(0, 0)["image"])
    np.testing.assert_array_equal(source.test_batch(1)["image"], other.test_batch(1)["image"])
    other = make(test_seed=6)
    np.testing.assert_array_equal(source.train_batch(0, 0)["image"], other.train_batch(0, 0)["image"])
    assert not np.array_equal(source.test_batch(1)["image"], other.test_batch(1)["image"])


def test_every_test_image_counts_once(source):
    masks = [np.asarray(source.test_batch(step)["mask"]) for step in range(3)]
    assert [mask.sum() for mask in masks] == [8, 8, 5]
    assert masks[2].tolist() == [True] * 5 + [False] * 3
    padded = source.test_batch(2)
    np.testing.assert_array_equal(padded["image"][5:], source.test_batch(0)["image"][:3])
    np.testing.assert_array_equal(whole_test_set(source)["label"], source.test_bank.labels[:21])


def test_more_images_than_digits_show_the_digits_again(source):
    few = dataclasses.replace(source, test_bank=jax.tree.map(lambda array: array[:4], source.test_bank))
    labels = whole_test_set(few)["label"]
    np.testing.assert_array_equal(labels, np.resize(np.asarray(few.test_bank.labels), 21))
    images = whole_test_set(few)["image"]
    assert not np.array_equal(images[0], images[4])


def test_each_split_is_made_of_its_own_digits_only(source):
    assert not set(source.train_bank.originals.tolist()) & set(source.test_bank.originals.tolist())
    marked = dataclasses.replace(
        source,
        options=dataclasses.replace(source.options, noise=0.0),
        train_bank=with_ink(source.train_bank, 204),
        test_bank=with_ink(source.test_bank, 51),
    )
    for batch, ink in ((marked.train_batch(0, 0), 0.8), (marked.test_batch(0), 0.2)):
        image = np.asarray(batch["image"])
        np.testing.assert_allclose(np.unique(image), [0, ink], atol=1e-6)
        assert np.all(np.sum(image > 0, axis=(1, 2, 3)) > 12 * 12)  # the digit and some fragments


def test_digit_stands_at_its_corner(source):
    clean = dataclasses.replace(source, options=dataclasses.replace(source.options, noise=0.0))
    batch = jax.device_get(clean.test_batch(0))
    for i, (row, column) in enumerate(batch["corner"]):
        digit = np.asarray(source.test_bank.images[i], np.float32) / 255
        window = batch["image"][i, row : row + 12, column : column + 12, 0]
        assert np.all(window >= digit - 1e-6)
        inside = (slice(2, -2), slice(2, -2))  # fragments of 6 pixels reach in by one
        np.testing.assert_allclose(window[inside], digit[inside], atol=1e-6)


def test_processes_share_the_batches(source):
    parts = [make(process_index=index, process_count=2) for index in range(2)]
    for ask in (lambda s: s.train_batch(1, 2), lambda s: s.test_batch(2)):
        halves = [ask(part) for part in parts]
        for name, value in ask(source).items():
            np.testing.assert_allclose(value, np.concatenate([half[name] for half in halves]), rtol=0, atol=1e-6)


def test_batches_are_compiled_once(source):
    source.train_batch(0, 0), source.test_batch(0)
    sizes = [f._cache_size() for f in (source_module._draw_train_batch, source_module.draw_batch)]
    source.train_batch(3, 2), source.test_batch(2), source.train_batch(np.int64(1), np.int32(1))
    assert sizes == [f._cache_size() for f in (source_module._draw_train_batch, source_module.draw_batch)]


def test_no_batch_beyond_the_last(source):
    for call in (
        lambda: source.train_batch(0, 4),
        lambda: source.train_batch(0, -1),
        lambda: source.train_batch(-1, 0),
        lambda: source.test_batch(3),
    ):
        with pytest.raises(ValueError, match="must be"):
            call()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 25}, "data.digits.size must be at most 24, got 25"),
        ({"size": 0}, "data.digits.size must be at least 1 and finite, got 0"),
        ({"fragment": 13}, "data.digits.fragment must be at most 12, got 13"),
        ({"fragment": 0}, "data.digits.fragment .* got 0"),
        ({"clutter": -1}, "data.digits.clutter .* got -1"),
        ({"noise": -0.5}, "data.digits.noise .* got -0.5"),
        ({"noise": float("nan")}, "data.digits.noise .* got nan"),
        ({"train_examples": 15}, "there are 15 training images, too few for one batch: lower train.batch_size, 16"),
        ({"test_examples": 0}, "there is no test image: raise data.test_examples"),
        ({"batch_size": 0}, "train.batch_size must be a positive multiple of 1 processes, got 0"),
        ({"eval_batch_size": 0}, "eval.batch_size must be a positive multiple of 1 processes, got 0"),
        ({"channels": 0}, "data.channels must be at least 1 .* got 0"),
        ({"num_classes": 9}, "data.num_classes must be at least 10 .* got 9"),
    ],
)
def test_options_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_more_channels_are_all_the_same():
    grey = make().train_batch(0, 0)["image"]
    source = make(channels=3, num_classes=100)
    assert source.image_shape == (*grey.shape[1:3], 3)
    image = np.asarray(source.train_batch(0, 0)["image"])
    np.testing.assert_array_equal(image, np.repeat(image[..., :1], 3, axis=-1))
    np.testing.assert_allclose(image[..., :1], grey, rtol=0, atol=1e-6)  # another program, which may round otherwise
