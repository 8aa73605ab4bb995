"""The one door to `stata_jax.kernels`: faster operations and a tuned process, or plain ones where that is not there.

Two environment variables turn it off: `STATA_KERNELS=plain` leaves the operations of `stata_jax.ops` as they are, and
`STATA_TUNE=0` leaves the process as it is.
"""

import dataclasses
import importlib.util
import os
from typing import TYPE_CHECKING, Any

from stata_jax.config.rules import KERNEL_CHOICE
from stata_jax.errors import ConfigError

if TYPE_CHECKING:
    from stata_jax.ops.operations import Operations

PLAIN = "plain"


def has_kernels() -> bool:
    """Whether `stata_jax.kernels` is installed."""
    return importlib.util.find_spec("stata_jax.kernels") is not None


def operations(kernels: str = "auto", *, in_bytes: bool = True, remat: bool = False) -> "Operations":
    """The operations of a network.

    Args:
      kernels: `auto` for those that suit what JAX works on, `cpu`, `gpu`, or `plain`; `auto-max_pool-attention` for
        all but those two fields of `Operations`, which stay plain. The environment variable `STATA_KERNELS` goes
        before it.
      in_bytes: Whether kernels keep spikes as uint8 residuals.
      remat: Whether, with uint8 residuals as well, they rematerialise cheap matmuls.

    Returns:
      One hashable value, equal for equal choices.

    Raises:
      ConfigError: For an unknown choice, or for `cpu` and `gpu` where there are no kernels.
    """
    from stata_jax.ops import operations as plain

    kernels = os.environ.get("STATA_KERNELS") or kernels
    if not KERNEL_CHOICE.is_possible(kernels):
        raise ConfigError(f"STATA_KERNELS or train.kernels is {kernels!r}, but it {KERNEL_CHOICE.possible}")
    target, *left_out = kernels.split("-")
    if target == PLAIN or (target == "auto" and not has_kernels()):
        return plain.PLAIN
    if not has_kernels():
        raise ConfigError(f"there are no kernels for {target}: stata_jax.kernels is not installed")
    from stata_jax.kernels.operations import operations as chosen

    return dataclasses.replace(
        chosen(target, in_bytes=in_bytes, remat=remat), **{name: getattr(plain.PLAIN, name) for name in left_out}
    )


def _tunes() -> bool:
    return os.environ.get("STATA_TUNE") != "0" and has_kernels()


def keep_memory() -> None:
    """Has a command's process keep the memory that it gets; for before JAX is imported."""
    if _tunes():
        from stata_jax.kernels import memory

        memory.keep_memory()


def tune() -> None:
    """Tunes a command's process before its first array: compiled programs and memory are kept from here on."""
    if _tunes():
        from stata_jax.kernels import process

        process.tune()


def split_processor(count: int, *, threads: int = 0) -> None:
    """Has JAX see the processor as several devices, where a command may still decide it; see `check_split`."""
    if has_kernels():
        from stata_jax.kernels import cores

        cores.split_processor(count, threads=threads)


def check_split(count: int, *, threads: int = 0) -> None:
    """Raises ConfigError where JAX sees the processor as another number of devices than was asked for."""
    if has_kernels():
        from stata_jax.kernels import cores

        cores.check_split(count, threads=threads)
    elif count > 1:
        raise ConfigError(f"train.cpu_devices is {count}, but without stata_jax.kernels it can only be 1")


def compiler_options(*, profiled: bool = False) -> dict[str, Any] | None:
    """Options for a training step, of this program alone and not of the process; None for the compiler's own."""
    if not _tunes():
        return None
    from stata_jax.kernels import process

    return process.compiler_options(profiled=profiled)


def close_holes() -> None:
    """Has a tuned process give back the memory that compiling has left behind."""
    if _tunes():
        from stata_jax.kernels import memory

        memory.close_holes()
