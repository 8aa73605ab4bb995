"""Changes of colour on 8 bit images, as Pillow makes them.

Where an output value depends on the input value alone, the rule is a table of 256 entries for each image and channel.
Otherwise an image is blended with a duller one of itself.
"""

import jax
import jax.numpy as jnp


def _values() -> jax.Array:
    return jnp.arange(256, dtype=jnp.int32)


def histogram(images: jax.Array) -> jax.Array:
    """Counts the values of each image and channel: `(B, H, W, C)` uint8 to `(B, C, 256)` int32."""
    batch, channels = images.shape[0], images.shape[-1]
    tables = jnp.arange(batch * channels, dtype=jnp.int32).reshape(batch, 1, 1, channels)
    places = tables * 256 + images.astype(jnp.int32)
    counts = jnp.zeros(batch * channels * 256, jnp.int32).at[places.ravel()].add(1, mode="promise_in_bounds")
    return counts.reshape(batch, channels, 256)


def look_up(images: jax.Array, tables: jax.Array) -> jax.Array:
    """Replaces each value by its entry in a table.

    Args:
      images: `(B, H, W, C)` uint8.
      tables: `(B, C, 256)` integers from 0 to 255.

    Returns:
      `(B, H, W, C)` uint8.
    """

    def one(channel: jax.Array, table: jax.Array) -> jax.Array:
        return table.at[channel.astype(jnp.int32)].get(mode="promise_in_bounds")

    over_channels = jax.vmap(one, in_axes=(-1, 0), out_axes=-1)
    return jax.vmap(over_channels)(images, tables.astype(jnp.uint8))


def auto_contrast_table(counts: jax.Array) -> jax.Array:
    """Stretches the values in use to 0..255: `floor(255 (v - low) / (high - low))`; a single value stays.

    Pillow computes this in floating point and falls 1 short at some whole numbers (0.4 % of the entries of all tables).

    Args:
      counts: `(..., 256)` histogram.

    Returns:
      `(..., 256)` int32.
    """
    values, used = _values(), counts > 0
    low = jnp.argmax(used, axis=-1, keepdims=True).astype(jnp.int32)
    high = 255 - jnp.argmax(used[..., ::-1], axis=-1, keepdims=True).astype(jnp.int32)
    stretched = (values - low) * 255 // jnp.maximum(high - low, 1)
    return jnp.where(high > low, jnp.clip(stretched, 0, 255), values)


def equalize_table(counts: jax.Array) -> jax.Array:
    """Makes all values about equally frequent: `(step // 2 + pixels below v) // step`.

    `step` is a 255th of all pixels but those of the highest value; where it is 0, the image stays.

    Args:
      counts: `(..., 256)` histogram.

    Returns:
      `(..., 256)` int32.
    """
    values = _values()
    high = 255 - jnp.argmax(counts[..., ::-1] > 0, axis=-1, keepdims=True)
    total = jnp.sum(counts, axis=-1, keepdims=True)
    step = (total - jnp.take_along_axis(counts, high, axis=-1)) // 255
    below = jnp.cumsum(counts, axis=-1) - counts
    equal = (step // 2 + below) // jnp.maximum(step, 1)
    return jnp.where(step > 0, jnp.minimum(equal, 255), values)


def invert_table() -> jax.Array:
    """`255 - v`: `(256,)` int32."""
    return 255 - _values()


def posterize_table(bits: jax.Array) -> jax.Array:
    """Keeps the highest `bits` of 8: `(...)` int32, 0 to 8, to `(..., 256)`; 0 bits make black."""
    dropped = 8 - bits[..., None]
    return (_values() >> dropped) << dropped


def solarize_table(threshold: jax.Array) -> jax.Array:
    """Inverts the values from `threshold` on: `(...)` int32 to `(..., 256)`."""
    values = _values()
    return jnp.where(values < threshold[..., None], values, 255 - values)


def solarize_add_table(amount: jax.Array) -> jax.Array:
    """Adds `amount` to the values below 128, up to 255: `(...)` int32 to `(..., 256)`."""
    values = _values()
    return jnp.where(values < 128, jnp.minimum(values + amount[..., None], 255), values)


def brightness_table(factor: jax.Array) -> jax.Array:
    """`factor * v`: `(...)` float32 to `(..., 256)` int32."""
    return blend(jnp.int32(0), _values(), factor[..., None])


def contrast_table(mean: jax.Array, factor: jax.Array) -> jax.Array:
    """`mean + factor * (v - mean)`: `(...)` int32 means and float32 factors to `(..., 256)` int32."""
    return blend(mean[..., None], _values(), factor[..., None])


def blend(dull: jax.Array, values: jax.Array, factor: jax.Array) -> jax.Array:
    """`dull + factor * (values - dull)`, cut to 0..255 and rounded down: integers to int32, by broadcasting."""
    dull, values = dull.astype(jnp.float32), values.astype(jnp.float32)
    return jnp.clip(dull + factor * (values - dull), 0, 255).astype(jnp.int32)


def grey(images: jax.Array) -> jax.Array:
    """Brightness of RGB images after ITU-R 601-2: `(B, H, W, 3)` uint8 to `(B, H, W, 1)` int32."""
    red, green, blue = jnp.split(images.astype(jnp.int32), 3, axis=-1)
    return (19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16


def mean_brightness(images: jax.Array) -> jax.Array:
    """Mean brightness of each image, rounded: `(B, H, W, C)` uint8 to `(B,)` int32.

    Without three channels it is the mean of all values.
    """
    values = grey(images) if images.shape[-1] == 3 else images.astype(jnp.int32)
    count = values[0].size
    return (2 * jnp.sum(values, axis=(1, 2, 3)) + count) // (2 * count)


def saturate(images: jax.Array, factor: jax.Array) -> jax.Array:
    """Blends each image with its grey one: 0 leaves grey, 1 the image, more is more colourful.

    Args:
      images: `(B, H, W, C)` uint8; what is not RGB comes back unchanged.
      factor: `(B,)` float32.

    Returns:
      `(B, H, W, C)` uint8.
    """
    if images.shape[-1] != 3:
        return images
    return blend(grey(images), images, factor[:, None, None, None]).astype(jnp.uint8)


def sharpen(images: jax.Array, factor: jax.Array) -> jax.Array:
    """Blends each image with a smooth one: 0 leaves it smooth, 1 is the image, more is sharper.

    The smooth image is the mean of 3x3 pixels, the middle one counted five times, rounded; its border is the image's.

    Args:
      images: `(B, H, W, C)` uint8.
      factor: `(B,)` float32.

    Returns:
      `(B, H, W, C)` uint8.
    """
    height, width = images.shape[1:3]
    values = images.astype(jnp.int32)
    padded = jnp.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)))
    total = 4 * values
    for row in range(3):
        for column in range(3):
            total += padded[:, row : row + height, column : column + width]
    rows, columns = jnp.arange(height), jnp.arange(width)
    inner = ((rows > 0) & (rows < height - 1))[:, None, None] & ((columns > 0) & (columns < width - 1))[:, None]
    smooth = jnp.where(inner, (2 * total + 13) // 26, values)
    return blend(smooth, values, factor[:, None, None, None]).astype(jnp.uint8)
