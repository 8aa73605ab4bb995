"""Random numbers from uniform ones in [0, 1), so that an operation needs one draw for all its choices.

Each draw is a program of its own to compile; one for a whole batch is also faster than one for each image.
"""

import jax
import jax.numpy as jnp
import numpy as np

_ORDER = np.uint32(2**32 - 1)  # folded in for the order of an epoch; no image has this index


def whole(uniform: jax.Array, count: jax.Array | int) -> jax.Array:
    """Equally likely whole numbers `0 .. count - 1`, by broadcasting, as int32; `count` is far below 2^23."""
    return jnp.floor(uniform * jnp.asarray(count, jnp.float32)).astype(jnp.int32)


def between(uniform: jax.Array, low: float, high: float) -> jax.Array:
    """Uniform numbers from `low` to `high`."""
    return low + uniform * (high - low)


def epoch_order(key: jax.Array, examples: int) -> jax.Array:
    """The order in which an epoch shows its images: a permutation of `0 .. examples - 1`, `(examples,)` int32."""
    return jax.random.permutation(jax.random.fold_in(key, _ORDER), jnp.arange(examples, dtype=jnp.int32))
