"""Tests of stata_jax.pruning.align against loops over samples and maps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.pruning.align import better_teaches_worse, distance, inter_alignment, intra_alignment

T, B, N, HEADS = 4, 3, 5, 3


def normal(*shape, seed=0):
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)


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
    with pytest.raises(ValueError, match="unknown distance 'l2': use one of norm, mse"):
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


def explicit_teaching_by_patch(maps, patches, kind):
    """Entry by entry: two maps are compared where both have the row's patch and the column's."""
    terms = []
    _, pairs = explicit_teaching(maps, kind)
    gradient = np.zeros_like(maps)
    for b, worse, better in pairs:
        slot = {patch: j for j, patch in enumerate(patches[better, b])}
        difference = np.zeros((N, N))
        for i, j in np.ndindex(N, N):
            row, column = patches[worse, b, i], patches[worse, b, j]
            if row in slot and column in slot:
                difference[i, j] = maps[worse, b, i, j] - maps[better, b, slot[row], slot[column]]
        terms.append(np.linalg.norm(difference) if kind == "norm" else difference)
        if kind == "norm" and terms[-1] > 0:
            gradient[worse, b] = difference / terms[-1] / len(pairs)
    if kind == "norm":
        return np.mean(terms), gradient
    compared = sum(len(set(patches[worse, b]) & set(patches[better, b])) ** 2 for b, worse, better in pairs)
    for (b, worse, _), difference in zip(pairs, terms, strict=True):
        gradient[worse, b] = 2 * difference / compared
    return np.sum(np.square(terms)) / compared, gradient


@pytest.mark.parametrize("kind", ["norm", "mse"])
def test_timesteps_are_compared_by_the_patches_that_both_kept(kind):
    random = np.random.RandomState(5)
    maps = normal(T, B, N, N, seed=6)
    patches = np.stack([[[-1, *random.permutation(8)[: N - 1]] for _ in range(B)] for _ in range(T)]).astype(np.int32)
    expected, expected_gradient = explicit_teaching_by_patch(maps, patches, kind)
    teach = functools.partial(better_teaches_worse, kind=kind, patches=jnp.asarray(patches))
    loss, gradient = jax.value_and_grad(teach)(jnp.asarray(maps))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-7)
    slots = better_teaches_worse(jnp.asarray(maps), kind=kind)
    assert abs(loss - slots) > 1e-2  # the other reading is another number
    # The same patches at all timesteps, in another order: the slots do not matter.
    order = np.stack([[random.permutation(N) for _ in range(B)] for _ in range(T)])
    moved = np.stack([[maps[t, b][np.ix_(order[t, b], order[t, b])] for b in range(B)] for t in range(T)])
    again = better_teaches_worse(jnp.asarray(moved), kind=kind, patches=jnp.asarray(order.astype(np.int32)))
    np.testing.assert_allclose(again, slots, rtol=1e-5)


@pytest.mark.parametrize("kind", ["norm", "mse"])
def test_timesteps_without_a_common_patch_teach_nothing(kind):
    patches = jnp.arange(2 * B * N, dtype=jnp.int32).reshape(2, B, N)
    teach = functools.partial(better_teaches_worse, kind=kind, patches=patches)
    loss, gradient = jax.value_and_grad(teach)(jnp.asarray(normal(2, B, N, N)))
    assert loss == 0 and not np.any(gradient)


def test_intra_alignment_takes_the_patches_of_layers_that_have_them():
    maps = {0: {"time": jnp.asarray(normal(2, B, N, N))}, 2: {"time": jnp.asarray(normal(2, B, N, N, seed=1))}}
    patches = {2: jnp.arange(2 * B * N, dtype=jnp.int32).reshape(2, B, N)}  # none in common
    expected = better_teaches_worse(maps[0]["time"], kind="norm") / 2
    assert intra_alignment(maps, kind="norm", patches=patches) == expected > 0


def test_one_map_has_no_teacher():
    loss, gradient = jax.value_and_grad(lambda x: better_teaches_worse(x, kind="norm"))(jnp.ones((1, B, N, N)))
    assert loss == 0 and loss.dtype == jnp.float32 and not np.any(gradient)


@pytest.mark.parametrize("kind", ["mse", "norm"])
def test_intra_alignment_adds_time_and_heads_and_averages_over_layers(kind):
    both = {"time": normal(T, B, N, N), "heads": normal(HEADS, B, N, N, seed=1)}
    one = {"heads": normal(HEADS, B, 2, 2, seed=2)}
    expected = sum(explicit_teaching(maps, kind)[0] for maps in (*both.values(), *one.values())) / 2
    loss = intra_alignment(jax.tree.map(jnp.asarray, {0: both, 3: one}), kind=kind)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_intra_alignment_of_one_timestep_and_one_head_is_zero():
    assert intra_alignment({0: {"time": jnp.ones((1, B, N, N)), "heads": jnp.ones((1, B, N, N))}}, kind="mse") == 0


@pytest.mark.parametrize("kind", ["mse", "norm"])
def test_inter_alignment_averages_over_pairs(kind):
    students = {(0, 2): normal(T, B, HEADS, N, N), (0, 5): normal(T, B, HEADS, 3, 3, seed=1)}
    students[2, 5] = normal(T, B, HEADS, 3, 3, seed=2)
    teachers = {2: normal(T, B, HEADS, N, N, seed=3), 5: normal(T, B, HEADS, 3, 3, seed=4)}
    expected = np.mean([explicit_distance(student, teachers[j], kind) for (_, j), student in students.items()])
    gradient_of = jax.value_and_grad(functools.partial(inter_alignment, kind=kind), argnums=(0, 1))
    loss, (to_students, to_teachers) = gradient_of(*jax.tree.map(jnp.asarray, (students, teachers)))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert all(np.any(x) for x in to_students.values())
    assert not any(np.any(x) for x in to_teachers.values())


def test_nothing_to_align_is_a_loss_of_zero():
    for loss in (intra_alignment({}, kind="mse"), inter_alignment({}, {}, kind="mse")):
        assert loss == 0 and loss.dtype == jnp.float32
