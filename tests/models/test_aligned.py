"""Tests of stata_jax.models.aligned: which maps are handed out, and their gradients."""

import functools

import as_users
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax import speed
from stata_jax.models.aligned import maps_to_align, no_maps
from stata_jax.pruning.align import inter_alignment, intra_alignment
from stata_jax.pruning.maps import Aligned, maps_within

T, B, D, HEADS, SCALE = 2, 3, 4, 2, 0.125
TOKENS = (6, 6, 4, 4)  # entering each block: block 1 prunes
SHAPE = dict(heads=HEADS, scale=SCALE)
OPTIONS = SHAPE | dict(anchor=True)


def choices(n, size, seed):
    random = np.random.RandomState(seed)
    chosen = [[random.choice(n, size, replace=False) for _ in range(B)] for _ in range(T)]
    return np.asarray(chosen, np.int32)


KEPT = {1: jnp.asarray(choices(TOKENS[1], TOKENS[2], seed=0))}


def spikes(dtype=jnp.float32):
    """Queries and keys of each block."""
    return [
        tuple(jnp.asarray(np.random.RandomState(2 * l + i).randint(0, 2, (T, B, n, D)), dtype) for i in (0, 1))
        for l, n in enumerate(TOKENS)
    ]


def made(align, given, *, order=(None,) * 4, kept=KEPT, kernels="cpu", **options):
    """What the blocks hand out one after the other, and the tokens of the last; all blocks have the same tokens."""
    tokens = jnp.ones((T, B, 1, D))
    aux = {"order": list(order), "kept": {}, "positions": {}, "aligned": no_maps()}
    ops = speed.operations(kernels, **options)
    for l in range(len(given)):
        tokens = maps_to_align(align, tokens, given[: l + 1], aux, ops=ops, **OPTIONS)
        if l in kept:
            aux["kept"][l], aux["positions"][l] = kept[l], kept[l][..., 1:]
    return aux["aligned"], tokens


def explicit_map(q, k):
    q, k = (np.asarray(x, np.float64).reshape(*x.shape[:-1], HEADS, -1) for x in (q, k))
    return np.einsum("tbqhd,tbkhd->tbhqk", q, k) * SCALE


def explicit_rows(x, index):
    return np.take_along_axis(np.asarray(x), np.asarray(index)[..., None], axis=2)


def resized(phi, size):
    """Rows and columns of the patches weighted by a triangle as wide as a new patch; the anchor is left alone."""
    old, new = phi.shape[-1] - 1, size - 1
    away = np.abs((np.arange(new)[:, None] + 0.5) - (np.arange(old) + 0.5) * new / old)
    rows = np.zeros((size, old + 1))
    rows[0, 0], rows[1:, 1:] = 1, np.maximum(1 - away, 0)
    rows /= rows.sum(axis=1, keepdims=True)
    return rows @ phi @ rows.T


def test_only_what_is_aligned_is_handed_out():
    given = spikes()
    nothing, tokens = made(Aligned(), given)
    assert nothing == {"within": {}, "patches": {}, "students": {}, "teachers": {}}
    np.testing.assert_array_equal(tokens, np.ones((T, B, 1, D)))
    aligned, tokens = made(Aligned(intra_at=(3, 1), inter_at=(2, 0), intra_heads=False), given)
    assert set(aligned["within"]) == {1, 3} and set(aligned["within"][1]) == {"time"}
    assert set(aligned["students"]) == {(0, 2)} and set(aligned["teachers"]) == {2}
    np.testing.assert_array_equal(tokens, np.ones((T, B, 1, D)))
    assert made(Aligned(inter_at=(2,)), given)[0] == nothing


def test_maps_within_blocks():
    given = spikes()
    aligned, _ = made(Aligned(intra_at=(0, 2)), given)
    for l in (0, 2):
        expected = maps_within(*given[l], intra_time=True, intra_heads=True, **SHAPE)
        jax.tree.map(np.testing.assert_array_equal, aligned["within"][l], expected)


def test_blocks_behind_a_pruning_hand_out_their_patches():
    aligned, _ = made(Aligned(intra_at=(0, 2)), spikes())
    patches = np.asarray(KEPT[1]).copy()
    patches[..., 0] = -1  # the anchor
    assert set(aligned["patches"]) == {2}
    np.testing.assert_array_equal(aligned["patches"][2], patches)
    assert made(Aligned(intra_at=(0, 2), intra_tokens="slots"), spikes())[0]["patches"] == {}


def test_gather_compares_the_tokens_that_are_left():
    given = spikes()
    aligned, _ = made(Aligned(inter_at=(0, 1, 2, 3), match="gather"), given)
    for (i, j), student in aligned["students"].items():
        pair = [explicit_rows(x, KEPT[1]) if i < 2 <= j else x for x in given[i]]
        np.testing.assert_allclose(student, explicit_map(*pair), rtol=1e-6)
        np.testing.assert_allclose(aligned["teachers"][j], explicit_map(*given[j]), rtol=1e-6)
    assert set(aligned["students"]) == {(i, j) for i in range(4) for j in range(i + 1, 4)}


def test_gather_after_two_prunings_follows_both():
    given = [*spikes()[:3], tuple(x[:, :, :2] for x in spikes()[3])]
    kept = KEPT | {2: jnp.asarray(choices(TOKENS[2], 2, seed=1))}
    students = made(Aligned(inter_at=(0, 2, 3), match="gather"), given, kept=kept)[0]["students"]
    once = [explicit_rows(x, KEPT[1]) for x in given[0]]
    np.testing.assert_allclose(students[0, 2], explicit_map(*once), rtol=1e-6)
    np.testing.assert_allclose(students[0, 3], explicit_map(*(explicit_rows(x, kept[2]) for x in once)), rtol=1e-6)
    np.testing.assert_allclose(students[2, 3], explicit_map(*(explicit_rows(x, kept[2]) for x in given[2])), rtol=1e-6)


def test_interpolation_resizes_in_the_order_of_the_patches():
    given, order = spikes(), [None, None, *(jnp.asarray(choices(4, 4, seed=seed)) for seed in (2, 3))]
    aligned, _ = made(Aligned(inter_at=(0, 2, 3)), given, order=order)
    straight = [given[0], given[1], *([explicit_rows(x, order[l]) for x in given[l]] for l in (2, 3))]
    for (i, j), student in aligned["students"].items():
        expected = explicit_map(*straight[i])
        np.testing.assert_allclose(student, resized(expected, 4) if i == 0 else expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(aligned["teachers"][j], explicit_map(*straight[j]), rtol=1e-6)
    assert set(aligned["students"]) == {(0, 2), (0, 3), (2, 3)}


@pytest.mark.parametrize("match", ["interpolate", "gather"])
def test_the_shallow_anchor_learns_from_the_deep_one(match):
    """Its query and its key get a gradient in every image."""
    kept = {1: KEPT[1].at[..., 0].set(0)}  # the anchor is never dropped

    def between(given):
        aligned, _ = made(Aligned(inter_at=(0, 2), match=match), given, kept=kept)
        return inter_alignment(aligned["students"], aligned["teachers"], kind="norm")

    for gradient in jax.grad(between)(spikes())[0]:
        assert np.any(gradient[:, :, 0], axis=(0, 2)).all()


def test_a_map_with_two_teachers_of_the_same_tokens_is_made_once():
    students = made(Aligned(inter_at=(0, 2, 3)), spikes())[0]["students"]
    assert students[0, 2] is students[0, 3]


@pytest.mark.parametrize("at", ["intra_at", "inter_at"])
def test_tokens_wait_for_all_maps(at):
    """They depend on them, which shows where a map begins with a NaN."""
    given = spikes()
    for l in (0, 3):
        poisoned = [*given[:l], tuple(x.at[0, 0, 0, 0].set(jnp.nan) for x in given[l]), *given[l + 1 :]]
        assert (made(Aligned(**{at: (0, 3)}), poisoned)[1] != 1).all()


def test_one_timestep_and_one_head_have_no_teacher():
    q, k = (x[:1] for x in spikes()[0])
    assert maps_within(q, k, heads=1, scale=SCALE, intra_time=True, intra_heads=True) == {}
    assert set(maps_within(q, k, intra_time=True, intra_heads=True, **SHAPE)) == {"heads"}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("match", ["interpolate", "gather"])
def test_kernels_change_no_gradient_and_the_deepest_is_taught_by_none(match, dtype):
    given, align = spikes(dtype), Aligned(intra_at=(0, 3), inter_at=(0, 2, 3), match=match)

    def loss(given, *, kernels="cpu", align=align, **options):
        aligned, tokens = made(align, given, kernels=kernels, **options)
        between = inter_alignment(aligned["students"], aligned["teachers"], kind="mse")
        within = intra_alignment(aligned["within"], kind="mse", patches=aligned["patches"])
        return within + between + tokens.sum()

    def gradient(**options):
        return as_users.jit(jax.grad(functools.partial(loss, **options)))(given)

    plain, floating, faster = gradient(kernels="plain"), gradient(in_bytes=False), gradient(in_bytes=True)
    learning = [[bool(np.any(x)) for x in pair] for pair in plain]
    assert learning == [[True, True], [False, False], [True, True], [True, True]]
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-9), faster, floating)
    # Of bfloat16 both terms of a gradient are rounded, and their sum, which the plain operations take in another order.
    rounding = dict(rtol=1e-6, atol=1e-9) if dtype == jnp.float32 else dict(rtol=0.02, atol=1e-6)
    wide = [jax.tree.map(lambda x: np.asarray(x, np.float32), each) for each in (faster, plain)]
    jax.tree.map(functools.partial(np.testing.assert_allclose, **rounding), *wide)
    between = jax.grad(functools.partial(loss, align=align._replace(intra_at=())))(given)
    assert not any(np.any(x) for x in between[3])
