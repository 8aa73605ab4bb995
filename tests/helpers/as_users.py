"""Programs in the machine code that users run: `conftest.py` has most tests compile with less optimisation."""

import functools

import jax

from stata_jax.training.compilation import _CPU_OPTIONS, _known

jit = functools.partial(jax.jit, compiler_options=_known({"xla_backend_optimization_level": 3} | _CPU_OPTIONS))
