"""Tests of stata_jax.sparsity.maps against loops over samples, heads and pixels."""

import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.sparsity.maps import (
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


@pytest.mark.parametrize(("over_time", "over_heads"), [(True, True), (True, False), (False, True), (False, False)])
def test_maps_within_a_layer_are_those_asked_for(over_time, over_heads):
    q, k = (jnp.asarray(normal(T, B, N, D, seed=seed)) for seed in (2, 3))
    options = dict(heads=HEADS, scale=SCALE)
    maps = maps_within(q, k, over_time=over_time, over_heads=over_heads, **options)
    assert set(maps) == {name for name, on in [("time", over_time), ("heads", over_heads)] if on}
    if over_time:
        np.testing.assert_array_equal(maps["time"], head_mean_map(q, k, **options))
    if over_heads:
        np.testing.assert_array_equal(maps["heads"], time_mean_map(q, k, **options))


def bilinear(image, size):
    """Resizes a square image at half-pixel centres, clamped at the edges, without smoothing before."""
    old = len(image)
    out = np.zeros((size, size))
    for i, j in np.ndindex(size, size):
        for row, row_share in corners(i, size, old):
            for column, column_share in corners(j, size, old):
                out[i, j] += row_share * column_share * image[row, column]
    return out


def corners(place, size, old):
    source = (place + 0.5) * old / size - 0.5
    low = int(np.floor(source))
    share = source - low
    return [(min(max(low, 0), old - 1), 1 - share), (min(max(low + 1, 0), old - 1), share)]


def spikes(n, seed):
    q, k = (np.random.RandomState(seed + i).randint(0, 2, (T, B, n, D)).astype(np.float32) for i in (0, 1))
    return q, k


@pytest.mark.parametrize("size", [7, 5, 3, 1])
def test_the_map_of_interpolated_spikes_is_the_interpolated_map(size):
    pair = spikes(7, 0)
    matched = [match_tokens(jnp.asarray(x), None, tokens=size, match="interpolate") for x in pair]
    assert matched[0].shape == (T, B, size, D)
    actual = attention_map(*matched, heads=HEADS, scale=SCALE)
    phi = explicit_map(*pair)
    for place in np.ndindex(T, B, HEADS):
        np.testing.assert_allclose(actual[place], bilinear(phi[place], size), rtol=1e-4, atol=1e-5)


def test_interpolation_of_bfloat16_spikes_is_float32():
    q = jnp.asarray(spikes(7, 0)[0])
    small = match_tokens(q.astype(jnp.bfloat16), None, tokens=3, match="interpolate")
    np.testing.assert_array_equal(small, match_tokens(q, None, tokens=3, match="interpolate"), strict=True)


def test_interpolation_first_puts_tokens_into_order():
    pair = spikes(N, 0)
    order = np.stack([np.random.RandomState(t).permutation(N) for t in range(T * B)]).reshape(T, B, N)
    shuffled = [np.take_along_axis(x, np.argsort(order, axis=-1)[..., None], axis=2) for x in pair]
    options = dict(tokens=3, match="interpolate", heads=HEADS, scale=SCALE)
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
    small = matched_map(*map(jnp.asarray, (q, k, index)), tokens=3, match="gather", heads=HEADS, scale=SCALE)
    np.testing.assert_array_equal(small, explicit_gather(explicit_map(q, k), index))
    np.testing.assert_array_equal(match_tokens(jnp.asarray(q), None, tokens=N, match="gather"), q)


def test_unknown_match():
    with pytest.raises(ValueError, match="unknown match 'crop': use one of interpolate, gather"):
        match_tokens(jnp.zeros((1, 1, 2, 2)), None, tokens=2, match="crop")
