"""Augmentation of recordings: each operation against NumPy or Pillow on random draws, the same for all timesteps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from stata_jax.data.augment.event_augment import augment_events, draw_source, gather

NAMES = ("identity", "shear_x", "translate_x", "translate_y", "rotate", "cutout")
HEIGHT, WIDTH = 40, 46


def recording(timesteps=2, height=HEIGHT, width=WIDTH):
    """Counts that are nowhere 0, so that 0 is what was emptied."""
    return np.random.default_rng(0).integers(1, 250, (timesteps, height, width, 2), np.uint8)


def described(frames, name, level):
    """The operation at magnitude `level`, 0 to 30, written from its description."""
    share = np.linspace(-1, 1, 31)[level]
    height, width = frames.shape[1:3]
    moved = np.zeros_like(frames)
    if name == "identity":
        return frames
    if name in ("translate_x", "translate_y"):
        pixels = int(np.trunc(round(5 * share, 6)))  # the rounding is of linspace, where 2 may be 1.9999999
        for row in range(height):
            for column in range(width):
                from_row, from_column = (row, column - pixels) if name == "translate_x" else (row - pixels, column)
                if 0 <= from_row < height and 0 <= from_column < width:
                    moved[:, row, column] = frames[:, from_row, from_column]
        return moved
    if name == "shear_x":
        for row in range(height):
            for column in range(width):
                x = np.floor(column + 0.5 + np.tan(0.3 * share) * (row + 0.5 - height / 2))
                if 0 <= x < width:
                    moved[:, row, column] = frames[:, row, int(x)]
        return moved
    for t, polarity in np.ndindex(len(frames), 2):
        moved[t, ..., polarity] = np.asarray(Image.fromarray(frames[t, ..., polarity]).rotate(30 * share))
    return moved


@functools.partial(jax.jit, static_argnames="cutout")
def drawn(frames, uniform, cutout="side"):
    return gather(frames, draw_source(uniform, height=HEIGHT, width=WIDTH, cutout=cutout))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("name", NAMES[:-1])
def test_operations_are_as_described_at_all_magnitudes(name, mirrored):
    frames = recording()
    first = frames[:, :, ::-1] if mirrored else frames  # mirrored before the operation
    wrong = []
    for level in range(31):
        kind = (NAMES.index(name) + 0.5) / 6
        found = drawn(frames, np.array([kind, 0.4 if mirrored else 0.6, (level + 0.5) / 31, 0.5, 0.5], np.float32))
        wrong.append(np.mean(found != described(first, name, level)))
    # Pillow turns in fixed point, and a sheared place may fall on the border of two pixels.
    assert max(wrong) < (0.01 if name == "rotate" else 0.002 if name == "shear_x" else 1e-9)
    assert min(wrong) < 1e-9


def squares(count=400, **options):
    """Cutouts of random draws: top, left, height and width of what is empty, `(count, 4)`."""
    uniform = np.random.default_rng(1).uniform(0, 1, (count, 5)).astype(np.float32)
    uniform[:, 0] = 5.5 / 6
    frames, found = recording(1), []
    for numbers in uniform:
        empty = np.asarray(drawn(frames, numbers, **options))[0, ..., 0] == 0
        rows, columns = np.flatnonzero(empty.any(1)), np.flatnonzero(empty.any(0))
        assert empty.sum() == len(rows) * len(columns) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        found.append((rows[0], columns[0], len(rows), len(columns)))
    return uniform, np.array(found)


def test_cutout_empties_a_square_of_1_to_30_pixels():
    uniform, found = squares()
    top, left, tall, wide = found.T
    expected = [int(round(np.linspace(1, 30, 31)[int(level * 31)], 6)) for level in uniform[:, 2]]
    np.testing.assert_array_equal(tall, expected)
    np.testing.assert_array_equal(wide, expected)
    assert (tall.min(), tall.max()) == (1, 30)
    assert top.min() == left.min() == 0 and (top + tall).max() == HEIGHT and (left + wide).max() == WIDTH
    inner = tall < 20
    assert abs((top / (HEIGHT - tall))[inner].mean() - 0.5) < 0.06  # anywhere, equally likely: deviation 0.02


def test_cutout_by_area():
    uniform, found = squares(cutout="area")
    share = 0.001 + np.float64(uniform[:, 2]) * (0.11 - 0.001)
    np.testing.assert_array_equal(found[:, 2], np.round(np.sqrt(HEIGHT * WIDTH * share)))
    np.testing.assert_array_equal(found[:, 2], found[:, 3])


def test_every_timestep_and_polarity_gets_the_same():
    frame = recording(1)[..., :1]
    still = np.broadcast_to(frame, (60, 4, HEIGHT, WIDTH, 2))
    moved = np.asarray(jax.jit(augment_events)(jax.random.key(0), still))
    assert moved.dtype == np.uint8
    np.testing.assert_array_equal(moved, np.broadcast_to(moved[:, :1, ..., :1], moved.shape))
    assert len({one.tobytes() for one in moved}) > 40  # and each recording its own; identity gives two
    np.testing.assert_array_equal(augment_events(jax.random.key(0), jnp.asarray(still)), moved)


def test_the_six_are_equally_likely_and_half_are_mirrored():
    """Told apart by what becomes of a frame, for recordings drawn at random."""
    frames = recording(1)
    batch = np.broadcast_to(frames, (3000, *frames.shape))
    moved = np.asarray(jax.jit(augment_events)(jax.random.key(5), batch))
    known = {}  # the first that gives a result: at magnitude 0, shear, translations and rotation are the identity
    for mirrored, first in ((False, frames), (True, frames[:, :, ::-1])):
        for name in ("identity", "translate_x", "translate_y"):
            for level in range(31):
                known.setdefault(described(first, name, level).tobytes(), (name, mirrored))
    told = [known.get(one.tobytes()) for one in moved]
    assert np.mean([each is not None and each[1] for each in told if each]) == pytest.approx(0.5, abs=0.05)
    counts = {name: sum(each is not None and each[0] == name for each in told) / 3000 for name in NAMES[:4]}
    still = (1 + 1 / 31 + 5 / 31 + 5 / 31 + 1 / 31) / 6  # and of shear and rotation the middle magnitude
    assert counts["identity"] == pytest.approx(still, abs=0.03)
    for name in ("translate_x", "translate_y"):
        assert counts[name] == pytest.approx(26 / 31 / 6, abs=0.025)
    kept = [one for one, each in zip(moved, told, strict=True) if each is None]
    squares = [np.all((one == frames) | (one == 0)) or np.all((one == frames[:, :, ::-1]) | (one == 0)) for one in kept]
    assert sum(squares) / 3000 == pytest.approx(1 / 6, abs=0.025)
    assert (len(kept) - sum(squares)) / 3000 == pytest.approx(2 / 6 * 30 / 31, abs=0.03)


def test_counts_of_any_type_are_copied():
    frames = recording().astype(np.float32) / 3
    moved = np.asarray(augment_events(jax.random.key(1), jnp.asarray(np.stack([frames] * 5))))
    assert moved.dtype == np.float32 and {*np.unique(moved)} <= {0.0, *np.unique(frames)}


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"augment.events needs recordings \(B, T, H, W, 2\), got \(2, 8, 8, 3\)"):
        augment_events(jax.random.key(0), jnp.zeros((2, 8, 8, 3)))
    with pytest.raises(ValueError, match=r"augment.event_cutout must be side or area, got 'x'"):
        augment_events(jax.random.key(0), jnp.zeros((2, 1, 8, 8, 2)), cutout="x")
