"""Augmentation of event recordings: a mirror image, then one of six operations.

One draw serves all timesteps and both polarities of a recording, or its motion would be torn. The recipe of Spikformer
and Spikingformer for CIFAR10-DVS and DVS128 Gesture (Zhou et al., 2023, arXiv:2209.15425), in the manner of
TrivialAugment (Mueller and Hutter, 2021, arXiv:2103.10158): mirrored with probability 1/2, then one of the six, equally
likely, with one of 31 magnitudes, equally likely and evenly spaced:

- identity: nothing;
- shear x: `x + tan(a) y` about the centre, `a` from -0.3 to 0.3 (17 degrees either way);
- translate x, translate y: -5 to 5 pixels, in whole ones towards 0, so that 0 has 5 of the 31 and 5 has one;
- rotate: about the centre, by -30 to 30 degrees;
- cutout: a square at a uniform place is emptied, with a side of 1 to 30 pixels, in whole ones rounded down. That is the
  published list of magnitudes. The published program draws from it and then uses another square, whose share of the
  area is uniform from 0.1 % to 11 % (sides of 4 to 42 of 128 pixels): `cutout="area"`.

What comes from outside is empty. Every one is a choice of the pixel that each pixel comes from, the nearest, so counts
are copied and never interpolated.
"""

import jax
import jax.numpy as jnp

from stata_jax.data import draws
from stata_jax.data.augment import warp
from stata_jax.registries import CUTOUTS

OPERATIONS = ("identity", "shear_x", "translate_x", "translate_y", "rotate", "cutout")
MAGNITUDES = 31
SHEAR = 0.3  # radians
TRANSLATE = 5  # pixels
ROTATE = 30.0  # degrees
SIDE = (1, 30)  # pixels, of a cutout
AREA = (0.001, 0.11)  # of the frame, of a cutout

Source = tuple[jax.Array, jax.Array, jax.Array]  # row and column that a pixel comes from, and whether it is kept


def warp_source(matrix: jax.Array, *, height: int, width: int) -> Source:
    """Maps by a `(2, 3)` matrix of `data.warp`, from the nearest pixel; empty where there is none."""
    x, y, inside = warp.source_points(matrix, height=height, width=width)
    row, column = jnp.floor(y).astype(jnp.int32), jnp.floor(x).astype(jnp.int32)
    return jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1), inside


def matrices(place: jax.Array, *, height: int, width: int) -> jax.Array:
    """The map of each operation.

    Args:
      place: int32 scalar, which of the 31 magnitudes.
      height: of the frames.
      width: of the frames.

    Returns:
      `(6, 2, 3)` float32, in the order of `OPERATIONS`; cutout moves nothing.
    """
    middle = MAGNITUDES // 2
    share = (place - middle) / middle
    shift = TRANSLATE * (place - middle)
    pixels = jnp.sign(shift) * (jnp.abs(shift) // middle)
    still = warp.translation(0.0, 0.0)
    return jnp.stack(
        [
            still,
            warp.shear_x(jnp.tan(SHEAR * share), about=height / 2),
            warp.translation(-pixels, 0.0),
            warp.translation(0.0, -pixels),
            warp.rotation(ROTATE * share, height=height, width=width),
            still,
        ]
    )


def cutout_side(uniform: jax.Array, *, cutout: str, height: int, width: int) -> jax.Array:
    """The side of a cutout, int32 pixels, from a uniform random number in [0, 1), see above."""
    if cutout == "side":
        least, most = SIDE
        return least + (most - least) * draws.whole(uniform, MAGNITUDES) // (MAGNITUDES - 1)
    return jnp.round(jnp.sqrt(height * width * draws.between(uniform, *AREA))).astype(jnp.int32)


def draw_source(uniform: jax.Array, *, height: int, width: int, cutout: str) -> Source:
    """Draws the augmentation of one recording, see above.

    Args:
      uniform: `(5,)` uniform random numbers in [0, 1): operation, mirror image, magnitude, and the place of a cutout.
      height: of the frames.
      width: of the frames.
      cutout: how large a cutout is, `side` or `area`.

    Returns:
      Row and column that each pixel comes from, `(H, W)` int32, and whether it is kept, `(H, W)` bool.
    """
    kind = draws.whole(uniform[0], len(OPERATIONS))
    matrix = matrices(draws.whole(uniform[2], MAGNITUDES), height=height, width=width)[kind]
    row, column, kept = warp_source(matrix, height=height, width=width)
    side = cutout_side(uniform[2], cutout=cutout, height=height, width=width)
    span = jnp.maximum(jnp.array([height, width], jnp.int32) - side, 0)
    top, left = draws.whole(uniform[3:], span + 1)
    down, right = jnp.arange(height)[:, None] - top, jnp.arange(width) - left
    square = (down >= 0) & (down < side) & (right >= 0) & (right < side)
    kept &= ~square | (kind != OPERATIONS.index("cutout"))
    return row, jnp.where(uniform[1] < 0.5, width - 1 - column, column), kept  # mirrored before the operation


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


def augment_events(key: jax.Array, recordings: jax.Array, *, cutout: str = "side") -> jax.Array:
    """Mirrors and changes each recording of a batch by its own draw.

    Args:
      key: PRNG key.
      recordings: `(B, T, H, W, 2)` counts, any dtype.
      cutout: how large a cutout is, `side` or `area`.

    Returns:
      As `recordings`.

    Raises:
      ValueError: not five dimensions, or another word for `cutout`.
    """
    if recordings.ndim != 5:
        raise ValueError(f"augment.events needs recordings (B, T, H, W, 2), got {recordings.shape}: turn it off")
    if cutout not in CUTOUTS:
        raise ValueError(f"augment.event_cutout must be {' or '.join(CUTOUTS)}, got {cutout!r}")
    batch, _, height, width, _ = recordings.shape

    def one(uniform: jax.Array, recording: jax.Array) -> jax.Array:
        return gather(recording, draw_source(uniform, height=height, width=width, cutout=cutout))

    return jax.vmap(one)(jax.random.uniform(key, (batch, 5)), recordings)
