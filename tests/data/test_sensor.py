"""The simulated sensor, against loops over single pixels."""

import numpy as np
import pytest

from stata_jax.data.sensor import closed_path, crossings, offset_at, record, record_all, shift

OPTIONS = {"threshold": 0.25, "amplitude": 2.0, "samples": 5, "saccade_us": 1000, "dark": 0.1, "noise_hz": 0.0}


def crossings_by_hand(levels: np.ndarray, threshold: float) -> list[tuple[float, int, int]]:
    """Walks each signal in ten thousand steps an interval."""
    found = []
    for signal in range(levels.shape[1]):
        fine = np.interp(np.arange((len(levels) - 1) * 10_000 + 1) / 10_000, np.arange(len(levels)), levels[:, signal])
        reference = fine[0]
        for place, level in enumerate(fine):
            while abs(level - reference) >= threshold:
                up = level > reference
                reference += threshold if up else -threshold
                found.append((place / 10_000, signal, int(up)))
    return sorted(found, key=lambda event: (event[1], event[0]))


def test_crossings_are_those_of_a_walk_along_the_signal():
    levels = np.random.RandomState(0).normal(size=(6, 7))
    time, signal, polarity = crossings(levels, threshold=0.3)
    order = np.lexsort((time, signal))
    expected = crossings_by_hand(levels, 0.3)
    assert len(expected) == time.size > 50
    np.testing.assert_array_equal(signal[order], [event[1] for event in expected])
    np.testing.assert_array_equal(polarity[order], [event[2] for event in expected])
    np.testing.assert_allclose(time[order], [event[0] for event in expected], atol=2e-4)


def test_a_level_just_reached_counts_once():
    time, signal, polarity = crossings(np.array([[0.0], [0.3], [0.3], [0.0], [0.6]]), threshold=0.1)
    np.testing.assert_allclose(time, [1 / 3, 2 / 3, 1, 7 / 3, 8 / 3, 3, *(3 + np.arange(1, 7) / 6)])
    np.testing.assert_array_equal(polarity, [1] * 3 + [0] * 3 + [1] * 6)
    assert not signal.any()


def test_no_change_sends_nothing():
    assert crossings(np.ones((3, 4)), threshold=0.1)[0].size == 0
    assert record(np.zeros((6, 6)), random=np.random.RandomState(0), **OPTIONS).t.size == 0


def test_shift_moves_by_whole_and_broken_pixels():
    image = np.random.RandomState(0).rand(1, 6, 6)
    moved = shift(image, np.array([2.0, -1.0]))
    np.testing.assert_allclose(moved[:, 2:, :-1], image[:, :-2, 1:])
    assert not moved[:, :2].any() and not moved[..., -1].any()
    half = shift(image, np.array([0.5, 0.25]))
    expected = 0.5 * 0.75 * image[0, 3, 3] + 0.5 * 0.25 * image[0, 3, 2]
    expected += 0.5 * 0.75 * image[0, 2, 3] + 0.5 * 0.25 * image[0, 2, 2]
    np.testing.assert_allclose(half[0, 3, 3], expected)


def test_the_path_is_closed_and_even():
    path = closed_path(amplitude=3, samples=4)
    assert path.shape == (13, 2) and not path[0].any() and not path[-1].any()
    np.testing.assert_allclose(path.max(0), [3, 3])
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1).reshape(3, 4)
    np.testing.assert_allclose(steps, steps[:, :1].repeat(4, 1))


def test_the_offset_is_the_place_on_the_path():
    samples = closed_path(amplitude=3, samples=4)
    np.testing.assert_allclose(offset_at(np.arange(13) * 250, amplitude=3, saccade_us=1000), samples, atol=1e-12)
    between = offset_at(np.array([[100], [1999]]), amplitude=3, saccade_us=1000)
    np.testing.assert_allclose(between, [[[0.3, 0.15]], [[0.003, 2.9985]]])


def test_events_of_a_square_are_at_the_edges_of_its_box_at_their_time():
    """The pixels that an edge passes, and no others; also where the square leaves the picture."""
    image = np.zeros((20, 20))
    image[9:19, 3:13] = 1.0
    options = OPTIONS | {"amplitude": 4.0, "samples": 16, "saccade_us": 100_000}
    events = record(image, random=np.random.RandomState(0), **options)
    assert events.t.size > 1000
    corner = np.array([9, 3]) + offset_at(events.t, amplitude=4.0, saccade_us=100_000)
    # An image at a broken offset shares its outer pixels with the background: what an edge at x touches is within a
    # pixel of x, and intensity is a straight line only between two samples, a quarter pixel apart.
    begin = np.stack([events.y, events.x], axis=1) - corner
    assert (np.abs(begin[:, :, None] - np.array([-0.5, 9.5])).min(axis=(1, 2)) <= 0.5 + 0.26).all()
    assert ((begin >= -1.26) & (begin <= 10.26)).all()
    still = np.stack([events.y, events.x], axis=1) - np.array([9, 3])
    assert (np.abs(still[:, :, None] - np.array([-0.5, 9.5])).min(axis=(1, 2)) > 1.5).mean() > 0.2


def test_a_bright_dot_leaves_brightness_ahead_and_darkness_behind():
    image = np.zeros((9, 9))
    image[4, 4] = 1.0
    events = record(image, random=np.random.RandomState(0), **OPTIONS)
    first = events.t < 200  # a fifth of the first saccade: down by 0.4 and right by 0.2 pixels
    assert set(events.p[first & (events.y == 4) & (events.x == 4)]) == {0}
    assert set(events.p[first & (events.y == 5)]) == {1}
    assert (np.diff(events.t) >= 0).all() and events.t.min() >= 0 and events.t.max() <= 3000
    # Back where it began: as many steps up as down, but for less than one step.
    for y in range(9):
        for x in range(9):
            p = events.p[(events.y == y) & (events.x == x)].astype(int)
            assert abs((2 * p - 1).sum()) <= 1


def test_all_at_once_is_one_by_one():
    images = np.random.RandomState(0).rand(3, 8, 8)
    options = OPTIONS | {"noise_hz": 500.0}
    together = record_all(images, [np.random.RandomState(seed) for seed in range(3)], **options)
    for seed, events in enumerate(together):
        alone = record(images[seed], random=np.random.RandomState(seed), **options)
        for field, expected in zip(events, alone, strict=True):
            np.testing.assert_array_equal(field, expected)


def test_noise_has_the_asked_rate():
    options = OPTIONS | {"noise_hz": 20.0, "saccade_us": 1_000_000}
    events = record(np.zeros((32, 32)), random=np.random.RandomState(0), **options)
    expected = 20 * 3 * 32 * 32
    assert abs(events.t.size - expected) < 5 * expected**0.5
    assert abs(events.p.mean() - 0.5) < 0.02
    assert (np.bincount(events.y * 32 + events.x, minlength=1024) > 20).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [("threshold", 0), ("dark", 0), ("amplitude", -1), ("noise_hz", np.inf), ("samples", 0), ("saccade_us", 4)],
)
def test_impossible_options_are_named(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be .*, got {value}"):
        record(np.zeros((4, 4)), random=np.random.RandomState(0), **{**OPTIONS, name: value})
    with pytest.raises(ValueError, match=r"images must be \(B, H, W\), got \(1, 4, 4, 1\)"):
        record(np.zeros((4, 4, 1)), random=np.random.RandomState(0), **OPTIONS)
