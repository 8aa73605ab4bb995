"""Tests of stata_jax.pruning.maps against loops over samples, heads and pixels."""

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from stata_jax.pruning.maps import (
    attention_map,
    head_mean_map,
    maps_within,
    match_tokens,
    matched_map,
    time_mean_map,
)

T, B, N, D, HEADS, SCALE = 4, 3, 5, 6, 3, 0.125


def normal(*shape, seed=0):
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)


def explicit_map(q, k):
    """phi[t, b, h, i, j], one entry at a time."""
    d = D // HEADS
    phi = np.zeros((*q.shape[:2], HEADS, q.shape[2], k.shape[2]))
    for t, b, h, i, j in np.ndindex(phi.shape):
        phi[t, b, h, i, j] = sum(q[t, b, i, c] * k[t, b, j, c] for c in range(h * d, (h + 1) * d)) * SCALE
    return phi


def test_maps_match_loops():
    q, k = normal(T, B, N, D), normal(T, B, N, D, seed=1)
    phi = explicit_map(q, k)
    for function, expected in [
        (attention_map, phi),
        (head_mean_map, phi.mean(axis=2)),
        (time_mean_map, np.moveaxis(phi.mean(axis=0), 1, 0)),
    ]:
        actual = function(jnp.asarray(q), jnp.asarray(k), heads=HEADS, scale=SCALE)
        assert actual.dtype == jnp.float32
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


def test_maps_of_bfloat16_spikes():
    q, k = (jnp.asarray(normal(T, B, N, D, seed=seed) > 0, jnp.bfloat16) for seed in (0, 1))
    phi = explicit_map(*(np.asarray(x, np.float32) for x in (q, k)))
    options = dict(heads=HEADS, scale=SCALE)
    assert attention_map(q, k, **options).dtype == jnp.bfloat16
    np.testing.assert_array_equal(attention_map(q, k, **options).astype(jnp.float32), phi)
    # SCALE / 3 is no bfloat16: the means are float32.
    np.testing.assert_allclose(head_mean_map(q, k, **options), phi.mean(axis=2), rtol=1e-6)
    np.testing.assert_allclose(time_mean_map(q, k, **options), np.moveaxis(phi.mean(axis=0), 1, 0), rtol=1e-6)


@pytest.mark.parametrize(("intra_time", "intra_heads"), [(True, True), (True, False), (False, True), (False, False)])
def test_maps_within_a_layer_are_those_asked_for(intra_time, intra_heads):
    q, k = (jnp.asarray(normal(T, B, N, D, seed=seed)) for seed in (2, 3))
    options = dict(heads=HEADS, scale=SCALE)
    maps = maps_within(q, k, intra_time=intra_time, intra_heads=intra_heads, **options)
    assert set(maps) == {name for name, on in [("time", intra_time), ("heads", intra_heads)] if on}
    if intra_time:
        np.testing.assert_array_equal(maps["time"], head_mean_map(q, k, **options))
    if intra_heads:
        np.testing.assert_array_equal(maps["heads"], time_mean_map(q, k, **options))


def bilinear(image, size):
    """Resizes a square image as Pillow does: a triangle as wide as a new pixel, at half-pixel centres."""
    row = PIL.Image.fromarray(image.astype(np.float32), mode="F")
    return np.asarray(row.resize((size, size), PIL.Image.Resampling.BILINEAR))


def spikes(n, seed):
    q, k = (np.random.RandomState(seed + i).randint(0, 2, (T, B, n, D)).astype(np.float32) for i in (0, 1))
    return q, k


@pytest.mark.parametrize("size", [7, 5, 3, 1])
def test_the_map_of_interpolated_spikes_is_the_interpolated_map(size):
    pair = spikes(7, 0)
    options = dict(tokens=size, match="interpolate", anchor=False)
    matched = [match_tokens(jnp.asarray(x), None, **options) for x in pair]
    assert matched[0].shape == (T, B, size, D)
    actual = attention_map(*matched, heads=HEADS, scale=SCALE)
    phi = explicit_map(*pair)
    for place in np.ndindex(T, B, HEADS):
        np.testing.assert_allclose(actual[place], bilinear(phi[place], size), rtol=1e-4, atol=1e-5)


def test_interpolation_matches_the_anchor_with_the_anchor():
    """Its row and column are interpolated along the patches alone, and its own entry is as it was."""
    pair, size = spikes(7, 0), 4
    options = dict(tokens=size, match="interpolate", anchor=True, heads=HEADS, scale=SCALE)
    actual, phi = matched_map(*map(jnp.asarray, pair), None, **options), explicit_map(*pair)
    for place in np.ndindex(T, B, HEADS):
        np.testing.assert_allclose(actual[place][1:, 1:], bilinear(phi[place][1:, 1:], size - 1), rtol=1e-4, atol=1e-5)
        for ours, theirs in ((actual[place][0], phi[place][0]), (actual[place][:, 0], phi[place][:, 0])):
            assert ours[0] == theirs[0]
            along = bilinear(np.tile(theirs[1:], (6, 1)), size - 1)[0]
            np.testing.assert_allclose(ours[1:], along, rtol=1e-4, atol=1e-5)


def test_interpolation_of_bfloat16_spikes_is_float32():
    q = jnp.asarray(spikes(7, 0)[0])
    options = dict(tokens=3, match="interpolate", anchor=True)
    small = match_tokens(q.astype(jnp.bfloat16), None, **options)
    np.testing.assert_array_equal(small, match_tokens(q, None, **options), strict=True)


def test_interpolation_first_puts_tokens_into_order():
    pair = spikes(N, 0)
    order = np.stack([np.random.RandomState(t).permutation(N) for t in range(T * B)]).reshape(T, B, N)
    shuffled = [np.take_along_axis(x, np.argsort(order, axis=-1)[..., None], axis=2) for x in pair]
    options = dict(tokens=3, match="interpolate", anchor=False, heads=HEADS, scale=SCALE)
    expected = matched_map(*map(jnp.asarray, pair), None, **options)
    np.testing.assert_array_equal(matched_map(*map(jnp.asarray, (*shuffled, order)), **options), expected)
    assert np.any(matched_map(*map(jnp.asarray, shuffled), None, **options) != expected)


def surviving(size, seed=0):
    random = np.random.RandomState(seed)
    return np.asarray([[np.sort(random.choice(N, size, replace=False)) for _ in range(B)] for _ in range(T)])


def explicit_gather(phi, index):
    out = np.zeros((T, B, HEADS, index.shape[2], index.shape[2]), phi.dtype)
    for t, b, h, i, j in np.ndindex(out.shape):
        out[t, b, h, i, j] = phi[t, b, h, index[t, b, i], index[t, b, j]]
    return out


def test_gather_takes_the_surviving_rows_and_columns():
    (q, k), index = spikes(N, 0), surviving(3)
    options = dict(tokens=3, match="gather", anchor=False, heads=HEADS, scale=SCALE)
    small = matched_map(*map(jnp.asarray, (q, k, index)), **options)
    np.testing.assert_array_equal(small, explicit_gather(explicit_map(q, k), index))
    np.testing.assert_array_equal(match_tokens(jnp.asarray(q), None, tokens=N, match="gather", anchor=False), q)


def test_unknown_match():
    with pytest.raises(ValueError, match="unknown match 'crop': use one of interpolate, gather"):
        match_tokens(jnp.zeros((1, 1, 2, 2)), None, tokens=2, match="crop", anchor=False)
