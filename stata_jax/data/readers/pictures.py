"""Pictures of any format and colours that Pillow reads, as 8 bit RGB or grey.

Pillow's own conversion clips what has more than 8 bits, drops transparency and leaves pictures as the camera held them;
here they are scaled, laid on white and turned upright.
"""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

_DEEP = ("PNG", "PPM")  # of 16 bits, which Pillow may hold in 32; what other formats have in 32 bits are 32
_ORIENTATION = 0x0112  # EXIF's tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(contents: bytes, *, channels: int = 3, upright: bool = True) -> Image.Image:
    """Decodes a picture; of an animation the first frame.

    Args:
      contents: Of the file.
      channels: 3 for RGB, 1 for grey (ITU-R 601 luma of colours).
      upright: Turn and mirror the picture as its EXIF orientation says.

    Returns:
      The picture, of mode RGB or L. 16 bits become 8 as `round(v / 257)`, grey of floating point as `round(255 v)`;
      where it is transparent, white shines through.

    Raises:
      Exception: Of whatever kind Pillow raises where the picture is truncated or damaged; ValueError for whole numbers
        of 32 bits, and for floating point that is not from 0 to 1.
    """
    image = open_picture(contents)
    image.load()
    turn = _UPRIGHT.get(_orientation(image)) if upright else None
    eight_bit = _opaque(image).convert("L" if channels == 1 else "RGB")
    return eight_bit if turn is None else eight_bit.transpose(turn)


def open_picture(contents: bytes) -> Image.Image:
    """Opens a picture, which is not decoded yet.

    Raises:
      Exception: As `decode`; UnidentifiedImageError, which is an OSError, for what is no picture.
    """
    try:
        return Image.open(io.BytesIO(contents))
    except UnidentifiedImageError as error:  # which names an object of Python
        raise UnidentifiedImageError("it is no picture of a format that Pillow knows") from error


def extensions() -> frozenset[str]:
    """How the names of files end that Pillow reads, in small letters: `.jpg` and so on."""
    return frozenset(name for name, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data can raise anything, and the picture may be whole
        return 1


def _opaque(image: Image.Image) -> Image.Image:
    """The picture in 8 bits a channel without transparency, in any mode."""
    if image.mode == "I" and image.format not in _DEEP:
        raise ValueError("Pillow reads numbers of 32 bits, and nothing says which is white: save it with 8 or 16")
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bit(np.asarray(image), clear=image.info.get("transparency")))
    if not image.has_transparency_data:
        return image
    straight = image.convert("LA") if image.mode == "La" else image  # there is no way from La to RGBA
    layer = straight.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)


def _eight_bit(values: np.ndarray, *, clear: object) -> np.ndarray:
    most = 1 if values.dtype.kind == "f" else 65535
    if not (values.min() >= 0 and values.max() <= most):  # NaN is neither
        raise ValueError(f"its values go from {values.min()} to {values.max()}, not from 0 to {most}")
    scaled = np.rint(values.astype(np.float64) * (255 / most)).astype(np.uint8)
    return np.where(values == clear, np.uint8(255), scaled) if isinstance(clear, int) else scaled
