"""Max-pooling with a cheap gradient that gives ties to the first maximum."""

import jax
import jax.numpy as jnp


@jax.custom_vjp
def max_pool(x: jax.Array) -> jax.Array:
    """Maximum over 3x3 windows, stride 2, padding 1.

    Spikes tie in almost every window; the gradient goes to the first maximum in row-major order, as in torch. The
    backward pass keeps one byte per window, and is a few shifted sums where the compiler's own is a scatter.

    Args:
      x: Images, shape (B, H, W, C), with even H and W.

    Returns:
      Shape (B, H/2, W/2, C).

    Raises:
      ValueError: If H or W is odd.
    """
    return _pool(x)[0]


def _pool(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The maximum of each window, and which of its nine places had it first."""
    _, height, width, _ = x.shape
    if height % 2 or width % 2:
        raise ValueError(f"cannot halve images of {height}x{width} pixels")
    low = jnp.finfo(x.dtype).min
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=low)
    best = jnp.full((x.shape[0], height // 2, width // 2, x.shape[3]), low, x.dtype)
    place = jnp.zeros(best.shape, jnp.uint8)
    for i in range(9):
        row, column = divmod(i, 3)
        values = padded[:, row : row + height : 2, column : column + width : 2]
        place = jnp.where(values > best, jnp.uint8(i), place)
        best = jnp.maximum(best, values)
    return best, place


def _backward(place: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    """Adds up what each pixel receives from the windows that it lies in.

    The window of output row o covers input rows 2o - 1, 2o and 2o + 1: an even row 2o lies in the middle of one
    window, an odd row 2o + 1 in the last row of window o and in the first of window o + 1. Columns likewise.
    """
    batch, height, width, channels = gradient.shape

    def given(row: int, column: int) -> jax.Array:
        """What the windows give to this place of theirs, aligned to the pixel pair (2o, 2o + 1) that holds it."""
        chosen = jnp.where(place == 3 * row + column, gradient, jnp.zeros_like(gradient))
        # Place 0 of window o + 1 belongs to pixel pair o.
        down, right = int(row == 0), int(column == 0)
        return jnp.pad(chosen, ((0, 0), (0, down), (0, right), (0, 0)))[:, down:, right:]

    even_rows = (given(1, 1), given(1, 2) + given(1, 0))
    odd_rows = (
        given(2, 1) + given(0, 1),
        given(2, 2) + given(2, 0) + given(0, 2) + given(0, 0),
    )
    pairs = jnp.stack([jnp.stack(even_rows, axis=3), jnp.stack(odd_rows, axis=3)], axis=2)
    return (pairs.reshape(batch, 2 * height, 2 * width, channels),)


max_pool.defvjp(_pool, _backward)
