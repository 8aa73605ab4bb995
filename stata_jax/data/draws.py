"""Random numbers from uniform ones in [0, 1), so that an operation needs one draw for all its choices.

Each draw is a program of its own to compile; one for a whole batch is also faster than one for each image.
"""

import jax
import jax.numpy as jnp


def whole(uniform: jax.Array, count: jax.Array | int) -> jax.Array:
    """Equally likely whole numbers `0 .. count - 1`, by broadcasting, as int32; `count` is far below 2^23."""
    return jnp.floor(uniform * jnp.asarray(count, jnp.float32)).astype(jnp.int32)


def between(uniform: jax.Array, low: float, high: float) -> jax.Array:
    """Uniform numbers from `low` to `high`."""
    return low + uniform * (high - low)
