"""Photographs on the host: decoding, the random resized crop of training and the centre crop of testing.

As timm has them (Wightman, 2019, `timm.data.transforms`): boxes drawn as below, all resizing bicubic by Pillow, after
the crop.
"""

import math

import numpy as np
from PIL import Image

from stata_jax.data.readers import pictures

Box = tuple[int, int, int, int]  # left, upper, right, lower, as Pillow has it

_RATIO = (3 / 4, 4 / 3)  # width over height of a random crop
_ATTEMPTS = 10


def decode(contents: bytes) -> Image.Image:
    """Decodes a picture of any format and colours, JPEG in CMYK and PNG among them, to RGB.

    As the published results on ImageNet have it, whatever EXIF says of its orientation is not looked at.

    Raises:
      Exception: As `pictures.decode`.
    """
    return pictures.decode(contents, upright=False)


def check(contents: bytes) -> None:
    """Looks for damage by decoding as little as possible: a JPEG at an eighth of its size, in half the time.

    Raises:
      Exception: As `decode`. Altered bytes inside of a JPEG may go unnoticed; Pillow does not notice them either.
    """
    image = pictures.open_picture(contents)
    image.draft("L", (1, 1))
    image.load()


def random_crop_box(
    random: np.random.Generator, width: int, height: int, *, scale: tuple[float, float], ratio: tuple[float, float]
) -> Box:
    """Draws the box of a random resized crop (Szegedy et al., 2015, arXiv:1409.4842, Section 6).

    The area is `a w h` with `a` uniform in `scale`; the ratio of width to height is log-uniform in `ratio`; the
    position is uniform. After ten boxes that do not fit, the largest centred box within `ratio`. With `scale` (1, 1)
    only a box of the image's own ratio fits: it is the whole image, a rounded side aside, or where `ratio` forbids
    that, its middle.

    Args:
      random: Source of randomness.
      width: Of the image, in pixels.
      height: Of the image, in pixels.
      scale: Least and largest share of the area.
      ratio: Least and largest width over height.

    Returns:
      The box, in pixels.
    """
    for _ in range(_ATTEMPTS):
        area = width * height * random.uniform(*scale)
        shape = math.exp(random.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            left, upper = (int(random.integers(0, span, endpoint=True)) for span in (width - w, height - h))
            return left, upper, left + w, upper + h
    w = min(width, max(1, round(height * ratio[1])))
    h = min(height, max(1, round(width / ratio[0])))
    left, upper = (width - w) // 2, (height - h) // 2
    return left, upper, left + w, upper + h


def random_resized_crop(
    image: Image.Image, random: np.random.Generator, *, size: int, scale: tuple[float, float]
) -> np.ndarray:
    """Cuts out a random box and resizes it to `(size, size, 3)` uint8."""
    box = random_crop_box(random, image.width, image.height, scale=scale, ratio=_RATIO)
    return np.asarray(image.crop(box).resize((size, size), Image.Resampling.BICUBIC))


def centre_crop(image: Image.Image, *, size: int, share: float) -> np.ndarray:
    """Resizes the shorter side to `size / share`, rounded down, and cuts out the centre, `(size, size, 3)` uint8.

    Args:
      image: The picture.
      size: Height and width of the result, in pixels.
      share: What remains of the shorter side, above 0 and at most 1.

    Returns:
      The crop.
    """
    short = math.floor(size / share)
    least = min(image.width, image.height)
    width, height = (short * side // least for side in (image.width, image.height))
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    left, upper = round((width - size) / 2), round((height - size) / 2)  # halves to the even one, as torchvision
    return np.asarray(resized.crop((left, upper, left + size, upper + size)))
