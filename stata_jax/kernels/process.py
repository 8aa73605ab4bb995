"""What a command sets for its whole process, and the options with which a training step is compiled.

No library call sets anything of the process: only `tune` here and `keep_memory` of `memory` do, for commands alone.
"""

import functools
import gc
from collections.abc import Mapping
from typing import Any

import jax

from stata_jax.kernels import memory
from stata_jax.paths import cache_folder

# On a processor, operations in the order that needs the least memory. The usual order, for running many at once, holds
# on to a third more, and these programs are one long chain. Without the newer way to write fused loops a training step
# takes 4 to 10 % less time, and without the costly passes it takes as long and is compiled sooner. These go before
# the same flags of `XLA_FLAGS`.
CPU_OPTIONS: dict[str, str | bool] = {
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
    "xla_cpu_use_fusion_emitters": False,
    "xla_llvm_disable_expensive_passes": True,
}

_PROFILED: dict[str, str | bool] = {"xla_cpu_enable_xprof_traceme": True}


@functools.cache  # once a process: what becomes garbage later must be found
def tune() -> None:
    """Sets the process up for a run, before its first array.

    Memory and compiled programs are kept, these in `~/.cache/stata_jax` unless JAX has been told another folder or
    there is no home folder. The garbage collector passes over what has been imported, since tracing makes many objects
    and so it comes often.
    """
    memory.keep_memory()
    gc.collect()
    gc.freeze()
    folder = cache_folder()
    if jax.config.values["jax_compilation_cache_dir"] is None and folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def compiler_options(*, profiled: bool = False) -> dict[str, Any] | None:
    """Options for a training step, as far as this compiler has them; None on accelerators.

    Args:
      profiled: Whether a profile of a processor shall show each operation, which costs some time.

    Returns:
      For `jax.stages.Lowered.compile`.
    """
    if jax.default_backend() != "cpu":
        return None
    return known(CPU_OPTIONS | (_PROFILED if profiled else {}))


def known(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that this compiler has."""
    items = tuple(options.items())
    if _knows(items):  # as a rule: one program to compile
        return dict(items)
    return {name: value for name, value in items if _knows(((name, value),))}


@functools.cache
def _knows(options: tuple[tuple[str, Any], ...]) -> bool:
    try:
        jax.jit(lambda: 0).lower().compile(dict(options))
    except jax.errors.JaxRuntimeError as error:
        if "compile option" not in str(error):
            raise
        return False
    return True
