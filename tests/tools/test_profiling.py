"""The clock and the compiler's account, on programs whose cost is known."""

import time

import jax
import jax.numpy as jnp
import pytest

from stata_jax.tools.profiling import Timing, compiler_account, time_alternately


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


def test_the_clock_waits_for_the_last_of_calls_in_a_row():
    class Started:
        """Work that a device does by itself, 20 ms a call."""

        ends = 0.0

        def call(self):
            self.ends = max(self.ends, time.perf_counter()) + 0.02
            order.append("call")
            return self

        def block_until_ready(self):
            time.sleep(max(0.0, self.ends - time.perf_counter()))
            order.append("wait")
            return self

    order = []
    timing = time_alternately({"a": Started().call}, rounds=2, in_a_row=3)["a"]
    assert order == ["call", "wait", *(["call"] * 3 + ["wait"]) * 2]
    assert len(timing.seconds) == 2 and 0.02 <= timing.median < 0.1


@pytest.mark.parametrize(("calls", "rounds", "in_a_row"), [({}, 3, 1), ({"a": lambda: 1}, 0, 1), ({"a": int}, 1, 0)])
def test_nothing_to_time(calls, rounds, in_a_row):
    with pytest.raises(ValueError, match="a program, a round and a call"):
        time_alternately(calls, rounds=rounds, in_a_row=in_a_row)


def test_the_compilers_account_of_a_product():
    x = jnp.zeros((64, 32))
    account = compiler_account(jax.jit(lambda a, b: a @ b).lower(x, x.T).compile())
    assert account["flops"] == 2 * 64 * 64 * 32
    assert account["peak_bytes"] >= 4 * (2 * 64 * 32 + 64 * 64)
