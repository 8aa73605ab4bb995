"""Compiling a program once, beside other work, and what the compiler says of it."""

import concurrent.futures
from collections.abc import Callable
from typing import Any

import jax

from stata_jax import speed, stopping

# For programs that run once: the same numbers from slower code, compiled in a third of the time.
_ONCE: dict[str, int] = {"xla_backend_optimization_level": 1}


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
    """Compiles a program with the options that suit training steps, see `stata_jax.speed.compiler_options`.

    Args:
      lowered: The program.
      profiled: Whether a profile of a processor shall show each operation, which costs some time.

    Returns:
      The compiled program.
    """
    options = speed.compiler_options(profiled=profiled)
    compiled = _interruptibly(lambda: lowered.compile(options))
    speed.close_holes()
    return compiled


def _interruptibly(function: Callable[[], Any]) -> Any:
    """Calls a function in a thread, and so lets signals end the wait for it: the compiler itself would not."""
    with stopping.at_once():
        executor = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        running = executor.submit(function)
        executor.shutdown(wait=False)
        return running.result()


def compile_when_called(mapped: Any) -> Callable[..., Any]:
    """`compile_program` for a jitted function whose arguments always have the same shapes, when it is first called.

    With several processes the function itself: a mapped program that is compiled ahead takes no arrays of one process.
    """
    if jax.process_count() > 1:
        called: Callable[..., Any] = mapped
        return called
    programs: list[jax.stages.Compiled] = []

    def call(*args: Any) -> Any:
        if not programs:
            programs.append(compile_program(mapped.lower(*args)))
        return programs[0](*args)

    return call


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
