"""Token-sparse spiking vision transformers in JAX: STATA (ICML 2024)."""

__version__ = "0.1.0"
