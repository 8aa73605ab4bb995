"""Pictures of every mode against NumPy."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from stata_jax.data.readers import jpeg, pictures

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(values: np.ndarray, *, colours: int, bits: int = 8, clear: bytes | None = None) -> bytes:
    """A PNG file (H, W, C) byte by byte, since Pillow writes no more than 8 bits of colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0))
    transparent = b"" if clear is None else chunk(b"tRNS", clear)
    return b"\x89PNG\r\n\x1a\n" + header + transparent + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def decoded(contents: bytes, **options) -> np.ndarray:
    return np.asarray(pictures.decode(contents, **options)).astype(int)


def in_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(grey, int)[..., None], 3, axis=-1)


SIXTEEN_BITS = {
    "PNG, I;16": lambda: saved(Image.fromarray(RAMP), "PNG"),
    "TIFF, I;16": lambda: saved(Image.fromarray(RAMP), "TIFF"),
    "TIFF, I;16B": lambda: saved(Image.fromarray(RAMP.astype(">u2")), "TIFF"),
    "PGM, I": lambda: b"P5 256 256 65535\n" + RAMP.astype(">u2").tobytes(),
    "TIFF, F": lambda: saved(Image.fromarray((RAMP / 65535).astype(np.float32)), "TIFF"),
}


@pytest.mark.parametrize("kind", SIXTEEN_BITS)
@pytest.mark.parametrize("upright", [True, False])
def test_sixteen_bits_are_scaled(kind, upright):
    contents = SIXTEEN_BITS[kind]()
    assert Image.open(io.BytesIO(contents)).mode == kind.split(", ")[1]
    expected = np.rint(RAMP / 65535 * 255).astype(int)
    np.testing.assert_array_equal(decoded(contents, channels=1, upright=upright), expected)
    np.testing.assert_array_equal(decoded(contents, upright=upright), in_rgb(expected))
    assert (expected == 255).mean() < 0.003


def test_sixteen_bits_of_colour_keep_their_upper_byte():
    values = np.random.RandomState(0).randint(0, 65536, (5, 4, 3))
    np.testing.assert_array_equal(decoded(png(values, colours=2, bits=16)), values >> 8)


@pytest.mark.parametrize("largest", [0, 255, 65535, 2**31 - 1])
def test_whole_numbers_of_32_bits_are_refused(largest):
    """Scaled as 16 bits, those up to 255 would all be black."""
    contents = saved(Image.fromarray(np.array([[0, largest, 1]], np.int32)), "TIFF")
    for decode in (pictures.decode, jpeg.decode):
        with pytest.raises(
            ValueError, match=r"^Pillow reads numbers of 32 bits, and nothing says which is white: save"
        ):
            decode(contents)


@pytest.mark.parametrize("wrong", [-0.1, 255.0, np.nan])
def test_floating_point_is_from_0_to_1(wrong):
    values = np.zeros((2, 3), np.float32)
    values[0, 0] = wrong
    with pytest.raises(ValueError, match=r"not from 0 to 1$"):
        pictures.decode(saved(Image.fromarray(values), "TIFF"))


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    colour, alpha = colour.astype(float), alpha.astype(float)[..., None] / 255
    return np.rint(alpha * colour + (1 - alpha) * 255).astype(int)


def luma(colour: np.ndarray) -> np.ndarray:
    return np.rint(colour @ [0.299, 0.587, 0.114])


def test_transparent_pictures_lie_on_white():
    random = np.random.RandomState(1)
    rgba = random.randint(0, 256, (6, 7, 4)).astype(np.uint8)
    rgba[0, :, 3], rgba[1, :, 3] = 0, 255
    expected = on_white(rgba[..., :3], rgba[..., 3])
    contents = saved(Image.fromarray(rgba), "PNG")
    np.testing.assert_array_equal(decoded(contents), expected)
    assert np.abs(decoded(contents, channels=1) - luma(expected)).max() <= 1
    grey = rgba[..., [0, 3]]
    layer = Image.merge("LA", [Image.fromarray(grey[..., i]) for i in range(2)])
    for made in (saved(layer, "PNG"), saved(layer, "TIFF")):
        np.testing.assert_array_equal(decoded(made), on_white(in_rgb(grey[..., 0]), grey[..., 1]))
        np.testing.assert_array_equal(decoded(made, channels=1), on_white(grey[..., :1], grey[..., 1])[..., 0])


def test_a_transparent_colour_is_white():
    grey = np.array([[0, 100, 200]])
    found = decoded(png(grey, colours=0, clear=struct.pack(">H", 100)), channels=1)
    np.testing.assert_array_equal(found, [[0, 255, 200]])
    colour = np.arange(9).reshape(1, 3, 3)
    found = decoded(png(colour, colours=2, clear=struct.pack(">HHH", 3, 4, 5)))
    np.testing.assert_array_equal(found, [[[0, 1, 2], [255, 255, 255], [6, 7, 8]]])
    deep = np.array([[0, 1000, 25700]])
    found = decoded(png(deep, colours=0, bits=16, clear=struct.pack(">H", 1000)), channels=1)
    np.testing.assert_array_equal(found, [[0, 255, 100]])


COLOURS = np.array([[10, 20, 30], [200, 100, 50], [0, 0, 255]])


def palette_picture() -> Image.Image:
    image = Image.new("P", (3, 1))
    image.putpalette(COLOURS.ravel().tolist())
    image.putdata([2, 0, 1])
    return image


def test_palettes_with_and_without_transparency():
    image, expected = palette_picture(), COLOURS[None, [2, 0, 1]]
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        np.testing.assert_array_equal(decoded(saved(image, kind)), expected)
    clear = expected.copy()
    clear[0, 1] = 255
    for kind in ("PNG", "GIF"):
        np.testing.assert_array_equal(decoded(saved(image, kind, transparency=0)), clear)
    half = saved(image, "PNG", transparency=bytes([0, 255, 128]))  # of each entry
    np.testing.assert_array_equal(decoded(half), on_white(expected, np.array([[128, 0, 255]])))


ALPHA = np.array([[0, 128, 255]], np.uint8)


@pytest.mark.parametrize("mode", ["PA", "La", "RGBa"])
def test_modes_that_few_files_have(mode):
    if mode == "PA":
        image, colour = palette_picture().convert("PA"), COLOURS[None, [2, 0, 1]]
        image.putalpha(Image.fromarray(ALPHA))
        assert image.mode == "PA"
    else:
        colour = np.array([[[90, 90, 90], [40, 40, 40], [255, 255, 255]]])
        layer = Image.fromarray(np.concatenate([np.uint8(colour), ALPHA[..., None]], axis=-1))
        image = layer.convert("LA").convert("La") if mode == "La" else layer.convert("RGBa")
    expected = on_white(colour, ALPHA)
    assert np.abs(np.asarray(pictures._opaque(image).convert("RGB"), int) - expected).max() <= 1  # of premultiplication


def test_black_and_white_and_grey():
    bits = np.array([[True, False, True], [False, False, True]])
    for kind in ("PNG", "TIFF", "BMP", "PPM"):
        np.testing.assert_array_equal(decoded(saved(Image.fromarray(bits), kind), channels=1), 255 * bits)
    grey = np.random.RandomState(0).randint(0, 256, (4, 5)).astype(np.uint8)
    np.testing.assert_array_equal(decoded(saved(Image.fromarray(grey), "PNG")), in_rgb(grey))
    np.testing.assert_array_equal(decoded(saved(Image.fromarray(grey), "PNG"), channels=1), grey)


def test_cmyk():
    ink = np.random.RandomState(0).randint(0, 256, (4, 5, 4)).astype(np.uint8)
    expected = np.rint((255.0 - ink[..., :3]) * (255.0 - ink[..., 3:]) / 255)
    found = decoded(saved(Image.fromarray(ink, "CMYK"), "TIFF"))
    assert np.abs(found - expected).max() <= 1


TURNED = {  # what lies in the file, from the upright picture
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: x.transpose(1, 0, 2)[::-1],  # its first row is on the right: turn it clockwise
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: x.transpose(1, 0, 2)[:, ::-1],
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", TURNED)
def test_pictures_are_turned_upright(kind, orientation):
    upright = np.random.RandomState(0).randint(0, 256, (4, 6, 3)).astype(np.uint8)
    stored = np.ascontiguousarray(TURNED[orientation](upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    contents = saved(Image.fromarray(stored), kind, exif=exif, **options)
    np.testing.assert_array_equal(decoded(contents), upright)
    if kind != "TIFF":  # which Pillow turns by itself
        np.testing.assert_array_equal(np.asarray(jpeg.decode(contents)), stored)  # ImageNet's are not


@pytest.mark.parametrize("orientation", [0, 9, 1000])
def test_a_meaningless_orientation_is_none(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.testing.assert_array_equal(decoded(saved(Image.fromarray(grey), "PNG", exif=exif), channels=1), grey)


def test_damaged_exif_data_do_not_matter():
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    contents = saved(Image.fromarray(grey), "PNG", exif=b"Exif\0\0no TIFF header at all")
    np.testing.assert_array_equal(decoded(contents, channels=1), grey)


def test_of_an_animation_the_first_frame_is_read():
    frames = [Image.new("L", (3, 2), value) for value in (10, 200)]
    contents = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decoded(contents, channels=1), np.full((2, 3), 10))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "GIF", "WEBP"])
def test_a_picture_cut_short_is_an_error(kind):
    values = np.random.RandomState(0).randint(0, 256, (60, 60, 3)).astype(np.uint8)
    contents = saved(Image.fromarray(values), kind)
    with pytest.raises((OSError, SyntaxError, ValueError)):
        pictures.decode(contents[: len(contents) // 2])


@pytest.mark.parametrize("contents", [b"", b"version https://git-lfs.github.com/spec/v1"])
def test_what_is_no_picture_is_told_as_that(contents):
    for look in (pictures.decode, jpeg.decode, jpeg.check):
        with pytest.raises(OSError, match=r"^it is no picture of a format that Pillow knows$"):
            look(contents)


def test_endings_are_those_of_formats_that_are_read():
    found = pictures.extensions()
    assert {".jpg", ".jpeg", ".png", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".pgm"} <= found
    assert not {".pdf", ".txt", ""} & found
