"""Tests of stata_jax.spiking.kernel: the same values, in one function of the compiler."""

import as_users
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.spiking import pieces
from stata_jax.spiking.kernel import one_kernel
from stata_jax.spiking.pieces import by_pieces
from stata_jax.spiking.plif import plif


def entry(compiled):
    text = compiled.as_text()
    return text[text.index("\nENTRY") :]


def test_values_are_those_of_the_function_whose_surroundings_it_may_use():
    def function(scale, x, y):
        def turn(i, state):
            return state * scale[i] + y

        return {"sum": (jax.lax.fori_loop(0, 3, turn, x), x - y), "none": ()}

    scale, x, y = jnp.arange(1.0, 4), jnp.arange(5.0), jnp.ones(5)
    alone = one_kernel(lambda x, y: function(scale, x, y), x, y)
    in_program = as_users.jit(lambda *given: one_kernel(lambda x, y: function(given[0], x, y), *given[1:]))(scale, x, y)
    for found in (alone, in_program):
        np.testing.assert_array_equal(found["sum"][0], ((x * 1 + y) * 2 + y) * 3 + y)
        np.testing.assert_array_equal(found["sum"][1], x - y)
        assert found["none"] == ()


def test_the_program_calls_it_and_has_no_loop_of_its_own():
    def loop(x):
        return jax.lax.fori_loop(0, 7, lambda i, x: jnp.sin(x) + i, x)

    x = jnp.ones(5000)
    plain, kernel = (jax.jit(f).lower(x).compile() for f in (loop, lambda x: one_kernel(loop, x)))
    assert " while(" in entry(plain) and " while(" not in entry(kernel)
    assert 'xla_cpu_small_call="true"' in entry(kernel)
    np.testing.assert_array_equal(kernel(x), plain(x))


@pytest.mark.parametrize("inside", [False, True])
def test_operands_without_use_do_not_end_the_process(inside):
    """An operand that no operation reads, when the program starts or ends with the kernel and when it does not."""

    def program(x, unused):
        if inside:
            x, unused = x * 3, unused * 5
        found = one_kernel(lambda unused, x: jax.lax.fori_loop(0, 5, lambda i, x: x + i, x), unused, x)
        return found + 1 if inside else found

    x = jnp.ones(100)
    expected = 14 if inside else 11
    np.testing.assert_array_equal(jax.jit(program, keep_unused=True)(x, x + 1), expected)


def test_the_leak_of_one_timestep_has_no_use():
    x = jnp.full((1, 6), 3.0)
    spikes, pull = as_users.jit(lambda x, leak: jax.vjp(plif, x, leak))(x, jnp.float32(0.5))
    assert spikes.all() and (pull(jnp.ones_like(x))[0] > 0).all()


def test_what_is_mapped_takes_the_place_of_what_was_there(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE", 1024)
    x = jnp.ones((4, 64, 256))

    def program(x, y):
        return by_pieces(lambda x, y: jnp.sin(x) + y, x, y)

    compiled = jax.jit(program, donate_argnums=1).lower(x, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < x.nbytes / 10
    np.testing.assert_allclose(compiled(x, jnp.ones_like(x)), jnp.sin(x) + 1, rtol=1e-6)
