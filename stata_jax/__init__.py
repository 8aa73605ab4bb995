"""Token-sparse spiking vision transformers in JAX: STATA (ICML 2024).

    import stata_jax

    model = stata_jax.create_model("spikingformer_4_384", num_classes=100, keep_rate=0.2)

The name is looked up when it is first used, so that `import stata_jax` alone loads neither JAX nor Flax.
"""

from typing import Any

__version__ = "0.2.0"
__all__ = ["create_model"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from stata_jax.models import registry

        return getattr(registry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
