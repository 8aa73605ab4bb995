"""Tests of stata_jax.train.losses: the terms of Eq. 12, their weights and their positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.pruning.align import inter_alignment, intra_alignment
from stata_jax.train.losses import stata_loss, tet_loss

T, B, N, HEADS, CLASSES = 2, 3, 4, 2, 5


def seen():
    """What the losses read of a model that aligns blocks 0, 2 and 3."""
    random = np.random.RandomState(0)

    def maps(*leading):
        return jnp.asarray(random.randn(*leading, N, N), jnp.float32)

    within = {l: {"time": maps(T, B), "heads": maps(HEADS, B)} for l in (0, 2, 3)}
    students = {pair: maps(T, B, HEADS) for pair in [(0, 2), (0, 3), (2, 3)]}
    teachers = {j: maps(T, B, HEADS) for j in (2, 3)}
    return {"aligned": {"within": within, "patches": {}, "students": students, "teachers": teachers}}


def classes():
    random = np.random.RandomState(1)
    logits = random.randn(B, CLASSES).astype(np.float32)
    targets = random.rand(B, CLASSES).astype(np.float32)
    return logits, targets / targets.sum(axis=1, keepdims=True)


def loss(aux, **changes):
    options = dict(classification="cross_entropy", tet_means=1.0, tet_lambda=0.001)
    options |= dict(alpha=0.01, beta=0.02, distance="mse") | changes
    logits, targets = (jnp.asarray(x) for x in classes())
    return stata_loss(logits, aux, targets, **options)


def test_cross_entropy_matches_a_loop():
    total, terms = loss(seen(), alpha=0.0, beta=0.0)
    logits, targets = (x.astype(np.float64) for x in classes())
    rows = [
        -np.sum(share * np.log(np.exp(row) / np.exp(row).sum())) for share, row in zip(targets, logits, strict=True)
    ]
    assert len(rows) == B and total.shape == () and total.dtype == jnp.float32
    np.testing.assert_allclose(total, np.mean(rows), rtol=1e-5)
    assert terms["cross_entropy"] == total


@pytest.mark.parametrize("distance", ["mse", "norm"])
def test_loss_is_the_weighted_sum_of_the_terms(distance):
    aux = seen()
    total, terms = loss(aux, distance=distance)
    aligned = aux["aligned"]
    assert terms["intra"] == intra_alignment(aligned["within"], kind=distance) > 0
    assert terms["inter"] == inter_alignment(aligned["students"], aligned["teachers"], kind=distance) > 0
    expected = terms["cross_entropy"] + 0.01 * terms["intra"] + 0.02 * terms["inter"]
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    np.testing.assert_allclose(terms["alpha_intra"], 0.01 * terms["intra"], rtol=1e-6)
    np.testing.assert_allclose(terms["beta_inter"], 0.02 * terms["inter"], rtol=1e-6)


def test_balance_scales_the_classification_and_the_alignment():
    total, terms = loss(seen(), balance=jnp.asarray([3.0, 5.0]))
    assert jax.tree.map(float, terms) == jax.tree.map(float, loss(seen())[1])
    expected = 3 * terms["cross_entropy"] + 5 * (terms["alpha_intra"] + terms["beta_inter"])
    np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_layers_with_patches_are_compared_by_them():
    aux = seen()
    aux["aligned"]["patches"][2] = jnp.arange(T * B * N, dtype=jnp.int32).reshape(T, B, N)  # none in common
    intra = loss(aux)[1]["intra"]
    assert intra == intra_alignment(aux["aligned"]["within"], kind="mse", patches=aux["aligned"]["patches"])
    assert intra < loss(seen())[1]["intra"]


def test_a_weight_of_zero_turns_its_term_off():
    full = loss(seen())[1]
    for changes, off in [({"alpha": 0.0}, "intra"), ({"beta": 0.0}, "inter")]:
        total, terms = loss(seen(), **changes)
        assert terms[off] == 0 and terms[off].dtype == jnp.float32
        left = {"intra": 0.01 * full["intra"], "inter": 0.02 * full["inter"]} | {off: 0.0}
        np.testing.assert_allclose(total, full["cross_entropy"] + left["intra"] + left["inter"], rtol=1e-6)


def test_a_term_that_is_off_reads_nothing():
    total, terms = loss({}, alpha=0.0, beta=0.0)
    assert total == terms["cross_entropy"]


def test_tet_matches_a_loop():
    step_logits = np.random.RandomState(2).randn(T, B, CLASSES)
    _, targets = classes()
    each = []
    for t in range(T):
        rows = step_logits[t] - np.log(np.exp(step_logits[t]).sum(1, keepdims=True))
        each.append(-np.mean(np.sum(targets * rows, axis=1)))
    expected = 0.9 * np.mean(each) + 0.1 * np.mean((step_logits - 0.5) ** 2)
    actual = tet_loss(jnp.asarray(step_logits, jnp.float32), jnp.asarray(targets), means=0.5, lamb=0.1)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_tet_takes_the_place_of_the_cross_entropy():
    aux = seen() | {"step_logits": jnp.asarray(np.random.RandomState(2).randn(T, B, CLASSES), jnp.float32)}
    total, terms = loss(aux, classification="tet", tet_means=1.0, tet_lambda=0.1)
    expected = tet_loss(aux["step_logits"], jnp.asarray(classes()[1]), means=1.0, lamb=0.1)
    np.testing.assert_allclose(terms["tet"], expected, rtol=1e-6)
    np.testing.assert_allclose(total, expected + 0.01 * terms["intra"] + 0.02 * terms["inter"], rtol=1e-6)
    assert terms["cross_entropy"] != terms["tet"]
    with pytest.raises(ValueError, match="unknown loss 'mse'"):
        loss(aux, classification="mse")
