"""Tests of stata_jax.training.losses: the terms of Eq. 12, their weights and their positions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.sparsity.alignment import inter_alignment, intra_alignment
from stata_jax.training.losses import stata_loss, tet_loss

T, B, D, HEADS, SCALE, CLASSES = 2, 3, 4, 2, 0.125, 5
TOKENS = (6, 6, 4, 4)  # entering each block: block 1 prunes
AT = (0, 2, 3)


def spikes(n, seed):
    return np.random.RandomState(seed).randint(0, 2, (T, B, n, D)).astype(np.float32)


def kept():
    random = np.random.RandomState(0)
    choice = [[np.sort(random.choice(TOKENS[1], TOKENS[2], replace=False)) for _ in range(B)] for _ in range(T)]
    return jnp.asarray(choice, jnp.int32)


def seen():
    """What a model of four blocks has seen; in each block its own spikes."""
    blocks = []
    for l, n in enumerate(TOKENS):
        q, k = jnp.asarray(spikes(n, 2 * l)), jnp.asarray(spikes(n, 2 * l + 1))
        blocks.append({"attention": {"q": q, "k": k}})
    return {"blocks": blocks, "order": [None] * len(TOKENS), "kept": {1: kept()}}


def classes():
    random = np.random.RandomState(1)
    logits = random.randn(B, CLASSES).astype(np.float32)
    targets = random.rand(B, CLASSES).astype(np.float32)
    return logits, targets / targets.sum(axis=1, keepdims=True)


def loss(aux, **changes):
    options = dict(classification="cross_entropy", tet_means=1.0, tet_lambda=0.001)
    options |= dict(alpha=0.01, beta=0.02, intra_at=AT, inter_at=AT, intra_time=True, intra_heads=True)
    options |= dict(heads=HEADS, scale=SCALE, match="interpolate", distance="mse") | changes
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


@pytest.mark.parametrize("match", ["interpolate", "gather"])
@pytest.mark.parametrize(
    ("distance", "time", "heads"), [("mse", True, True), ("norm", True, False), ("mse", False, True)]
)
def test_loss_is_the_weighted_sum_of_the_terms(match, distance, time, heads):
    aux = seen()
    changes = dict(match=match, distance=distance, intra_time=time, intra_heads=heads)
    total, terms = loss(aux, **changes)
    intra = functools.partial(
        intra_alignment, heads=HEADS, scale=SCALE, over_time=time, over_heads=heads, kind=distance
    )
    layers = [intra(aux["blocks"][l]["attention"]["q"], aux["blocks"][l]["attention"]["k"]) for l in AT]
    np.testing.assert_allclose(terms["intra"], np.mean(layers), rtol=1e-5)
    surviving = {(0, 2): kept(), (0, 3): kept(), (2, 3): None}  # who enters blocks 2 and 3 has survived block 1
    spikes = {l: (block["attention"]["q"], block["attention"]["k"]) for l, block in enumerate(aux["blocks"])}
    inter = inter_alignment(spikes, surviving, heads=HEADS, scale=SCALE, at=AT, match=match, kind=distance)
    np.testing.assert_allclose(terms["inter"], inter, rtol=1e-5)
    assert terms["intra"] > 0 and terms["inter"] > 0
    expected = terms["cross_entropy"] + 0.01 * terms["intra"] + 0.02 * terms["inter"]
    np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_positions_of_the_two_terms_are_separate():
    intra, inter = loss(seen(), intra_at=(1,), inter_at=(0, 1))[1], loss(seen(), intra_at=(3,), inter_at=(0, 1))[1]
    assert intra["inter"] == inter["inter"] and intra["intra"] != inter["intra"]
    pair, other = loss(seen(), inter_at=(0, 1))[1], loss(seen(), inter_at=(2, 3))[1]
    assert pair["intra"] == other["intra"] and pair["inter"] != other["inter"]


def test_a_weight_of_zero_turns_its_term_off():
    full = loss(seen())[1]
    for changes, off in [({"alpha": 0.0}, "intra"), ({"beta": 0.0}, "inter"), ({"intra_at": ()}, "intra")]:
        total, terms = loss(seen(), **changes)
        assert terms[off] == 0 and terms[off].dtype == jnp.float32
        left = {"intra": 0.01 * full["intra"], "inter": 0.02 * full["inter"]} | {off: 0.0}
        np.testing.assert_allclose(total, full["cross_entropy"] + left["intra"] + left["inter"], rtol=1e-6)
    assert loss(seen(), inter_at=(2,))[1]["inter"] == 0


def test_a_term_that_is_off_reads_nothing():
    nothing = {"blocks": None, "kept": None}
    total, terms = loss(nothing, alpha=0.0, beta=0.0)
    assert total == terms["cross_entropy"]


def test_deepest_map_is_taught_by_none():
    aux = seen()
    gradient = jax.grad(lambda blocks: loss({**aux, "blocks": blocks}, alpha=0.0)[0])(aux["blocks"])
    learning = [any(np.any(x) for x in jax.tree.leaves(block)) for block in gradient]
    assert learning == [True, False, True, False]


def test_lean_changes_no_gradient():
    aux = seen()

    def gradient(**changes):
        return jax.jit(jax.grad(lambda blocks: loss({**aux, "blocks": blocks}, **changes)[0]))(aux["blocks"])

    plain, lean = gradient(), gradient(lean=True)
    assert any(np.any(x) for x in jax.tree.leaves(plain))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-9), lean, plain)


def test_interpolation_does_not_depend_on_the_slots():
    """Tokens in other slots, with the order that undoes it: the maps are compared in the order of the patches."""
    straight = seen()
    shuffled = straight | {"blocks": list(straight["blocks"]), "order": list(straight["order"])}
    slots = np.stack([np.random.RandomState(t).permutation(4) for t in range(T * B)]).reshape(T, B, 4)
    for l in (2, 3):
        spikes = straight["blocks"][l]["attention"]
        moved = {name: jnp.asarray(np.take_along_axis(x, slots[..., None], axis=2)) for name, x in spikes.items()}
        shuffled["blocks"][l] = {"attention": moved}
        shuffled["order"][l] = jnp.asarray(np.argsort(slots, axis=-1), jnp.int32)
    expected, terms = loss(straight)[1]["inter"], loss(shuffled)[1]
    np.testing.assert_allclose(terms["inter"], expected, rtol=1e-6)
    unordered = loss(shuffled | {"order": straight["order"]})[1]["inter"]
    assert abs(float(unordered) - float(expected)) > 1e-4 * float(expected)


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
