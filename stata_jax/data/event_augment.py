"""Augmentation of event recordings: a mirror image and one of roll, rotate, cutout and shear.

One draw serves all timesteps and both polarities of a recording, or its motion would be torn. Spikformer's recipe for
CIFAR10-DVS (Zhou et al., 2023, arXiv:2209.15425), after NDA (Li et al., 2022, arXiv:2203.06145): mirrored with
probability 1/2, then one of the four, equally likely. Ranges are those of Spikformer's published code, continuous
where that has 31 values, and for roll those of NDA:

- roll: both axes by -5..5 pixels, what leaves on one side enters on the other;
- rotate: about the centre by up to 30 degrees either way;
- cutout: a square of 0.1 % to 11 % of the area is emptied;
- shear: `x + tan(a) y` about the centre, `a` up to 0.3 (17 degrees) either way.

Every one is a choice of the pixel that each pixel comes from, so counts are copied and never interpolated.
"""

import jax
import jax.numpy as jnp

from stata_jax.data import draws, warp

ROLL = 5  # pixels
ROTATE = 30.0  # degrees
CUTOUT = (0.001, 0.11)  # share of the area
SHEAR = 0.3  # radians

Source = tuple[jax.Array, jax.Array, jax.Array]  # row and column that a pixel comes from, and whether it is kept


def _grid(height: int, width: int) -> tuple[jax.Array, jax.Array]:
    rows, columns = jnp.arange(height, dtype=jnp.int32), jnp.arange(width, dtype=jnp.int32)
    return jnp.broadcast_to(rows[:, None], (height, width)), jnp.broadcast_to(columns, (height, width))


def roll_source(shift: jax.Array, *, height: int, width: int) -> Source:
    """Moves down and right by `shift` `(2,)` int32 pixels, around the borders."""
    rows, columns = _grid(height, width)
    return (rows - shift[0]) % height, (columns - shift[1]) % width, jnp.ones((height, width), bool)


def warp_source(matrix: jax.Array, *, height: int, width: int) -> Source:
    """Maps by a `(2, 3)` matrix of `data.warp`, from the nearest pixel; empty where there is none."""
    x, y, inside = warp.source_points(matrix, height=height, width=width)
    row, column = jnp.floor(y).astype(jnp.int32), jnp.floor(x).astype(jnp.int32)
    return jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1), inside


def cutout_source(corner: jax.Array, side: jax.Array, *, height: int, width: int) -> Source:
    """Empties a square: `corner` `(2,)` int32 its top row and left column, `side` int32 pixels."""
    rows, columns = _grid(height, width)
    down, right = rows - corner[0], columns - corner[1]
    return rows, columns, (down < 0) | (down >= side) | (right < 0) | (right >= side)


def draw_source(uniform: jax.Array, *, height: int, width: int) -> Source:
    """Draws the augmentation of one recording, see above.

    Args:
      uniform: `(9,)` uniform random numbers in [0, 1).
      height: of the frames.
      width: of the frames.

    Returns:
      Row and column that each pixel comes from, `(H, W)` int32, and whether it is kept, `(H, W)` bool.
    """
    size = {"height": height, "width": width}
    shift = draws.whole(uniform[2:4], 2 * ROLL + 1) - ROLL
    degrees = draws.between(uniform[4], -ROTATE, ROTATE)
    slope = jnp.tan(draws.between(uniform[5], -SHEAR, SHEAR))
    side = jnp.round(jnp.sqrt(height * width * draws.between(uniform[6], *CUTOUT))).astype(jnp.int32)
    room = jnp.maximum(jnp.array([height, width], jnp.int32) - side, 0)
    sources = (
        roll_source(shift, **size),
        warp_source(warp.rotation(degrees, **size), **size),
        cutout_source(draws.whole(uniform[7:], room + 1), side, **size),
        warp_source(warp.shear_x(slope, about=height / 2), **size),
    )
    kind = draws.whole(uniform[0], len(sources))
    row, column, kept = (jnp.stack(parts)[kind] for parts in zip(*sources, strict=True))
    return row, jnp.where(uniform[1] < 0.5, width - 1 - column, column), kept  # mirrored before the other one


def gather(recording: jax.Array, source: Source) -> jax.Array:
    """Fetches each pixel from where it comes.

    Args:
      recording: `(T, H, W, 2)`, any dtype.
      source: rows, columns and kept, each `(H, W)`.

    Returns:
      As `recording`; 0 where nothing is kept.
    """
    row, column, kept = source
    timesteps, height, width, polarities = recording.shape
    pixels = recording.reshape(timesteps, height * width, polarities)
    moved = pixels.at[:, row * width + column].get(mode="promise_in_bounds")
    return jnp.where(kept[..., None], moved, jnp.zeros_like(moved))


def augment_events(key: jax.Array, recordings: jax.Array) -> jax.Array:
    """Mirrors and rolls, rotates, cuts or shears each recording of a batch by its own draw.

    Args:
      key: PRNG key.
      recordings: `(B, T, H, W, 2)` counts, any dtype.

    Returns:
      As `recordings`.

    Raises:
      ValueError: not five dimensions.
    """
    if recordings.ndim != 5:
        raise ValueError(f"augment.events needs recordings (B, T, H, W, 2), got {recordings.shape}: turn it off")
    batch, _, height, width, _ = recordings.shape

    def one(uniform: jax.Array, recording: jax.Array) -> jax.Array:
        return gather(recording, draw_source(uniform, height=height, width=width))

    return jax.vmap(one)(jax.random.uniform(key, (batch, 9)), recordings)
