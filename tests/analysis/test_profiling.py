"""The clock and the compiler's account, on programs whose cost is known."""

import time

import jax
import jax.numpy as jnp
import pytest

from stata_jax.analysis.profiling import Timing, compiler_account, time_alternately


def test_median_and_spread():
    assert Timing((5.0, 1.0, 2.0, 3.0, 4.0)).median == 3.0
    assert Timing((5.0, 1.0, 2.0, 3.0, 4.0)).spread == 1.0
    assert Timing((2.0,)).spread == 0.0


def test_programs_take_turns_and_the_first_call_is_not_counted():
    order = []

    def call(name, seconds):
        def run():
            order.append(name)
            time.sleep(1.0 if len(order) <= 2 else seconds)

        return run

    timings = time_alternately({"slow": call("slow", 0.06), "fast": call("fast", 0.02)}, rounds=3)
    assert order == ["slow", "fast"] * 4
    assert len(timings["slow"].seconds) == 3
    assert 0.06 <= timings["slow"].median < 0.5 and 0.02 <= timings["fast"].median < timings["slow"].median


@pytest.mark.parametrize(("calls", "rounds"), [({}, 3), ({"a": lambda: 1}, 0)])
def test_nothing_to_time(calls, rounds):
    with pytest.raises(ValueError, match="a program and a round"):
        time_alternately(calls, rounds=rounds)


def test_the_compilers_account_of_a_product():
    x = jnp.zeros((64, 32))
    account = compiler_account(jax.jit(lambda a, b: a @ b).lower(x, x.T).compile())
    assert account["flops"] == 2 * 64 * 64 * 32
    assert account["peak_bytes"] >= 4 * (2 * 64 * 32 + 64 * 64)
