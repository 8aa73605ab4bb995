"""RandAugment (Cubuk et al., 2020, arXiv:1909.13719) as timm parametrises it, on 8 bit images.

timm's `rand-m9-n1-mstd0.4-inc1` is `count=1, magnitude=9, std=0.4, increasing=True`. Each of `count` times, an image
gets one of timm's fifteen operations, or of the five that Spikformer left of them for CIFAR, with probability 1/2, at a
level drawn from `N(magnitude, std^2)` and cut to 0..10. Images are moved by bicubic interpolation, as all the published
recipes ask of timm. `TranslateX` and `TranslateY` are timm's `TranslateXRel` and `TranslateYRel`.
"""

import math

import jax
import jax.numpy as jnp

from stata_jax.data import draws
from stata_jax.data.augment import colour, warp
from stata_jax.varying import alike

OPERATIONS = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "Posterize",
    "Solarize",
    "SolarizeAdd",
    "Color",
    "Contrast",
    "Brightness",
    "Sharpness",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
)
NO_OPERATION = -1
# Which operations are drawn from, by the value of `augment.randaugment_operations`.
SETS = {"fifteen": OPERATIONS, "five": ("Equalize", "Rotate", "ShearX", "TranslateX", "TranslateY")}

_TONES = ("AutoContrast", "Equalize", "Invert", "Posterize", "Solarize", "SolarizeAdd", "Contrast", "Brightness")
_WARPS = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
_MAX_LEVEL = 10.0
_PROBABILITY = 0.5  # timm's, of applying an operation that was chosen


def arguments(level: jax.Array, sign: jax.Array, *, increasing: bool) -> dict[str, jax.Array]:
    """What each operation makes of a level from 0 to 10.

    With `l = level / 10`: rotation by `±30 l` degrees, shear by `±0.3 l`, translation by `±0.45 l` of the side,
    `110 l` added below 128. For the rest it matters whether a higher level means more of it:

    | | increasing | not |
    |---|---|---|
    | Posterize, bits kept | `4 - floor(4 l)` | `floor(4 l)` |
    | Solarize, threshold | `256 - floor(256 l)` | `floor(256 l)` |
    | Color, Contrast, Brightness, Sharpness, factor | `max(0.1, 1 ± 0.9 l)` | `0.1 + 1.8 l` |

    Args:
      level: `(B,)` float32.
      sign: `(B,)` float32, 1 or -1.
      increasing: as in the table.

    Returns:
      `(B,)` float32 for each operation that takes an argument.
    """
    share = level / _MAX_LEVEL
    bits, threshold = jnp.floor(share * 4), jnp.floor(share * 256)
    factor = share * 1.8 + 0.1
    if increasing:
        bits, threshold, factor = 4 - bits, 256 - threshold, jnp.maximum(0.1, 1 + sign * share * 0.9)
    return {
        "Rotate": sign * share * 30,
        "Posterize": bits,
        "Solarize": threshold,
        "SolarizeAdd": jnp.floor(share * 110),
        **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), factor),
        **dict.fromkeys(("ShearX", "ShearY"), sign * share * 0.3),
        **dict.fromkeys(("TranslateX", "TranslateY"), sign * share * 0.45),
    }


def _choose(operation: jax.Array, choices: dict[str, jax.Array], default: jax.Array) -> jax.Array:
    """For each image the array that its operation names, or the default; arrays `(B, ...)` or to be broadcast."""
    for name, array in choices.items():
        chosen = (operation == OPERATIONS.index(name)).reshape(-1, *(1,) * (default.ndim - 1))
        default = jnp.where(chosen, array, default)
    return default


def apply_operation(
    images: jax.Array,
    operation: jax.Array,
    argument: jax.Array,
    *,
    fill: tuple[int, ...],
    possible: tuple[str, ...] = OPERATIONS,
) -> jax.Array:
    """Applies to each image its own operation.

    What any image needs is computed for all of them, which is little work: eight are tables, five the same gather.

    Args:
      images: `(B, H, W, C)` uint8. What is not RGB has no colour to change, and its brightness is the mean value.
      operation: `(B,)` int32, index into `OPERATIONS`, or `NO_OPERATION`.
      argument: `(B,)` float32, as `arguments` gives it; whatever where the operation takes none.
      fill: the colour from outside the image, 0 to 255, one for each channel or one for all.
      possible: names of the operations that `operation` may have, static; an image with another one is not changed.

    Returns:
      `(B, H, W, C)` uint8.

    Raises:
      ValueError: images that are not uint8 `(B, H, W, C)`, or another number of fill values.
    """
    if images.ndim != 4 or images.dtype != jnp.uint8:
        raise ValueError(f"images must be uint8 (B, H, W, C), got {images.dtype} {images.shape}")
    batch, height, width, channels = images.shape
    if len(fill) not in (1, channels):
        raise ValueError(f"fill must have 1 or {channels} values, one for each channel, got {fill}")
    identity = (
        jnp.broadcast_to(jnp.arange(256, dtype=jnp.int32), (batch, channels, 256)),
        jnp.broadcast_to(warp.translation(0.0, 0.0), (batch, 2, 3)),
    )
    identity, images, operation, argument = alike(identity, images, operation, argument)
    # The condition also keeps XLA from making a table or a map anew for every pixel that is read through it.
    tables, matrices = jax.lax.cond(
        jnp.any(operation != NO_OPERATION),
        lambda: (
            _choose(operation, _only(possible, _tables(images, argument)), identity[0]),
            _choose(operation, _only(possible, _maps(argument, height=height, width=width)), identity[1]),
        ),
        lambda: identity,
    )
    changed = images
    # One choice for all operations with a table and one for all that move pixels: each costs a pass over the images.
    # The conditions keep XLA from fusing one kind's loop into another's, which takes twice the time on a processor.
    for names, make in (
        (_TONES, lambda: colour.look_up(images, tables)),
        (_WARPS, lambda: warp.bicubic(images, matrices, fill=jnp.asarray(fill, jnp.uint8))),
        (("Color",), lambda: colour.saturate(images, argument)),
        (("Sharpness",), lambda: colour.sharpen(images, argument)),
    ):
        indices = jnp.array([OPERATIONS.index(name) for name in names if name in possible], jnp.int32)
        if indices.size:
            chosen = jnp.any(operation[:, None] == indices, axis=1)
            made = jax.lax.cond(jnp.any(chosen), make, lambda: images)
            changed = jnp.where(chosen[:, None, None, None], made, changed)
    return changed


def _only(possible: tuple[str, ...], arrays: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {name: array for name, array in arrays.items() if name in possible}


def _tables(images: jax.Array, argument: jax.Array) -> dict[str, jax.Array]:
    """The tables of the operations that have one, `(B, C or 1, 256)`."""
    counts, whole = colour.histogram(images), argument[:, None].astype(jnp.int32)
    mean = colour.mean_brightness(images)[:, None]
    return {
        "AutoContrast": colour.auto_contrast_table(counts),
        "Equalize": colour.equalize_table(counts),
        "Invert": colour.invert_table(),
        "Posterize": colour.posterize_table(jnp.clip(whole, 0, 8)),
        "Solarize": colour.solarize_table(whole),
        "SolarizeAdd": colour.solarize_add_table(whole),
        "Contrast": colour.contrast_table(mean, argument[:, None]),
        "Brightness": colour.brightness_table(argument[:, None]),
    }


def _maps(argument: jax.Array, *, height: int, width: int) -> dict[str, jax.Array]:
    """The matrices of the operations that move pixels, `(B, 2, 3)`."""
    return {
        "Rotate": warp.rotation(argument, height=height, width=width),
        "ShearX": warp.shear_x(argument),
        "ShearY": warp.shear_y(argument),
        "TranslateX": warp.translation(argument * width, 0.0),
        "TranslateY": warp.translation(0.0, argument * height),
    }


def rand_augment(
    key: jax.Array,
    images: jax.Array,
    *,
    count: int,
    magnitude: float,
    std: float,
    increasing: bool,
    operations: str = "fifteen",
    fill: tuple[int, ...] = (128,),
) -> jax.Array:
    """Applies random operations to each image.

    Args:
      key: PRNG key.
      images: `(B, H, W, C)` uint8.
      count: operations drawn for an image, with repetition; 0 returns the images unchanged.
      magnitude: mean level, 0 to 10.
      std: standard deviation of the level.
      increasing: whether a higher level changes an image more in every operation, see `arguments`.
      operations: which are drawn from, a key of `SETS`.
      fill: see `apply_operation`; timm takes the mean colour of the data set, or 128.

    Returns:
      `(B, H, W, C)` uint8.

    Raises:
      ValueError: a negative count, a magnitude outside 0..10, a std that is negative or not finite, or an unknown set.
    """
    if count < 0:
        raise ValueError(f"augment.randaugment_count must be 0 or more, got {count}: 0 turns RandAugment off")
    if not 0 <= magnitude <= _MAX_LEVEL:
        raise ValueError(f"augment.randaugment_magnitude must be from 0 to 10, got {magnitude}")
    if not 0 <= std < math.inf:
        raise ValueError(f"augment.randaugment_std must be 0 or more and finite, got {std}")
    if operations not in SETS:
        raise ValueError(f"augment.randaugment_operations must be one of {', '.join(SETS)}, got {operations!r}")
    shape, possible = images.shape[:1], SETS[operations]
    places = jnp.array([OPERATIONS.index(name) for name in possible], jnp.int32)
    for layer_key in jax.random.split(key, count) if count else ():
        choice_key, level_key = jax.random.split(layer_key)
        chosen, applied, negated = jax.random.uniform(choice_key, (3, *shape))
        operation = places[draws.whole(chosen, len(possible))]
        level = jnp.clip(magnitude + std * jax.random.normal(level_key, shape, jnp.float32), 0, _MAX_LEVEL)
        sign = jnp.where(negated < 0.5, -1.0, 1.0)
        argument = _choose(operation, arguments(level, sign, increasing=increasing), jnp.zeros(shape, jnp.float32))
        operation = jnp.where(applied < _PROBABILITY, operation, NO_OPERATION)
        images = apply_operation(images, operation, argument, fill=fill, possible=possible)
    return images
