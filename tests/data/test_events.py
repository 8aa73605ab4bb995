"""Events to frames, against loops over single events."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stata_jax.data.events import Events, count_backward, runs_by_duration, select, to_frames

SIZE = {"height": 5, "width": 7, "name": "a.aedat"}


def draw(count: int, seed: int, *, lasts: int = 1000, start: int = 12345) -> Events:
    random = np.random.RandomState(seed)
    return Events(
        t=start + np.sort(random.randint(0, lasts, count)).astype(np.int64),
        x=random.randint(0, 7, count).astype(np.int32),
        y=random.randint(0, 5, count).astype(np.int32),
        p=random.randint(0, 2, count).astype(np.uint8),
    )


def count_by_hand(events: Events, timesteps: int, run_of) -> np.ndarray:
    frames = np.zeros((timesteps, 5, 7, 2), np.int64)
    for i in range(events.t.size):
        frames[run_of(i), events.y[i], events.x[i], events.p[i]] += 1
    return frames


@given(st.integers(1, 9), st.integers(0, 60), st.integers(0, 2**16))
def test_by_count_is_runs_of_equal_number_and_the_rest_in_the_last(timesteps, more, seed):
    events = draw(timesteps + more, seed)
    length = (timesteps + more) // timesteps
    frames, cut = to_frames(events, timesteps=timesteps, by="count", **SIZE)
    expected = count_by_hand(events, timesteps, lambda i: min(i // length, timesteps - 1))
    assert frames.dtype == np.uint8 and cut == 0
    np.testing.assert_array_equal(frames, expected)


@given(st.integers(1, 9), st.integers(1, 60), st.integers(9, 500), st.integers(0, 2**16))
def test_by_duration_is_runs_of_equal_time_and_the_rest_in_the_last(timesteps, more, lasts, seed):
    events = draw(timesteps + more, seed, lasts=lasts)
    events.t[-1] = events.t[0] + lasts  # so that it is long enough
    dt = lasts // timesteps
    frames, _ = to_frames(events, timesteps=timesteps, by="duration", **SIZE)
    expected = count_by_hand(events, timesteps, lambda i: min(int(events.t[i] - events.t[0]) // dt, timesteps - 1))
    np.testing.assert_array_equal(frames, expected)


@given(st.integers(1, 6), st.lists(st.integers(0, 40), min_size=8, max_size=40), st.integers(0, 2**16))
def test_times_in_any_order_by_count_as_they_stand_by_duration_sorted(timesteps, times, seed):
    times[:2] = [0, 50]  # so that it is long enough
    events = draw(len(times), seed)._replace(t=np.array(times))
    length = len(times) // timesteps
    frames, _ = to_frames(events, timesteps=timesteps, by="count", **SIZE)
    expected = count_by_hand(events, timesteps, lambda i: min(i // length, timesteps - 1))
    np.testing.assert_array_equal(frames, expected)
    frames, _ = to_frames(events, timesteps=timesteps, by="duration", **SIZE)
    dt = 50 // timesteps
    expected = count_by_hand(events, timesteps, lambda i: min(times[i] // dt, timesteps - 1))
    np.testing.assert_array_equal(frames, expected)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_backward_timestamps_are_counted_unless_they_are_most(times):
    back = forth = 0
    for i in range(1, len(times)):
        back += times[i] < times[i - 1]
        forth += times[i] > times[i - 1]
    if back <= forth:
        assert count_backward(np.array(times), name="a.aedat") == back
    else:
        with pytest.raises(ValueError, match=rf"a\.aedat .* backwards in {back} of the {back + forth} places"):
            count_backward(np.array(times), name="a.aedat")


def test_a_run_of_time_without_events_is_an_empty_frame():
    events = draw(4, 0)._replace(t=np.array([0, 1, 2, 40]))
    frames, _ = to_frames(events, timesteps=4, by="duration", **SIZE)
    np.testing.assert_array_equal(frames.sum((1, 2, 3)), [3, 0, 0, 1])
    np.testing.assert_array_equal(runs_by_duration(events.t, 4), [0, 3, 3, 3, 4])


def test_counts_above_a_byte_are_cut_down_and_counted():
    many = np.zeros(700, np.int32)
    events = Events(np.arange(700), many, many, (np.arange(700) >= 300).astype(np.uint8))
    frames, cut = to_frames(events, timesteps=1, by="count", **SIZE)
    np.testing.assert_array_equal(frames[0, 0, 0], [255, 255])
    assert cut == 2 and frames.sum() == 510
    exact, none_cut = to_frames(select(events, slice(45, 300)), timesteps=1, by="count", **SIZE)
    assert exact[0, 0, 0, 0] == 255 and none_cut == 0


@pytest.mark.parametrize("by", ["count", "duration"])
@pytest.mark.parametrize("count", [0, 7])
def test_too_few_events_name_the_recording(by, count):
    with pytest.raises(ValueError, match=rf"a\.aedat has {count} events, too few for 8 frames"):
        to_frames(draw(count, 0), timesteps=8, by=by, **SIZE)


def test_what_cannot_be_counted_names_the_recording():
    events = draw(20, 0)
    with pytest.raises(ValueError, match=r"a\.aedat has an event outside the 5x7 frame"):
        to_frames(events._replace(x=events.x + 1), timesteps=2, by="count", **SIZE)
    with pytest.raises(ValueError, match=r"a\.aedat has an event outside"):
        to_frames(events._replace(y=events.y - 1), timesteps=2, by="count", **SIZE)
    with pytest.raises(ValueError, match=r"a\.aedat lasts 1 microseconds"):
        to_frames(events._replace(t=np.arange(20) // 10), timesteps=2, by="duration", **SIZE)
    with pytest.raises(ValueError, match=r"data\.frames must be one of count, duration, got 'time'"):
        to_frames(events, timesteps=2, by="time", **SIZE)
