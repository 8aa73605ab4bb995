"""The initial weights of the published models, which are those of torch and timm."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Initializer = Callable[..., jax.Array]

# torch's default for convolutions: uniform within +-1/sqrt(fan_in).
torch_uniform: Initializer = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# timm's truncated normal cuts at +-2, a hundred standard deviations away, so it is a plain normal.
normal_002: Initializer = nn.initializers.normal(0.02)


def torch_bias(fan_in: int) -> Initializer:
    """Default of torch for the bias of a layer: uniform within +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
