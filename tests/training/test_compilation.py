"""Tests of stata_jax.training.compilation."""

import as_users
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.training import compilation


def lowered():
    return jax.jit(lambda x: x + 1).lower(jnp.ones(3))


def test_a_program_compiles_and_runs():
    assert compilation.compile_program(lowered())(jnp.ones(3)).tolist() == [2, 2, 2]


def test_an_option_that_the_compiler_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(compilation, "_CPU_OPTIONS", {"xla_cpu_no_such_thing": True, "xla_backend_optimization_level": 1})
    assert compilation._known(compilation._CPU_OPTIONS) == {"xla_backend_optimization_level": 1}
    assert compilation.compile_program(lowered())(jnp.ones(3)).tolist() == [2, 2, 2]


def test_what_runs_once_gives_the_same_numbers():
    def draw(key):
        return jax.random.truncated_normal(key, -2.0, 2.0, (100,)), jnp.sum(jnp.sqrt(jax.random.uniform(key, (7, 9))))

    plain, once = (jitted(draw)(jax.random.key(3)) for jitted in (as_users.jit, compilation.jit_once))
    jax.tree.map(np.testing.assert_array_equal, once, plain)
    inside = as_users.jit(compilation.jit_once(draw))(jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, inside, plain)


def test_other_errors_of_the_compiler_pass():
    class Refuses:
        def compile(self, options=None):
            raise jax.errors.JaxRuntimeError("out of memory")

    with pytest.raises(jax.errors.JaxRuntimeError, match="out of memory"):
        compilation.compile_program(Refuses())


def test_what_is_compiled_when_called_is_compiled_once():
    traced = []

    def double(x):
        traced.append(x)
        return 2 * x

    call = compilation.compile_when_called(jax.jit(double))
    assert not traced
    assert [call(jnp.full(3, value)).tolist() for value in (1.0, 2.0)] == [[2.0] * 3, [4.0] * 3]
    assert len(traced) == 1


@pytest.mark.skipif(not jax.__version__.startswith("0.10."), reason="options come and go with the compiler")
def test_the_options_of_a_training_step_are_known():
    assert compilation._known(compilation._CPU_OPTIONS) == compilation._CPU_OPTIONS
