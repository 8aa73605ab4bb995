"""Tests of stata_jax.pruning.select against a plain Python sort and by the properties of the slots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stata_jax.pruning.select import gather_tokens, scattered_order, stable_slots, top_tokens

T, B, N, TOTAL, K = 4, 2, 8, 12, 3  # one shape for all: nothing compiles twice


def subsets(random, size):
    """A sorted choice of patches for each timestep and image."""
    chosen = [[np.sort(random.choice(TOTAL, size, replace=False)) for _ in range(B)] for _ in range(T)]
    return np.asarray(chosen, np.int32)


def brute_force(scores, positions, *, keep, total, timestep_wise):
    """Sorts the tokens of each timestep and image by (score, mean over time, scattered order), in Python."""
    scattered, kept = scattered_order(total), np.zeros((*scores.shape[:2], keep), np.int32)
    for t, b in np.ndindex(scores.shape[:2]):
        mean = scores[:, b].mean(axis=0)
        first = scores[t, b] if timestep_wise else mean
        ranked = sorted(range(scores.shape[2]), key=lambda i: (-first[i], -mean[i], scattered[positions[t, b, i]]))
        kept[t, b] = sorted(ranked[:keep], key=lambda i: positions[t, b, i])
    return kept


def top(scores, positions, **options):
    return np.asarray(top_tokens(jnp.asarray(scores, jnp.float32), jnp.asarray(positions), **options))


@pytest.mark.parametrize("timestep_wise", [True, False])
@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(1, 4))
@settings(max_examples=20)
def test_top_tokens_is_a_sort(timestep_wise, seed, levels):
    random = np.random.RandomState(seed)
    scores = random.randint(-1, levels - 1, (T, B, N))  # few levels: ties everywhere
    positions = subsets(random, N)
    if not timestep_wise:
        positions = np.broadcast_to(positions[:1], positions.shape)
    positions = positions[:, :, random.permutation(N)]  # slots need not be in the order of the patches
    options = dict(keep=K, total=TOTAL, timestep_wise=timestep_wise)
    kept = top(scores, positions, **options)
    assert kept.dtype == np.int32
    np.testing.assert_array_equal(kept, brute_force(scores, positions, **options))
    if not timestep_wise:
        np.testing.assert_array_equal(kept, np.broadcast_to(kept[:1], kept.shape))


def test_signed_zeros_tie():
    positions = np.broadcast_to(np.arange(N, dtype=np.int32), (T, B, N))
    signs = np.where(np.arange(N) % 2, -0.0, 0.0) * np.ones((T, B, 1))
    options = dict(keep=K, total=N, timestep_wise=True)
    np.testing.assert_array_equal(top(signs, positions, **options), top(0 * positions, positions, **options))


def test_keeping_all_keeps_the_order_of_the_patches():
    positions = np.broadcast_to(np.arange(N, dtype=np.int32)[::-1], (T, B, N))
    kept = top(np.random.RandomState(0).rand(T, B, N), positions, keep=N, total=N, timestep_wise=True)
    np.testing.assert_array_equal(kept, positions)


@pytest.mark.parametrize(("side", "keep"), [(8, 13), (8, 26), (14, 40)])
def test_equal_scores_keep_tokens_all_over_the_image(side, keep):
    n = side * side
    positions = np.arange(n, dtype=np.int32)[None, None]
    kept = np.zeros(n)
    kept[top(np.zeros((1, 1, n)), positions, keep=keep, total=n, timestep_wise=True)] = 1
    kept = kept.reshape(side, side)
    assert kept.sum() == keep
    quarters = kept.reshape(2, side // 2, 2, side // 2).sum(axis=(1, 3)) / keep
    assert quarters.min() > 0.1 and quarters.max() < 0.45  # a fair share is 0.25
    for line in (kept.sum(axis=0), kept.sum(axis=1)):
        assert line.max() < 3 * keep / side  # no row or column takes three times its share


def test_ties_go_to_the_mean_over_time():
    scores = np.array([[[1, 1, 1, 1]], [[0, 3, 0, 2]]])
    positions = np.broadcast_to(np.arange(4, dtype=np.int32), (2, 1, 4))
    assert top(scores, positions, keep=2, total=4, timestep_wise=True).tolist() == [[[1, 3]], [[1, 3]]]


@pytest.mark.parametrize("n", [1, 2, 3, 64, 197])
def test_scattered_order_is_a_permutation(n):
    assert sorted(scattered_order(n)) == list(range(n))
    assert scattered_order(n).dtype == np.int32


def test_scattered_order_never_changes():
    assert scattered_order(8).tolist() == [0, 5, 2, 6, 3, 7, 4, 1]


@pytest.mark.parametrize("keep", [0, -1, 5])
def test_bad_keep(keep):
    with pytest.raises(ValueError, match=f"cannot keep {keep} of 4 tokens"):
        top(np.zeros((1, 1, 4)), np.zeros((1, 1, 4), np.int32), keep=keep, total=4, timestep_wise=True)


jitted_slots = jax.jit(stable_slots)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_stable_slots(seed):
    random = np.random.RandomState(seed)
    positions = subsets(random, 5)
    names = random.permutation(TOTAL).astype(np.int32)  # an index that is not the position
    reordered = np.asarray(jitted_slots(jnp.asarray(names[positions]), jnp.asarray(positions)))
    places = np.argsort(names)[reordered]
    np.testing.assert_array_equal(places[0], positions[0])
    for t, b in np.ndindex(T, B):
        assert set(places[t, b]) == set(positions[t, b])
    for t, b in np.ndindex(T - 1, B):
        now, later = places[t, b], places[t + 1, b]
        stays = np.isin(now, later)
        np.testing.assert_array_equal(now[stays], later[stays])
        newcomers = later[~stays]
        assert not np.isin(newcomers, now).any()
        np.testing.assert_array_equal(newcomers, np.sort(newcomers))


def test_stable_slots_by_hand():
    positions = jnp.asarray([[[0, 2, 5, 7]], [[1, 5, 6, 7]], [[0, 1, 2, 3]]], jnp.int32)
    places = stable_slots(positions, positions)
    assert places.tolist() == [[[0, 2, 5, 7]], [[1, 6, 5, 7]], [[1, 0, 2, 3]]]


def test_gather_tokens_is_indexing():
    random = np.random.RandomState(0)
    values, index = random.rand(T, B, N, 2).astype(np.float32), random.randint(0, N, (T, B, K))
    gathered = gather_tokens(jnp.asarray(values), jnp.asarray(index))
    gathered_first = gather_tokens(jnp.asarray(values[..., 0]), jnp.asarray(index))
    assert gathered.shape == (T, B, K, 2) and gathered_first.shape == (T, B, K)
    for t, b, slot in np.ndindex(T, B, K):
        np.testing.assert_array_equal(gathered[t, b, slot], values[t, b, index[t, b, slot]])
        assert gathered_first[t, b, slot] == values[t, b, index[t, b, slot], 0]
