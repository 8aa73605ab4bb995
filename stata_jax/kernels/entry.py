"""One entry of an array, which stands for the whole where programs shall depend on it."""

import jax


def first_entry(x: jax.Array) -> jax.Array:
    """The first entry of an array, of as many axes; none where the array is empty."""
    return jax.lax.slice(x, (0,) * x.ndim, [min(1, n) for n in x.shape])
