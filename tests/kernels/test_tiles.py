"""Tests of stata_jax.kernels.tiles: going through an array tile by tile changes no value."""

import math

import as_users
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from stata_jax.kernels import bits, tiles


@hypothesis.given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 500))
def test_tiles_divide_the_array_and_are_small(shape, most):
    original, tiles.TILE = tiles.TILE, most
    try:
        tile = tiles.tile_shape(tuple(shape))
    finally:
        tiles.TILE = original
    assert (tile[0], tile[-1]) == (shape[0], shape[-1])  # neither time nor channels are cut
    assert all(whole % part == 0 for whole, part in zip(shape, tile, strict=True))
    assert math.prod(tile) <= most or all(part == 1 for part in tile[1:-1])


def test_sum_over_tiles(monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 6)
    x = jnp.arange(24, dtype=jnp.float32).reshape(2, 4, 3)
    total, squares = as_users.jit(
        lambda x: tiles.sum_over_tiles(lambda x: (x.sum((0, 1)), (x**2).sum()), x, target="cpu")
    )(x)
    np.testing.assert_array_equal(total, x.sum((0, 1)))
    np.testing.assert_array_equal(squares, (x**2).sum())


def test_what_is_mapped_takes_the_place_of_what_was_there(monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 1024)
    x = jnp.ones((4, 64, 256))

    def program(x, y):
        return tiles.by_tiles(lambda x, y: jnp.sin(x) + y, x, y, target="cpu")

    compiled = jax.jit(program, donate_argnums=1).lower(x, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < x.nbytes / 10
    np.testing.assert_allclose(compiled(x, jnp.ones_like(x)), jnp.sin(x) + 1, rtol=1e-6)


def test_other_hardware_takes_whole_arrays_unrolled():
    seen = []

    def scan(x, *, unroll):
        seen.append((x.shape, unroll))
        return x

    jax.make_jaxpr(lambda x: tiles.scan_by_tiles(scan, x, target="gpu"))(jnp.zeros((20, 3)))
    assert seen == [((20, 3), bits.MOST)]


def test_other_hardware_may_compute_gradients_where_they_are_read():
    """The first array is held by a barrier with one entry of the second, which itself goes on without one."""
    scan = lambda x, gradient, *, unroll: (x + gradient, ())  # noqa: E731
    x = jnp.arange(60.0).reshape(20, 3)
    both = lambda x, gradient: tiles.map_and_sum_tiles(scan, x, gradient, target="gpu")[0]  # noqa: E731
    np.testing.assert_array_equal(both(x, 2 * x), 3 * x)
    equations = jax.make_jaxpr(both)(x, x).eqns
    (barrier,) = (equation for equation in equations if equation.primitive.name == "optimization_barrier")
    assert [operand.aval.shape for operand in barrier.invars] == [(20, 3), (1, 1)]
    (last,) = (equation for equation in equations if equation.primitive.name == "add")
    assert [operand in barrier.outvars for operand in last.invars] == [True, False]
    assert both(jnp.zeros((4, 0, 3)), jnp.zeros((4, 0, 3))).shape == (4, 0, 3)


def test_the_first_entry_has_as_many_axes():
    assert tiles.first_entry(jnp.arange(6.0).reshape(2, 3)).tolist() == [[0.0]]
    assert tiles.first_entry(jnp.zeros((0, 3))).shape == (0, 1)
