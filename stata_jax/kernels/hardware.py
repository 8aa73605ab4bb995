"""One of two forms of the same computation: for processors, and for all other hardware."""

from collections.abc import Callable
from typing import Any

import jax


def by_hardware(*arrays: jax.Array, cpu: Callable[..., Any], default: Callable[..., Any]) -> Any:
    """Applies the form that suits the hardware on which JAX works.

    Unlike `jax.lax.platform_dependent`, which leaves the choice to the compiler, it never traces the other form: that
    would be a fifth of the time in which a model is traced and lowered. A program that is traced here for other
    hardware is right, but in the wrong form.

    Args:
      *arrays: What the form takes.
      cpu: The form for processors.
      default: The form for anything else.

    Returns:
      What the form returns.
    """
    return (cpu if platform() == "cpu" else default)(*arrays)


def platform() -> str:
    """What JAX works on here: `jax.default_device` where it is set, or else the default backend."""
    device = jax.config.values["jax_default_device"]
    if device is None:
        return jax.default_backend()
    return device if isinstance(device, str) else str(device.platform)
