"""Cluttered digits: one whole handwritten digit among fragments of others, under pixel noise.

The digits are scikit-learn's (1797 images of 8x8 pixels, part of the package), enlarged once and kept as bytes. An
image is a pure function of a key and the number of the digit it shows, so it can be drawn anywhere and in any order.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

NUM_CLASSES = 10
_LEVELS = 16  # the brightest pixel of scikit-learn's digits
_SPLIT_SEED = 0  # of the fixed division into training and test digits


class DigitBank(NamedTuple):
    """Enlarged digits of one split, in an order in which the classes alternate.

    Attributes:
      images: `(n, size, size)` uint8, 0 is background and 255 the brightest ink.
      labels: `(n,)` int32, classes 0 to 9.
      originals: `(n,)` int32, each digit's place in scikit-learn's list.
    """

    images: jax.Array
    labels: jax.Array
    originals: jax.Array


class Scene(NamedTuple):
    """What is where in one image; positions are (row, column) of a top-left pixel, `K` is the number of fragments.

    Attributes:
      corner: `(2,)` int32, the digit's place on the canvas.
      sources: `(K,)` int32, the digit of the bank that each fragment is cut from.
      cuts: `(K, 2)` int32, where in that digit it is cut out.
      places: `(K, 2)` int32, where on the canvas it is pasted.
    """

    corner: jax.Array
    sources: jax.Array
    cuts: jax.Array
    places: jax.Array


def split_originals(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divides the original digits into training (3/4 of each class) and test (1/4), the same way every time.

    Args:
      labels: `(n,)` class of each original.

    Returns:
      Training and test originals as disjoint arrays of positions in `labels`. In both, the classes alternate, so that
      any run of consecutive entries holds about as many of each.
    """
    random = np.random.RandomState(_SPLIT_SEED)  # its stream never changes between NumPy versions
    train, test = [], []
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        cut = round(len(members) / 4)
        test.append(members[:cut])
        train.append(members[cut:])
    return _alternate(train), _alternate(test)


def _alternate(groups: list[np.ndarray]) -> np.ndarray:
    """Merges the groups so that each is spread evenly over the result."""
    position = np.concatenate([(np.arange(len(group)) + 0.5) / len(group) for group in groups])
    merged: np.ndarray = np.concatenate(groups)[np.argsort(position, kind="stable")]
    return merged


def enlarge(images: np.ndarray, size: int) -> np.ndarray:
    """Resizes digits bilinearly, with pixel centres at half integers, and turns their ink into bytes.

    Args:
      images: `(n, h, h)`, ink from 0 to 16.
      size: new height and width in pixels.

    Returns:
      `(n, size, size)` uint8, `round(255 / 16 * ink)`.
    """
    side = images.shape[-1]
    centres = np.clip((np.arange(size) + 0.5) * side / size - 0.5, 0, side - 1)
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(side)))
    enlarged: np.ndarray = np.rint(weights @ images @ weights.T * (255 / _LEVELS)).astype(np.uint8)
    return enlarged


def load_banks(size: int) -> tuple[DigitBank, DigitBank]:
    """Loads scikit-learn's digits, enlarged to `size` pixels, as a training and a test bank without a common original.

    Raises:
      ValueError: `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}: 16 doubles the original digits")
    from sklearn.datasets import load_digits  # slow to import, and only needed here

    digits = load_digits()
    images = enlarge(digits.images, size)

    def bank(originals: np.ndarray) -> DigitBank:
        return DigitBank(
            images=jnp.asarray(images[originals]),
            labels=jnp.asarray(digits.target[originals], jnp.int32),
            originals=jnp.asarray(originals, jnp.int32),
        )

    train, test = split_originals(digits.target)
    return bank(train), bank(test)


def draw_scene(
    key: jax.Array,
    index: jax.Array | int,
    *,
    num_digits: int,
    size: int,
    image_size: int,
    fragment: int,
    clutter: int,
) -> Scene:
    """Draws a scene: the digit anywhere on the canvas, fragments of other digits around it.

    Fragments may overlap each other, and the digit's box by at most a quarter of their own size in rows or in columns
    (or by the least that the canvas leaves room for), because placed freely they bury many a digit. Within that, every
    place wholly inside the canvas is equally likely.

    Args:
      key: PRNG key.
      index: the digit shown; no fragment is cut from it.
      num_digits: size of the bank.
      size: the digits' height and width in pixels.
      image_size: the canvas' height and width.
      fragment: the fragments' height and width.
      clutter: number of fragments.
    """
    bits = jax.random.bits(key, (2 + 4 * clutter,), jnp.uint32)  # one draw for all, since each is slow to compile
    corner = _below(bits[:2], image_size - size + 1)
    source_bits, place_bits, cut_bits = jnp.split(bits[2:], (clutter, 2 * clutter))
    step = 1 + _below(source_bits, max(num_digits - 1, 1))  # to every digit but `index`
    return Scene(
        corner=corner,
        sources=(jnp.asarray(index, jnp.int32) + step) % num_digits,
        cuts=_below(cut_bits.reshape(clutter, 2), size - fragment + 1),
        places=_choose_places(place_bits, corner, size=size, image_size=image_size, fragment=fragment),
    )


def _below(bits: jax.Array, limit: jax.Array | int) -> jax.Array:
    """Turns uniform uint32 bits into int32 in `0 .. limit - 1`, uniform to within `limit / 2**32`."""
    return (bits % jnp.asarray(limit, jnp.uint32)).astype(jnp.int32)


def _choose_places(bits: jax.Array, corner: jax.Array, *, size: int, image_size: int, fragment: int) -> jax.Array:
    """Chooses `(K, 2)` places for fragments that keep off the digit at `corner`, from `(K,)` random bits."""
    start = jnp.arange(image_size - fragment + 1, dtype=jnp.int32)
    # (2, P): rows, and columns, that a fragment starting there shares with the digit's box.
    shared = jnp.minimum(start + fragment, corner[:, None] + size) - jnp.maximum(start, corner[:, None])
    depth = jnp.maximum(jnp.minimum(shared[0][:, None], shared[1][None, :]), 0)
    allowed = depth <= jnp.maximum(depth.min(), fragment // 4)

    # The pick-th allowed place is where the running count of allowed places first exceeds the pick.
    count = jnp.cumsum(allowed.ravel(), dtype=jnp.int32)
    place = jnp.searchsorted(count, _below(bits, count[-1]), side="right").astype(jnp.int32)
    return jnp.stack(jnp.divmod(place, start.size), axis=-1)


def paint(bank: jax.Array, index: jax.Array | int, scene: Scene, *, image_size: int, fragment: int) -> jax.Array:
    """Paints a scene; where things overlap the brightest pixel stays, so nothing erases the digit.

    Args:
      bank: `(n, size, size)` uint8.
      index: the digit shown.
      scene: from `draw_scene`.
      image_size: the canvas' height and width in pixels.
      fragment: the fragments' height and width.

    Returns:
      `(image_size, image_size)` uint8.
    """
    canvas = jnp.zeros((image_size, image_size), jnp.uint8)
    canvas = jax.lax.dynamic_update_slice(canvas, bank[index], (scene.corner[0], scene.corner[1]))

    # Writing slices in a loop is the fastest form on a CPU: 0.1 ms for 128 images of 8 fragments, against 0.5 ms for
    # gathering all fragments on canvases of their own and reducing over them.
    def add(canvas: jax.Array, fragment_at: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        source, cut, place = fragment_at
        pixels = jax.lax.dynamic_slice(bank, (source, cut[0], cut[1]), (1, fragment, fragment))[0]
        below = jax.lax.dynamic_slice(canvas, (place[0], place[1]), (fragment, fragment))
        return jax.lax.dynamic_update_slice(canvas, jnp.maximum(below, pixels), (place[0], place[1])), None

    return jax.lax.scan(add, canvas, (scene.sources, scene.cuts, scene.places))[0]


def cluttered_digit(
    key: jax.Array,
    bank: jax.Array,
    labels: jax.Array,
    index: jax.Array | int,
    *,
    image_size: int,
    fragment: int,
    clutter: int,
    noise: float,
) -> dict[str, jax.Array]:
    """Draws one image: `clip(max(digit, fragments) / 255 + noise * normal, 0, 1)`.

    The scene does not depend on `noise`: the same key draws the same scene with and without it.

    Args:
      key: PRNG key.
      bank: `(n, size, size)` uint8, the digits to show and to cut fragments from.
      labels: `(n,)` int32.
      index: the digit to show, `0 <= index < n`.
      image_size: `H = W`, the canvas' height and width in pixels.
      fragment: the fragments' height and width in pixels, at most `size`.
      clutter: number of fragments, static; 0 for none.
      noise: standard deviation of the pixel noise, static; 0 for none.

    Returns:
      `image` `(H, W, 1)` float32 in [0, 1]; `label` int32; `corner` `(2,)` int32, the row and column of the digit's
      top-left pixel.

    Raises:
      ValueError: shapes or sizes that do not fit each other.
    """
    _check(bank, labels, image_size=image_size, fragment=fragment, clutter=clutter, noise=noise)
    scene_key, noise_key = jax.random.split(key)
    num_digits, size, _ = bank.shape
    scene = draw_scene(
        scene_key,
        index,
        num_digits=num_digits,
        size=size,
        image_size=image_size,
        fragment=fragment,
        clutter=clutter,
    )
    image = paint(bank, index, scene, image_size=image_size, fragment=fragment).astype(jnp.float32) / 255
    if noise:
        image = image + noise * jax.random.normal(noise_key, image.shape, jnp.float32)
    return {"image": jnp.clip(image, 0, 1)[..., None], "label": labels[index], "corner": scene.corner}


def _check(bank: jax.Array, labels: jax.Array, *, image_size: int, fragment: int, clutter: int, noise: float) -> None:
    if bank.ndim != 3 or bank.shape[1] != bank.shape[2] or bank.dtype != jnp.uint8:
        raise ValueError(f"bank must be (n, size, size) uint8, got {bank.shape} {bank.dtype}: see load_banks")
    if labels.shape != bank.shape[:1]:
        raise ValueError(f"labels must be ({bank.shape[0]},), one per digit of the bank, got {labels.shape}")
    if bank.shape[1] > image_size:
        raise ValueError(f"digits of {bank.shape[1]} pixels do not fit image_size {image_size}: enlarge the image")
    if not 1 <= fragment <= bank.shape[1]:
        raise ValueError(f"fragment must be 1 to {bank.shape[1]} pixels, the digits' size, got {fragment}")
    if clutter < 0 or (clutter and bank.shape[0] < 2):
        raise ValueError(f"clutter must be 0 or more, and 0 with a single digit in the bank, got {clutter}")
    if not 0 <= noise < float("inf"):
        raise ValueError(f"noise must be 0 or more and finite, got {noise}: it is a standard deviation")
