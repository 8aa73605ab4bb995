"""Training and evaluation steps in the machine code that users run; most tests compile with less optimisation."""

from collections.abc import Callable
from typing import Any

import jax

from stata_jax.kernels import process


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.jit` with the options of `compile_program`."""
    options = {"xla_backend_optimization_level": 3} | process.CPU_OPTIONS
    return jax.jit(function, compiler_options=process.known(options))
