"""Tests of stata_jax.pruning.metrics against explicit loops over heads and tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.pruning.metrics import query_scores, token_scores
from stata_jax.registries import METRICS

T, B, N, D, HEADS, SCALE = 2, 3, 5, 12, 3, 0.125


def spikes(*shape, seed=0):
    return np.random.RandomState(seed).randint(0, 2, shape).astype(np.float32)


def score(metric, *, anchors=1, key=0, tokens=None, q=None, k=None, dtype=jnp.float32):
    tokens = spikes(T, B, N, D, seed=1) if tokens is None else tokens
    q = spikes(T, B, N + anchors, D, seed=2) if q is None else q
    k = spikes(T, B, N + anchors, D, seed=3) if k is None else k
    tokens, q, k = (jnp.asarray(x, dtype) for x in (tokens, q, k))
    return token_scores(metric, tokens=tokens, q=q, k=k, key=jax.random.key(key))


def explicit_map(q, k):
    """phi[t, b, h, i, j] = sum_d q[t, b, i, d of h] k[t, b, j, d of h] s, one entry at a time."""
    d = D // HEADS
    phi = np.zeros((T, B, HEADS, q.shape[2], k.shape[2]))
    for t, b, h, i, j in np.ndindex(phi.shape):
        phi[t, b, h, i, j] = sum(q[t, b, i, c] * k[t, b, j, c] for c in range(h * d, (h + 1) * d)) * SCALE
    return phi


def test_query_scores_are_equation_9_without_its_constant():
    query, keys = spikes(T, B, D), spikes(T, B, N, D, seed=1)
    expected = explicit_map(query[:, :, None], keys)[:, :, :, 0].mean(axis=2)
    scores = query_scores(jnp.asarray(query), jnp.asarray(keys))
    assert scores.shape == (T, B, N) and scores.dtype == jnp.float32
    np.testing.assert_allclose(scores * (SCALE / HEADS), expected, rtol=1e-6)
    assert np.all(scores == np.round(scores))  # whole numbers: ties are exact


def test_anchor_is_its_row_of_the_map():
    expected = explicit_map(spikes(T, B, N + 1, D, seed=2), spikes(T, B, N + 1, D, seed=3)).mean(axis=2)[:, :, 0, 1:]
    np.testing.assert_allclose(score("anchor") * (SCALE / HEADS), expected, rtol=1e-6)


@pytest.mark.parametrize("anchors", [0, 1])
def test_ssa_is_the_column_mean_of_the_map_over_patch_tokens(anchors):
    q, k = spikes(T, B, N + anchors, D, seed=2), spikes(T, B, N + anchors, D, seed=3)
    expected = explicit_map(q[:, :, anchors:], k[:, :, anchors:]).mean(axis=(2, 3))
    scores = score("ssa", anchors=anchors)
    np.testing.assert_allclose(scores * (SCALE / HEADS / N), expected, rtol=1e-6)
    assert np.all(scores == np.round(scores))


def test_l1_is_the_sum_of_magnitudes():
    tokens = np.random.RandomState(0).randn(T, B, N, D)
    expected = [[[sum(abs(x) for x in token) for token in image] for image in at_t] for at_t in tokens]
    np.testing.assert_allclose(score("l1", tokens=tokens), expected, rtol=1e-5)


def test_firing_counts_the_spikes_of_neurons():
    tokens = 2 * np.random.RandomState(0).randn(T, B, N, D)
    expected = np.zeros((T, B, N))
    for b, n, d in np.ndindex(B, N, D):
        membrane = 0.0
        for t in range(T):
            membrane += (tokens[t, b, n, d] - membrane) / 2
            if membrane >= 1:
                expected[t, b, n] += 1
                membrane = 0.0
    np.testing.assert_array_equal(score("firing", tokens=tokens), expected)
    assert len(np.unique(expected)) > 2


def test_saliency_is_the_distance_from_the_image_and_from_the_timestep_before():
    tokens = np.random.RandomState(0).randn(T, B, N, D)
    tokens[1, :, 0] = tokens[0, :, 0]  # a token that stays
    expected = np.zeros((T, B, N))
    for t, b in np.ndindex(T, B):
        middle = sum(tokens[t, b]) / N
        spatial = [np.sqrt(sum((x - middle) ** 2)) for x in tokens[t, b]]
        temporal = [np.sqrt(sum((x - y) ** 2)) for x, y in zip(tokens[t, b], tokens[max(t - 1, 0), b], strict=True)]
        for distances in (spatial, temporal) if t else (spatial,):
            expected[t, b] += np.divide(distances, np.mean(distances))
    np.testing.assert_allclose(score("saliency", tokens=tokens), expected, rtol=1e-5)
    np.testing.assert_array_equal(score("saliency", tokens=np.ones((T, B, N, D))), 0)  # all alike


@pytest.mark.parametrize("metric", ["anchor", "l1"])
def test_bfloat16_scores_are_exact(metric):
    # 300 spikes are not counted exactly in bfloat16.
    ones = {"tokens": np.ones((T, B, N, 300)), "q": np.ones((T, B, N + 1, 300)), "k": np.ones((T, B, N + 1, 300))}
    ones["tokens"][..., 0] = ones["k"][..., 0] = 0
    scores = score(metric, dtype=jnp.bfloat16, **ones)
    assert scores.dtype == jnp.float32
    np.testing.assert_array_equal(scores, 299)


def test_random_follows_from_the_key():
    scores = np.asarray(score("random"))
    assert scores.shape == (T, B, N) and scores.dtype == np.float32
    assert len(np.unique(scores)) == T * B * N  # other noise at each timestep and image
    np.testing.assert_array_equal(score("random", tokens=np.zeros((T, B, N, D)), anchors=0), scores)
    assert not np.any(score("random", key=1) == scores)
    with pytest.raises(TypeError, match="key"):
        token_scores("random", tokens=jnp.zeros((T, B, N, D)), q=1, k=1)


@pytest.mark.parametrize("metric", METRICS)
def test_no_gradient_flows(metric):
    tokens, q = jnp.asarray(spikes(T, B, N, D)), jnp.asarray(spikes(T, B, N + 1, D))

    def total(tokens, q, k):
        scores = token_scores(metric, tokens=tokens, q=q, k=k, key=jax.random.key(0))
        return jnp.sum(scores)

    for gradient in jax.grad(total, argnums=(0, 1, 2))(tokens, q, q):
        assert not np.any(gradient)


@pytest.mark.parametrize(
    ("metric", "shapes", "message"),
    [
        ("anchor", {"anchors": 0}, "these tokens have none"),
        ("attention", {}, "unknown metric 'attention': use one of anchor, ssa, l1, firing, saliency, random"),
        ("ssa", {"anchors": 2}, "do not belong together"),
        ("ssa", {"anchors": -1}, "do not belong together"),
        ("l1", {"k": np.zeros((T, B, N, D))}, "do not belong together"),
    ],
)
def test_bad_arguments(metric, shapes, message):
    with pytest.raises(ValueError, match=message):
        score(metric, **shapes)
