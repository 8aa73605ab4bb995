"""Coverage of the digit by the kept tokens, against loops over patches."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.pruning.coverage import coverage_means, coverage_sums, on_digit, shares


def on_by_hand(corner, *, size, grid, patch):
    """Whether the centre of each patch is in the box of one corner."""
    row, column = corner
    centres = [(patch * (i + 0.5), patch * (j + 0.5)) for i in range(grid) for j in range(grid)]
    return [row <= y < row + size and column <= x < column + size for y, x in centres]


@pytest.mark.parametrize(("size", "grid", "patch"), [(14, 8, 4), (16, 8, 4), (5, 7, 3), (1, 4, 4)])
def test_patches_on_the_digit_against_a_loop(size, grid, patch):
    corners = np.random.default_rng(0).integers(-size, grid * patch, (5, 6, 2))  # many stick out of the picture
    on = on_digit(jnp.asarray(corners, jnp.int32), size=size, grid=grid, patch=patch)
    assert on.shape == (5, 6, grid * grid) and on.dtype == bool
    for place in np.ndindex(5, 6):
        assert on[place].tolist() == on_by_hand(corners[place], size=size, grid=grid, patch=patch)


def test_a_box_of_whole_patches_holds_as_many_wherever_it_is():
    corners = jnp.stack(jnp.meshgrid(jnp.arange(17), jnp.arange(17)), axis=-1)
    assert set(on_digit(corners, size=16, grid=8, patch=4).sum(-1).ravel().tolist()) == {16}
    mixed = on_digit(corners + 2, size=14, grid=8, patch=4).sum(-1)
    assert set(mixed.ravel().tolist()) == {9, 12, 16}


def test_shares_of_kept_patches():
    on = jnp.asarray([[[True, True, False, False, True, False]]])
    positions = jnp.asarray([[[5, 1]], [[0, 4]], [[3, 2]]], jnp.int32)
    kept_on_digit, digit_kept = shares(positions, on)
    np.testing.assert_allclose(kept_on_digit, [[1 / 2], [1], [0]])
    np.testing.assert_allclose(digit_kept, [[1 / 3], [2 / 3], [0]])


def draw(count, *, moving):
    """Places and kept patches of some images, T = 3, on an 8x8 grid of patches of 4 pixels."""
    random = np.random.default_rng(1)
    corner = random.integers(0, 22, (count, 3, 2) if moving else (count, 2)).astype(np.int32)
    kept = {
        block: np.stack([random.permutation(64)[:keep] for _ in range(3 * count)]).reshape(3, count, keep)
        for block, keep in ((4, 3), (0, 13))
    }
    return {block: positions.astype(np.int32) for block, positions in kept.items()}, corner


OPTIONS = dict(size=6, grid=8, patch=4)
cover = jax.jit(functools.partial(coverage_sums, **OPTIONS))


@pytest.mark.parametrize("moving", [False, True])
def test_means_over_batches_against_a_loop(moving):
    kept, corner = draw(10, moving=moving)
    mask = np.arange(10) < 8
    parts = [
        cover({block: positions[:, part] for block, positions in kept.items()}, corner[part], mask[part])
        for part in (slice(0, 5), slice(5, 10))
    ]
    sums = jax.tree.map(lambda *x: np.sum(np.asarray(x, np.float64), axis=0), *parts)
    result = json.loads(json.dumps(coverage_means(sums, 8)))

    assert list(result["coverage"]) == ["block0", "block4"]
    chances = []
    for block, positions in kept.items():
        means = result["coverage"][f"block{block}"]
        for t in range(3):
            kept_on_digit, digit_kept = [], []
            for image in range(8):
                place = corner[image, t] if moving else corner[image]
                digit = set(np.flatnonzero(on_by_hand(place, **OPTIONS)))
                both = digit & set(positions[t, image])
                kept_on_digit.append(len(both) / positions.shape[2])
                digit_kept.append(len(both) / len(digit))
                chances.append(len(digit) / 64)
            assert means["kept_on_digit"][t] == pytest.approx(np.mean(kept_on_digit), rel=1e-6)
            assert means["digit_kept"][t] == pytest.approx(np.mean(digit_kept), rel=1e-6)
    assert result["coverage_chance"] == pytest.approx(np.mean(chances), rel=1e-6)


def test_images_without_a_patch_on_the_digit():
    """Of digits of one pixel most are on no centre: they count for one share and not for the other."""
    corner = jnp.asarray([[2, 2], [0, 0], [6, 6], [1, 2]], jnp.int32)  # of patches 0 and 9, and between
    positions = {0: jnp.asarray([[[0, 1], [0, 1], [0, 1], [0, 1]]], jnp.int32)}
    for mask, kept in (([True] * 4, 1 / 2), ([False, True, False, True], 0)):
        sums = jax.device_get(coverage_sums(positions, corner, jnp.asarray(mask), size=1, grid=8, patch=4))
        result = coverage_means(sums, sum(mask))
        assert result["coverage"]["block0"]["kept_on_digit"] == [pytest.approx(0.5 * mask[0] / sum(mask))]
        assert result["coverage"]["block0"]["digit_kept"] == [pytest.approx(kept)]


def test_random_patches_lie_on_the_digit_by_chance():
    kept, corner = draw(2000, moving=False)
    result = coverage_means(jax.device_get(cover(kept, corner, np.ones(2000, bool))), 2000)
    for means in result["coverage"].values():
        np.testing.assert_allclose(means["kept_on_digit"], result["coverage_chance"], atol=0.015)
