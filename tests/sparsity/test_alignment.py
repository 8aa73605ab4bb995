"""Tests of stata_jax.sparsity.alignment against loops over samples, heads and pixels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.sparsity.alignment import (
    attention_map,
    better_teaches_worse,
    distance,
    head_mean_map,
    inter_alignment,
    intra_alignment,
    match_tokens,
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


def explicit_distance(student, teacher, kind):
    difference = student.astype(np.float64) - teacher
    if kind == "mse":
        return np.mean(difference**2)
    return np.mean([np.linalg.norm(x) for x in difference.reshape(-1, *difference.shape[-2:])])


def explicit_teaching(maps, kind):
    """Sorts the maps of one sample after the other: the loss and which maps learn, from which."""
    terms, pairs = [], []
    for b in range(maps.shape[1]):
        order = sorted(range(len(maps)), key=lambda m: -np.linalg.norm(maps[m, b]))
        half = len(maps) // 2
        for better, worse in zip(order[:half], order[len(maps) - half :], strict=True):
            terms.append(explicit_distance(maps[worse, b], maps[better, b], kind))
            pairs.append((b, worse, better))
    return (np.mean(terms) if terms else 0.0), pairs


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


@pytest.mark.parametrize("kind", ["mse", "norm"])
def test_distance_teaches_the_student_only(kind):
    student, teacher = normal(2, 3, N, N), normal(2, 3, N, N, seed=1)
    loss, (to_student, to_teacher) = jax.value_and_grad(functools.partial(distance, kind=kind), argnums=(0, 1))(
        jnp.asarray(student), jnp.asarray(teacher)
    )
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, explicit_distance(student, teacher, kind), rtol=1e-5)
    difference = student - teacher
    if kind == "mse":
        expected = 2 * difference / difference.size
    else:
        expected = difference / np.linalg.norm(difference, axis=(-2, -1), keepdims=True) / 6
    np.testing.assert_allclose(to_student, expected, rtol=1e-4, atol=1e-7)
    assert not np.any(to_teacher)


@pytest.mark.parametrize("kind", ["mse", "norm"])
def test_equal_maps_have_no_distance_and_a_finite_gradient(kind):
    maps = jnp.asarray(normal(2, N, N)).at[1].set(0.0)
    loss, gradient = jax.value_and_grad(lambda x: distance(x, maps, kind=kind))(maps)
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, N, N)))


def test_unknown_distance():
    with pytest.raises(ValueError, match="unknown distance 'l2': use one of mse, norm"):
        distance(jnp.zeros((1, 1)), jnp.zeros((1, 1)), kind="l2")


@pytest.mark.parametrize("kind", ["mse", "norm"])
@pytest.mark.parametrize("count", [4, 5])
def test_better_maps_teach_worse_ones(count, kind):
    maps = normal(count, B, N, N, seed=count)
    loss, gradient = jax.value_and_grad(functools.partial(better_teaches_worse, kind=kind))(jnp.asarray(maps))
    expected, pairs = explicit_teaching(maps, kind)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    expected_gradient = np.zeros_like(maps)  # zero for the better half and the middle one
    for b, worse, better in pairs:
        difference = maps[worse, b] - maps[better, b]
        slope = 2 * difference / difference.size if kind == "mse" else difference / np.linalg.norm(difference)
        expected_gradient[worse, b] = slope / len(pairs)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-7)


def test_the_middle_map_does_not_matter():
    maps = jnp.asarray([3.0, 1.0, 2.0])[:, None, None, None] * jnp.ones((3, 1, 2, 2))
    other = maps.at[2].multiply(-1.25)
    assert better_teaches_worse(maps, kind="mse") == better_teaches_worse(other, kind="mse") == 4


def test_one_map_has_no_teacher():
    loss, gradient = jax.value_and_grad(lambda x: better_teaches_worse(x, kind="norm"))(jnp.ones((1, B, N, N)))
    assert loss == 0 and loss.dtype == jnp.float32 and not np.any(gradient)


@pytest.mark.parametrize(("over_time", "over_heads"), [(True, True), (True, False), (False, True), (False, False)])
def test_intra_alignment_adds_time_and_heads(over_time, over_heads):
    q, k = normal(T, B, N, D, seed=2), normal(T, B, N, D, seed=3)
    phi, expected = explicit_map(q, k), 0.0
    if over_time:
        expected += explicit_teaching(phi.mean(axis=2), "mse")[0]
    if over_heads:  # three heads: the middle one of each sample is left out
        expected += explicit_teaching(np.moveaxis(phi.mean(axis=0), 1, 0), "mse")[0]
    options = dict(heads=HEADS, scale=SCALE, over_time=over_time, over_heads=over_heads, kind="mse")
    np.testing.assert_allclose(intra_alignment(jnp.asarray(q), jnp.asarray(k), **options), expected, rtol=1e-4)


def test_intra_alignment_of_one_timestep_or_one_head_is_zero():
    q = jnp.asarray(normal(T, B, N, D))
    both = dict(scale=SCALE, over_time=True, over_heads=True, kind="mse")
    assert intra_alignment(q[:1], q[:1], heads=1, **both) == 0
    for x, heads, only in [(q[:1], HEADS, "over_heads"), (q, 1, "over_time")]:
        one = {**both, "over_time": False, "over_heads": False, only: True}
        assert intra_alignment(x, x, heads=heads, **both) == intra_alignment(x, x, heads=heads, **one) > 0


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
    matched = [match_tokens(jnp.asarray(x), tokens=size, match="interpolate", index=None) for x in pair]
    assert matched[0].shape == (T, B, size, D)
    actual = attention_map(*matched, heads=HEADS, scale=SCALE)
    phi = explicit_map(*pair)
    for place in np.ndindex(T, B, HEADS):
        np.testing.assert_allclose(actual[place], bilinear(phi[place], size), rtol=1e-4, atol=1e-5)


def test_interpolation_of_bfloat16_spikes_is_float32():
    q = jnp.asarray(spikes(7, 0)[0])
    small = match_tokens(q.astype(jnp.bfloat16), tokens=3, match="interpolate", index=None)
    np.testing.assert_array_equal(small, match_tokens(q, tokens=3, match="interpolate", index=None), strict=True)


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
    matched = [match_tokens(jnp.asarray(x), tokens=3, match="gather", index=jnp.asarray(index)) for x in (q, k)]
    np.testing.assert_array_equal(
        attention_map(*matched, heads=HEADS, scale=SCALE), explicit_gather(explicit_map(q, k), index)
    )
    np.testing.assert_array_equal(match_tokens(jnp.asarray(q), tokens=N, match="gather", index=None), q)


def test_unknown_match():
    with pytest.raises(ValueError, match="unknown match 'crop': use one of interpolate, gather"):
        match_tokens(jnp.zeros((1, 1, 2, 2)), tokens=2, match="crop", index=None)


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("match", ["interpolate", "gather"])
def test_inter_alignment_averages_over_pairs(match, lean):
    index = surviving(3)
    pairs = {layer: spikes(n, seed=layer) for layer, n in [(0, N), (2, N), (5, 3)]}
    maps = {layer: explicit_map(*pair) for layer, pair in pairs.items()}

    def small(phi):
        if match == "gather":
            return explicit_gather(phi, index)
        return np.stack([bilinear(x, 3) for x in phi.reshape(-1, N, N)]).reshape(T, B, HEADS, 3, 3)

    expected = np.mean(
        [
            explicit_distance(maps[0], maps[2], "mse"),
            explicit_distance(small(maps[0]), maps[5], "mse"),
            explicit_distance(small(maps[2]), maps[5], "mse"),
        ]
    )
    indices = {(0, 2): None, (0, 5): jnp.asarray(index), (2, 5): jnp.asarray(index)}
    options = dict(heads=HEADS, scale=SCALE, match=match, kind="mse")
    given = jax.tree.map(jnp.asarray, pairs)
    loss, gradient = jax.jit(
        jax.value_and_grad(lambda x: inter_alignment(x, indices, at=(5, 0, 2), lean=lean, **options))
    )(given)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert not np.any(gradient[5])  # the deepest map only teaches
    # Layer 2 teaches layer 0 without learning from it: its gradient is that of the pair (2, 5) alone.
    alone = jax.grad(lambda x: inter_alignment({**given, 2: x}, indices, at=(2, 5), **options))(given[2])
    for actual, third in zip(gradient[2], alone, strict=True):
        np.testing.assert_allclose(actual, third / 3, rtol=1e-4, atol=1e-8)
    assert all(np.any(x) for x in gradient[0])


@pytest.mark.parametrize("match", ["interpolate", "gather"])
def test_two_teachers_of_one_size_count_each(match):
    """Of the same tokens, and of others: in `gather` they then see other rows of the shallow map."""
    given = {layer: jax.tree.map(jnp.asarray, spikes(n, seed=layer)) for layer, n in [(0, N), (2, 3), (5, 3)]}
    same, other = jnp.asarray(surviving(3)), jnp.asarray(surviving(3, seed=1))
    assert np.any(same != other)
    options = dict(heads=HEADS, scale=SCALE, match=match, kind="mse")

    def loss(x, indices, at):
        return inter_alignment({layer: x if layer == 0 else given[layer] for layer in at}, indices, at=at, **options)

    value_and_grad = jax.value_and_grad(loss)
    for second in (same, other):
        indices = {(0, 2): same, (0, 5): second, (2, 5): None}
        all_three = value_and_grad(given[0], indices, (0, 2, 5))
        pairs = [value_and_grad(given[0], indices, at) for at in [(0, 2), (0, 5)]]
        between = loss(None, indices, (2, 5))
        mean = jax.tree.map(lambda a, b: (a + b) / 3, *pairs)
        np.testing.assert_allclose(all_three[0], mean[0] + between / 3, rtol=1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-8), all_three[1], mean[1])


@pytest.mark.parametrize("at", [(), (3,)])
def test_inter_alignment_needs_two_layers(at):
    given = {3: jax.tree.map(jnp.asarray, spikes(N, 0))}
    loss = inter_alignment(given, {}, heads=HEADS, scale=SCALE, at=at, match="interpolate", kind="mse")
    assert loss == 0 and loss.dtype == jnp.float32
