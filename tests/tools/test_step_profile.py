"""Operations of a profiled program: their names, where they stand, and their time."""

import jax
import jax.numpy as jnp
import pytest

from stata_jax.tools.step_profile import Event, scopes, seconds_by_operation, spans
from stata_jax.train.compilation import compile_program

PROGRAM = """HloModule m

%body (x: f32[2]) -> f32[2] {
  %inner.1 = f32[2]{0} add(%x, %x), metadata={op_name="jit(f)/inside"}
}

ENTRY %main (x: f32[2]) -> (f32[2], s32[]) {
  %x = f32[2]{0} parameter(0)
  %fusion.3 = f32[2]{0} fusion(%x), kind=kLoop, calls=%body, metadata={op_name="jit(f)/block0/mlp/add" source_line=3}
  ROOT %while.7 = (f32[2]{0}, s32[]) while(%fusion.3), condition=%c, body=%body
}
"""


def test_operations_outside_of_loops_and_where_they_stand():
    found = scopes(PROGRAM)
    assert found == {
        "x": ("parameter", ""),
        "fusion.3": ("fusion", "jit(f)/block0/mlp/add"),
        "while.7": ("while", ""),
    }


def test_a_loop_that_waits_takes_until_the_next_operation_starts():
    """The profile says 1 s of the loop, which then goes on on another thread."""
    events = [Event(9.0, 0.5, "add.2"), Event(0.0, 2.0, "dot.1"), Event(2.0, 1.0, "while.7")]
    assert spans(events) == [("dot.1", 2.0), ("while.7", 7.0), ("add.2", 0.5)]


def test_the_time_of_a_product():
    @jax.jit
    def function(x):
        with jax.named_scope("here"):
            return x @ x

    x = jnp.ones((512, 512))
    program = compile_program(function.lower(x), profiled=True)
    (name,) = (name for name, (_, scope) in scopes(program.as_text()).items() if "/here/" in scope)
    seconds = seconds_by_operation(lambda: program(x), {name: ("dot", "")}, calls=3)
    assert list(seconds) == [name] and 2 * 512**3 / 1e13 < seconds[name] < 1


def test_a_profile_that_has_lost_operations_is_refused():
    program = compile_program(jax.jit(lambda x: jnp.sin(x) @ x).lower(jnp.ones((64, 64))), profiled=True)
    calls = iter([True, False, True])

    def run():
        return program(jnp.ones((64, 64))) if next(calls) else None

    with pytest.raises(ValueError, match="3 calls is incomplete"):
        seconds_by_operation(run, scopes(program.as_text()), calls=3)
