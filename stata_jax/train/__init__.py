"""Training: the loop, the step, losses, the optimiser, the state and its checkpoints.

    from stata_jax.train import train

    summary = train(settings, "runs/mine")

The name is looked up when it is first used, so that the commands check their flags before JAX is imported.
"""

from typing import Any

__all__ = ["train"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from stata_jax.train import loop

        return getattr(loop, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
