"""Tests of stata_jax.train.compilation."""

import threading

import as_users
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stata_jax.kernels import process
from stata_jax.train import compilation


def lowered():
    return jax.jit(lambda x: x + 1).lower(jnp.ones(3))


def test_a_program_compiles_and_runs():
    assert compilation.compile_program(lowered())(jnp.ones(3)).tolist() == [2, 2, 2]


def test_an_option_that_the_compiler_does_not_know_is_left_out(monkeypatch):
    real = {"xla_backend_optimization_level": 1}
    monkeypatch.setattr(process, "CPU_OPTIONS", real | {"xla_cpu_no_such_thing": True})
    assert process.known(process.CPU_OPTIONS) == real
    assert compilation.compile_program(lowered())(jnp.ones(3)).tolist() == [2, 2, 2]


def test_what_runs_once_gives_the_same_numbers():
    def draw(key):
        return jax.random.truncated_normal(key, -2.0, 2.0, (100,)), jnp.sum(jnp.sqrt(jax.random.uniform(key, (7, 9))))

    plain, once = (jitted(draw)(jax.random.key(3)) for jitted in (as_users.jit, compilation.jit_once))
    jax.tree.map(np.testing.assert_array_equal, once, plain)
    inside = as_users.jit(compilation.jit_once(draw))(jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, inside, plain)


def test_a_call_that_is_started_goes_on_beside_what_follows(monkeypatch):
    may_run, real = threading.Event(), jax.stages.Lowered.compile

    def compiles(lowered, options):
        assert may_run.wait(60)
        return real(lowered, options)

    monkeypatch.setattr(jax.stages.Lowered, "compile", compiles)
    once = compilation.Once(lambda x: {"twice": 2 * x}, jnp.ones((2, 3)))
    assert once.shapes == {"twice": jax.ShapeDtypeStruct((2, 3), jnp.float32)}
    once.start()
    may_run.set()
    once.settle()
    monkeypatch.undo()
    assert once.take()["twice"].tolist() == [[2.0] * 3] * 2
    once.settle()  # nothing to wait for
    assert once.take()["twice"].tolist() == [[2.0] * 3] * 2  # started by itself


def test_an_error_of_a_call_in_a_thread_comes_to_whoever_waits(monkeypatch):
    def compiles(lowered, options):
        raise jax.errors.JaxRuntimeError("out of memory")

    monkeypatch.setattr(jax.stages.Lowered, "compile", compiles)
    once = compilation.Once(lambda: jnp.ones(3))
    once.settle()
    once.start()
    for wait in (once.settle, once.take):
        with pytest.raises(jax.errors.JaxRuntimeError, match="out of memory"):
            wait()


def test_other_errors_of_the_compiler_pass(monkeypatch):
    class Refuses:
        def lower(self):
            return self

        def compile(self, options=None):
            raise jax.errors.JaxRuntimeError("out of memory")

    monkeypatch.setattr(process.jax, "jit", lambda function: Refuses())
    with pytest.raises(jax.errors.JaxRuntimeError, match="out of memory"):
        process.known({"xla_an_option_not_asked_for_before": True})


def test_what_is_compiled_when_called_is_compiled_once(monkeypatch):
    compiled = []

    def compile_program(lowered):
        compiled.append(lowered)
        return lowered.compile()

    monkeypatch.setattr(compilation, "compile_program", compile_program)
    call = compilation.compile_when_called(jax.jit(lambda x: 2 * x))
    assert not compiled
    assert [call(jnp.full(3, value)).tolist() for value in (1.0, 2.0)] == [[2.0] * 3, [4.0] * 3]
    assert len(compiled) == 1


@pytest.mark.skipif(not jax.__version__.startswith("0.10."), reason="options come and go with the compiler")
def test_the_options_of_a_training_step_are_known():
    assert process.known(process.CPU_OPTIONS) == process.CPU_OPTIONS
