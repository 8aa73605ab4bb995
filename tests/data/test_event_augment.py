"""Augmentation of recordings: each motion against NumPy or Pillow, the same for all timesteps, ranges of the draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from stata_jax.data import event_augment, warp
from stata_jax.data.event_augment import augment_events, cutout_source, draw_source, gather, roll_source, warp_source

SIZE = {"height": 18, "width": 22}


def recording(timesteps=3, height=18, width=22):
    return np.random.default_rng(0).integers(1, 250, (timesteps, height, width, 2), np.uint8)


@pytest.mark.parametrize("shift", [(0, 0), (5, -3), (-4, 2)])
def test_roll_is_numpy_s(shift):
    frames = recording()
    rolled = gather(jnp.asarray(frames), roll_source(jnp.array(shift, jnp.int32), **SIZE))
    np.testing.assert_array_equal(rolled, np.roll(frames, shift, axis=(1, 2)))


@pytest.mark.parametrize("degrees", [-29.3, -7.1, 0.0, 16.9])
def test_rotation_is_pillow_s(degrees):
    frames = recording()
    turned = np.asarray(gather(jnp.asarray(frames), warp_source(warp.rotation(jnp.float32(degrees), **SIZE), **SIZE)))
    for t in range(3):
        for polarity in range(2):
            expected = np.asarray(Image.fromarray(frames[t, ..., polarity]).rotate(degrees))  # the nearest pixel, or 0
            assert np.mean(turned[t, ..., polarity] != expected) < 0.01  # Pillow's positions are in fixed point


def test_shear_against_a_loop():
    frames, slope = recording(), 0.3
    matrix = warp.shear_x(jnp.float32(slope), about=9.0)
    sheared = gather(jnp.asarray(frames), warp_source(matrix, **SIZE))
    expected = np.zeros_like(frames)
    for row in range(18):
        for column in range(22):
            x = np.floor(column + 0.5 + slope * (row + 0.5 - 9))
            if 0 <= x < 22:
                expected[:, row, column] = frames[:, row, int(x)]
    np.testing.assert_array_equal(sheared, expected)


def test_cutout_empties_a_square():
    frames = recording()
    source = cutout_source(jnp.array([4, 10], jnp.int32), jnp.int32(5), **SIZE)
    expected = frames.copy()
    expected[:, 4:9, 10:15] = 0
    np.testing.assert_array_equal(gather(jnp.asarray(frames), source), expected)


def numbers(kind, mirrored=False, **changes):
    """Uniform numbers that choose a kind, 0 roll, 1 rotate, 2 cutout, 3 shear, otherwise the middle of each range."""
    uniform = np.full(9, 0.5, np.float32)
    uniform[0], uniform[1] = (kind + 0.5) / 4, 0.4 if mirrored else 0.6
    for place, value in changes.items():
        uniform[int(place[1:])] = value
    return jnp.asarray(uniform)


def drawn(frames, uniform):
    return np.asarray(gather(jnp.asarray(frames), draw_source(uniform, **SIZE)))


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_draw_chooses_and_mirrors_first(mirrored):
    frames = recording()
    first = frames[:, :, ::-1] if mirrored else frames
    np.testing.assert_array_equal(drawn(frames, numbers(0, mirrored)), first)  # rolled by 0
    np.testing.assert_array_equal(
        drawn(frames, numbers(0, mirrored, n2=0.0, n3=0.999)), np.roll(first, (-5, 5), (1, 2))
    )
    np.testing.assert_array_equal(drawn(frames, numbers(1, mirrored)), first)
    np.testing.assert_array_equal(drawn(frames, numbers(3, mirrored)), first)
    for uniform, matrix in (
        (numbers(1, mirrored, n4=0.0), warp.rotation(jnp.float32(-30), **SIZE)),
        (numbers(3, mirrored, n5=1.0), warp.shear_x(jnp.float32(np.tan(0.3)), about=9.0)),
    ):
        np.testing.assert_array_equal(drawn(frames, uniform), gather(jnp.asarray(first), warp_source(matrix, **SIZE)))


@pytest.mark.parametrize(("number", "side"), [(0.0, 1), (0.5, round(np.sqrt(0.0555 * 18 * 22))), (1.0, round(6.6))])
def test_cutout_sides(number, side):
    for corner in (0.0, 0.999):
        cut = drawn(recording(), numbers(2, n6=number, n7=corner, n8=corner)) == 0
        assert cut[0, ..., 0].sum() == side**2
        assert cut[0, 0, 0, 0] == (corner == 0) and cut[0, -1, -1, 0] == (corner > 0)


def test_every_timestep_and_polarity_gets_the_same():
    frame = recording(1)[..., :1]
    still = np.broadcast_to(frame, (40, 4, 18, 22, 2))
    moved = np.asarray(jax.jit(augment_events)(jax.random.key(0), still))
    assert moved.dtype == np.uint8
    np.testing.assert_array_equal(moved, np.broadcast_to(moved[:, :1, ..., :1], moved.shape))
    assert len({one.tobytes() for one in moved}) > 35  # and each recording its own
    np.testing.assert_array_equal(augment_events(jax.random.key(0), jnp.asarray(still)), moved)


def test_kinds_and_mirrors_are_equally_likely(monkeypatch):
    kinds = [event_augment.roll_source, event_augment.cutout_source]
    monkeypatch.setattr(event_augment, "roll_source", lambda *a, **k: marked(kinds[0](*a, **k), 0))
    monkeypatch.setattr(event_augment, "cutout_source", lambda *a, **k: marked(kinds[1](*a, **k), 2))
    warps = iter((1, 3))
    monkeypatch.setattr(event_augment, "warp_source", lambda *a, **k: marked(warp_source(*a, **k), next(warps)))
    uniform = jax.random.uniform(jax.random.key(0), (4000, 9))
    row, column, _ = jax.vmap(functools.partial(draw_source, height=4, width=10))(uniform)
    counts = np.bincount(np.asarray(row)[:, 0, 0], minlength=4)
    assert counts.min() > 880 and counts.max() < 1120  # 1000 expected, deviation 27
    assert np.mean(np.asarray(column)[:, 0, 0] == 9) == pytest.approx(0.5, abs=0.03)


def marked(source, kind):
    return jnp.full_like(source[0], kind), jnp.zeros_like(source[1]), source[2]


def test_images_are_refused():
    with pytest.raises(ValueError, match=r"augment.events needs recordings \(B, T, H, W, 2\), got \(2, 8, 8, 3\)"):
        augment_events(jax.random.key(0), jnp.zeros((2, 8, 8, 3)))
