"""Compiling once: the persistent cache, and what the compiler says of a step."""

import pathlib

import jax


def use_cache() -> None:
    """Keeps compiled programs in `~/.cache/stata_jax`, unless JAX has been told another folder."""
    if jax.config.values["jax_compilation_cache_dir"] is None:
        folder = pathlib.Path.home() / ".cache" / "stata_jax"
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


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
