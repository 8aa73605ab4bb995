"""Programs in the machine code that users run: `conftest.py` has most tests compile with less optimisation."""

import functools

import jax

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 3})
