"""How well the kept tokens cover the digit, for images of which it is known where the digit lies.

That number says whether a metric finds the foreground: random tokens lie on the digit as often as all patches do.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def on_digit(corner: jax.Array, *, size: int, grid: int, patch: int) -> jax.Array:
    """Tells which patches lie on the digit: those whose centre is in its box.

      on[i * grid + j] = (y <= patch * (i + 1/2) < y + size) and (x <= patch * (j + 1/2) < x + size)

    A pixel reaches from its number to the next. The box may stick out of the picture; it is half open, so that it holds
    `(size / patch)**2` centres at any place in the picture if the patch divides it.

    Args:
      corner: Row y and column x of the box's top left pixel, whole numbers, shape (..., 2).
      size: Height and width of the box in pixels.
      grid: Patches along a side of the picture.
      patch: Height and width of a patch in pixels.

    Returns:
      Shape (..., N) bool, N = grid * grid, in row-major order.
    """
    centre = (2 * jnp.arange(grid, dtype=jnp.int32) + 1) * patch  # twice, to stay with whole numbers
    begin = 2 * corner.astype(jnp.int32)[..., None]  # (..., 2, 1)
    inside = (begin <= centre) & (centre < begin + 2 * size)  # (..., 2, grid)
    on = inside[..., 0, :, None] & inside[..., 1, None, :]
    return on.reshape(*corner.shape[:-1], grid * grid)


def shares(positions: jax.Array, on: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two shares of each image and timestep, with S the kept patches and D those on the digit.

      kept_on_digit = |S and D| / |S|,    digit_kept = |S and D| / |D|

    Args:
      positions: The patches in S, different ones, integers (T, B, K).
      on: Which patches are in D, bool (T, B, N), or (1, B, N) where they are the same at all timesteps.

    Returns:
      `kept_on_digit` and `digit_kept`, each (T, B) float32; the latter is 0 where no patch lies on the digit.
    """
    on = jnp.broadcast_to(on, (positions.shape[0], *on.shape[1:]))
    both = jnp.sum(jnp.take_along_axis(on, positions, axis=-1), axis=-1, dtype=jnp.float32)
    digit = jnp.sum(on, axis=-1, dtype=jnp.float32)
    return both / positions.shape[-1], both / jnp.maximum(digit, 1.0)


def coverage_sums(
    positions: Mapping[int, jax.Array], corner: jax.Array, mask: jax.Array, *, size: int, grid: int, patch: int
) -> dict[str, Any]:
    """Adds up the shares of every image of a batch; sums of several batches, or devices, may be added.

    The means that follow are over images: each counts once, however many of its patches lie on the digit.

    Args:
      positions: Per pruning block the kept patches, integers (T, B, K).
      corner: Where the digit is: (B, 2), or (B, T, 2) where it moves.
      mask: False where an image only pads the batch, bool (B,).
      size: See `on_digit`.
      grid: See `on_digit`.
      patch: See `on_digit`.

    Returns:
      `blocks`: by name, such as `block0`, the sums over the images of both shares, (T,) float32 each.
      `on_digit`: the sum over the images of the share of patches that lie on the digit, its mean over timesteps, ()
        float32.
      `digits`: the number of images of which any patch does, int32 (T,), or (1,) where the digit does not move.
    """
    on = on_digit(corner, size=size, grid=grid, patch=patch)
    on = on[None] if corner.ndim == 2 else on.swapaxes(0, 1)  # (T or 1, B, N)
    blocks = {}
    for block, kept in sorted(positions.items()):
        both = [jnp.sum(jnp.where(mask, share, 0.0), axis=1) for share in shares(kept, on)]
        blocks[f"block{block}"] = dict(zip(("kept_on_digit", "digit_kept"), both, strict=True))
    by_image = jnp.mean(on.astype(jnp.float32), axis=(0, 2))
    return {
        "blocks": blocks,
        "on_digit": jnp.sum(jnp.where(mask, by_image, 0.0)),
        "digits": jnp.sum(mask & jnp.any(on, axis=2), axis=1, dtype=jnp.int32),
    }


def coverage_means(sums: Mapping[str, Any], images: int) -> dict[str, Any]:
    """Turns the sums over a test set into means over its images.

    Images without a patch on the digit, which a digit smaller than a patch may have, do not count for `digit_kept`; it
    is 0 where all are such.

    Args:
      sums: What `coverage_sums` returns, added up, as NumPy arrays.
      images: How many were counted.

    Returns:
      Plain numbers: `coverage`, by block `kept_on_digit` and `digit_kept`, lists over timesteps; and `coverage_chance`,
      the share of all patches that lie on the digit, which is what random tokens have as `kept_on_digit`.
    """
    coverage = {
        block: {
            "kept_on_digit": (both["kept_on_digit"] / images).tolist(),
            "digit_kept": (both["digit_kept"] / np.maximum(sums["digits"], 1)).tolist(),
        }
        for block, both in sums["blocks"].items()
    }
    return {"coverage": coverage, "coverage_chance": float(sums["on_digit"]) / images}
