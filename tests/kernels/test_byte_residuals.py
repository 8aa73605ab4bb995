"""Tests of stata_jax.kernels.byte_residuals: what is kept is small, and loses nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels.byte_residuals import from_bytes, later, read_beside, restore


def of_three(q, k, v):
    return jnp.tanh(q) * k + v * q


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_values_and_gradients_stay_and_bytes_are_kept(dtype):
    random = np.random.RandomState(0)
    given = [jnp.asarray(random.randint(0, 256, (3, 4)), dtype) for _ in range(3)]
    gradient = jnp.asarray(random.randn(3, 4), dtype)
    expected, pull_plain = jax.vjp(of_three, *given)
    out, pull = jax.vjp(lambda *given: from_bytes(of_three, *given), *given)
    np.testing.assert_array_equal(out, expected)
    jax.tree.map(np.testing.assert_array_equal, pull(gradient), pull_plain(gradient))
    assert {leaf.dtype for leaf in jax.tree.leaves(pull) if leaf.size} == {jnp.dtype("uint8")}


@pytest.mark.parametrize("in_bytes", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_what_is_read_beside_changes_no_value_nor_gradient(dtype, in_bytes):
    random = np.random.RandomState(0)
    q, k = (jnp.asarray(random.randint(0, 256, (3, 4)), dtype) for _ in range(2))
    x, dx, gradient = (jnp.asarray(random.randn(*shape), dtype) for shape in [(2,), (2,), (2, 4)])
    index = jnp.asarray([2, 0])

    def read(q, k, index, nothing):
        assert nothing is None
        return (jnp.tanh(q) * k)[index]

    expected, pull_plain = jax.vjp(lambda q, k: read(q, k, index, None), q, k)
    (out, seen), pull = jax.vjp(lambda x, q, k: read_beside(read, x, (q, k), index, None, in_bytes=in_bytes), x, q, k)
    np.testing.assert_array_equal(out, x)
    np.testing.assert_array_equal(seen, expected)
    jax.tree.map(np.testing.assert_array_equal, pull((dx, gradient)), (dx, *pull_plain(gradient)))
    kept = {leaf.dtype for leaf in jax.tree.leaves(pull) if leaf.size == q.size}
    assert kept == {jnp.dtype("uint8") if in_bytes else jnp.dtype(dtype)}


@pytest.mark.parametrize("in_bytes", [False, True])
def test_gradients_of_what_is_read_beside_wait_for_those_of_what_goes_on(in_bytes):
    """Where that is NaN they are others, since they depend on it: what a compiler cannot overlook."""
    q, x = jnp.ones((3,)), jnp.zeros((2,))
    pull = jax.vjp(lambda x, q: read_beside(jnp.square, x, (q,), in_bytes=in_bytes), x, q)[1]
    np.testing.assert_array_equal(pull((x, jnp.ones((3,))))[1], [2, 2, 2])
    assert not np.array_equal(pull((jnp.full((2,), jnp.nan), jnp.ones((3,))))[1], [2, 2, 2])


def test_what_goes_on_waits_for_what_is_read_beside():
    def read(q):
        return q, {"a NaN": jnp.full((2, 2), jnp.nan)}

    x = jnp.zeros((2,))
    assert (read_beside(read, x, (jnp.ones((3,)),), in_bytes=True)[0] != x).all()
    np.testing.assert_array_equal(read_beside(jnp.square, x, (jnp.ones((3,)),), in_bytes=True)[0], x)


def test_later_changes_nothing():
    x = jnp.asarray([1.5, -2.0, np.inf])
    np.testing.assert_array_equal(later(x, after=jnp.ones((2, 2))), x)


def test_restored_values_are_exact_and_wait_for_the_gradient():
    spikes = jnp.arange(256, dtype=jnp.uint8)
    after = jnp.ones((2, 2))
    restored = restore(spikes, jnp.float32, after=after)
    np.testing.assert_array_equal(restored, np.arange(256))
    program = jax.jit(lambda spikes, after: restore(spikes, jnp.float32, after=after))
    text = program.lower(spikes, after).compile().as_text()
    assert "compare" in text  # the compiler has not found out that it could do without
