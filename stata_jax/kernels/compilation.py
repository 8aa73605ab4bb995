"""Compiling once: the persistent cache, and what the compiler says of a step."""

import concurrent.futures
import functools
import gc
from collections.abc import Callable, Mapping
from typing import Any

import jax

from stata_jax import stopping
from stata_jax.kernels.cores import split_processor
from stata_jax.kernels.memory import close_holes, keep_memory
from stata_jax.paths import cache_folder

# On a processor, operations in the order that needs the least memory. The usual order, for running many at once, holds
# on to a third more, and these programs are one long chain. Without the newer way to write fused loops a training step
# takes 4 to 10 % less time, and without the costly passes it takes as long and is compiled sooner. These go before
# the same flags of `XLA_FLAGS`.
_CPU_OPTIONS: dict[str, str | bool] = {
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
    "xla_cpu_use_fusion_emitters": False,
    "xla_llvm_disable_expensive_passes": True,
}

_PROFILED: dict[str, str | bool] = {"xla_cpu_enable_xprof_traceme": True}

# For programs that run once: the same numbers from slower code, compiled in a third of the time.
_ONCE: dict[str, str | bool | int] = {"xla_backend_optimization_level": 1}


def jit_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.jit` for a function that is called once, so that compiling it is what takes the time."""

    def call(*args: Any) -> Any:
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(args)):
            return function(*args)  # a part of another program has no options of its own
        return Once(function, *args).take()

    return call


class Once:
    """A call of a function, compiled for that alone and run in a thread: what follows goes on beside it.

    Attributes:
      shapes: The shapes and types of what the function returns.
    """

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        """Traces the function; nothing is compiled yet."""
        self._traced, self._args = jax.jit(function).trace(*args), args
        self.shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), self._traced.out_info)
        self._running: concurrent.futures.Future[Any] | None = None

    def start(self) -> concurrent.futures.Future[Any]:
        """Begins to compile it, and to run it then."""
        options = _ONCE if jax.default_backend() == "cpu" else None
        lowered = self._traced.lower()
        executor = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self._running = executor.submit(lambda: lowered.compile(options)(*self._args))
        executor.shutdown(wait=False)
        return self._running

    def settle(self) -> None:
        """Waits until it is done, if it has been started; raises what went wrong."""
        if self._running is not None:
            self._running.result()

    def take(self) -> Any:
        """What the function returned, which is not held on to; starts and waits as needed."""
        running, self._running = self._running or self.start(), None
        return running.result()


def compile_program(lowered: jax.stages.Lowered, *, profiled: bool = False) -> jax.stages.Compiled:
    """Compiles a program with the options that suit training steps, where the compiler knows them.

    On a processor the heap has no holes afterwards, see `close_holes`.

    Args:
      lowered: The program.
      profiled: Whether a profile of a processor shall show each operation, which costs some time.

    Returns:
      The compiled program.
    """
    if jax.default_backend() != "cpu":
        return _interruptibly(lowered.compile)
    options = _known(_CPU_OPTIONS | (_PROFILED if profiled else {}))
    compiled = _interruptibly(lambda: lowered.compile(options))
    close_holes()
    return compiled


def _interruptibly(function: Callable[[], Any]) -> Any:
    """Calls a function in a thread, and so lets signals end the wait for it: the compiler itself would not."""
    with stopping.at_once():
        executor = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        running = executor.submit(function)
        executor.shutdown(wait=False)
        return running.result()


def compile_when_called(mapped: Any) -> Callable[..., Any]:
    """`compile_program` for a jitted function whose arguments always have the same shapes, when it is first called."""
    programs: list[jax.stages.Compiled] = []

    def call(*args: Any) -> Any:
        if not programs:
            programs.append(compile_program(mapped.lower(*args)))
        return programs[0](*args)

    return call


def _known(options: Mapping[str, Any]) -> dict[str, Any]:
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


def prepare(*, cpu_devices: int = 1, cpu_threads: int = 0) -> None:
    """Settings of the process, before its first array: memory is kept, and compiled programs too.

    Those are kept in `~/.cache/stata_jax`, unless JAX has been told another folder or there is no home folder.

    Args:
      cpu_devices: As how many devices a processor works, where JAX has not been used yet.
      cpu_threads: With how many threads each, see `split_processor`.
    """
    keep_memory()
    _leave_imports_alone()
    split_processor(cpu_devices, threads=cpu_threads)
    folder = cache_folder()
    if jax.config.values["jax_compilation_cache_dir"] is None and folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@functools.cache  # once a process: what becomes garbage later must be found
def _leave_imports_alone() -> None:
    """Has the garbage collector pass over what has been imported; tracing makes many objects, and so it comes often."""
    gc.collect()
    gc.freeze()


def peak_bytes(compiled: jax.stages.Compiled) -> int | None:
    """Memory that a compiled program needs at once on a device: arguments, results and temporaries.

    Args:
      compiled: The program.

    Returns:
      Bytes by the compiler's own analysis, or None where the backend has none.
    """
    analysis = compiled.memory_analysis()
    if analysis is None:
        return None
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return int(held + analysis.temp_size_in_bytes)
