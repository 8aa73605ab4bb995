"""Programs in the machine code that users run: `conftest.py` has most tests compile with less optimisation."""

import functools
import os

import jax

_OPTIONS: dict[str, int | bool] = {"xla_backend_optimization_level": 3}
if "xla_cpu_use_fusion_emitters=false" in os.environ.get("XLA_FLAGS", ""):
    _OPTIONS["xla_cpu_use_fusion_emitters"] = True

jit = functools.partial(jax.jit, compiler_options=_OPTIONS)
