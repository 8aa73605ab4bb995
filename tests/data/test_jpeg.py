"""Crops against Pillow, NumPy loops and the distribution that they are drawn from."""

import io
import math

import numpy as np
import pytest
from imagenet_files import picture
from PIL import Image

from stata_jax.data.readers import jpeg

RATIO = (3 / 4, 4 / 3)


class Sequence:
    """A stand-in for a generator that returns given numbers."""

    def __init__(self, *values: float) -> None:
        self.values = iter(values)

    def uniform(self, low: float, high: float) -> float:
        return low + next(self.values) * (high - low)

    def integers(self, low: int, high: int, *, endpoint: bool) -> int:
        assert endpoint
        return low + int(next(self.values) * (high - low))


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG")])
def test_every_kind_of_picture_becomes_rgb(mode, kind):
    contents = picture(3, mode=mode, kind=kind)
    image = jpeg.decode(contents)
    assert (image.mode, image.size) == ("RGB", (60, 45))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(contents)).convert("RGB")))
    jpeg.check(contents)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_picture_cut_short_is_noticed(kind, share):
    contents = picture(3, kind=kind, width=300, height=200)
    for look in (jpeg.check, jpeg.decode):
        with pytest.raises((OSError, SyntaxError)):
            look(contents[: int(share * len(contents))])


def test_the_box_follows_from_area_shape_and_place():
    # area 0.08 + 0.5 (1 - 0.08) = 0.54 of 100 x 80, ratio 1: sqrt(4320) = 65.7; the rooms are 34 and 14
    box = jpeg.random_crop_box(Sequence(0.5, 0.5, 0.5, 1.0), 100, 80, scale=(0.08, 1), ratio=RATIO)
    assert box == (17, 14, 83, 80)
    # the first box is 134 wide and does not fit; the second has ratio 3/4 and area 0.25
    draws = Sequence(1.0, 1.0, 0.25, 0.0, 0.0, 0.0)
    box = jpeg.random_crop_box(draws, 100, 134, scale=(0, 1), ratio=RATIO)
    assert box == (0, 0, 50, 67)


@pytest.mark.parametrize(
    ("size", "box"),
    [((100, 80), (0, 0, 100, 80)), ((300, 60), (110, 0, 190, 60)), ((60, 300), (0, 110, 60, 190))],
)
def test_where_no_box_fits_the_largest_one_in_the_middle_is_taken(size, box):
    draws = Sequence(*[1.0, 1.0] * 10) if size[0] < size[1] * 2 else Sequence(*[1.0, 0.5] * 10)
    assert jpeg.random_crop_box(draws, *size, scale=(0.5, 1.0), ratio=RATIO) == box


def test_a_single_pixel_is_its_own_crop():
    random = np.random.default_rng(0)
    boxes = {jpeg.random_crop_box(random, 1, 1, scale=(0.08, 1), ratio=RATIO) for _ in range(100)}
    assert boxes == {(0, 0, 1, 1)}


def test_boxes_lie_inside_and_are_distributed_as_asked():
    random = np.random.default_rng(0)
    boxes = [jpeg.random_crop_box(random, 400, 400, scale=(0.1, 0.4), ratio=RATIO) for _ in range(4000)]
    left, upper, right, lower = np.array(boxes, float).T
    assert min(left.min(), upper.min()) >= 0 and max(right.max(), lower.max()) <= 400
    w, h = right - left, lower - upper
    area, shape = w * h / 400**2, np.log(w / h)
    assert area.min() > 0.095 and area.max() < 0.405
    assert abs(area.mean() - 0.25) < 0.005 and abs(area.std() - 0.3 / math.sqrt(12)) < 0.003
    assert abs(shape.mean()) < 0.01 and abs(shape.std() - 2 * math.log(4 / 3) / math.sqrt(12)) < 0.005
    assert abs((left / (400 - w)).mean() - 0.5) < 0.02 and (left == 0).any() and (right == 400).any()


def test_the_random_crop_is_cut_first_and_resized_then():
    image = jpeg.decode(picture(5))
    box = jpeg.random_crop_box(np.random.default_rng(1), 60, 45, scale=(0.2, 0.5), ratio=RATIO)
    found = jpeg.random_resized_crop(image, np.random.default_rng(1), size=16, scale=(0.2, 0.5))
    left, upper, right, lower = box
    cut = Image.fromarray(np.asarray(image)[upper:lower, left:right])
    np.testing.assert_array_equal(found, np.asarray(cut.resize((16, 16), Image.Resampling.BICUBIC)))
    assert (found.shape, found.dtype) == ((16, 16, 3), np.uint8)


@pytest.mark.parametrize("size", [(100, 80), (375, 500), (500, 375), (64, 64), (90, 120), (301, 60), (60, 301), (1, 7)])
def test_crops_of_the_whole_area_are_the_whole_image_or_its_middle(size):
    """Of the published recipes. A rounded side may be a pixel short; otherwise the sides are as 3 to 4 at most."""
    random, (width, height) = np.random.default_rng(0), size
    wide, tall = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
    left, upper = (width - wide) // 2, (height - tall) // 2
    for _ in range(200):
        box = jpeg.random_crop_box(random, width, height, scale=(1.0, 1.0), ratio=RATIO)
        assert np.abs(np.subtract(box, (left, upper, left + wide, upper + tall))).max() <= 1
        assert 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height


@pytest.mark.parametrize(
    ("size", "share", "resized", "corner"),
    [
        ((500, 375), 0.875, (341, 256), (58, 16)),  # (341 - 224) / 2 = 58.5 rounds to even, as torchvision has it
        ((375, 500), 0.875, (256, 341), (16, 58)),
        ((256, 256), 0.875, (256, 256), (16, 16)),
        ((30, 90), 0.875, (256, 768), (16, 272)),
        ((500, 375), 1.0, (298, 224), (37, 0)),
        (
            (375, 500),
            0.95,
            (235, 313),
            (6, 44),
        ),  # floor(224 / 0.95) = 235; (235 - 224) / 2 = 5.5, (313 - 224) / 2 = 44.5
    ],
)
def test_the_centre_crop(size, share, resized, corner):
    image = jpeg.decode(picture(5, width=size[0], height=size[1]))
    pixels = np.asarray(image.resize(resized, Image.Resampling.BICUBIC))
    expected = pixels[corner[1] : corner[1] + 224, corner[0] : corner[0] + 224]
    np.testing.assert_array_equal(jpeg.centre_crop(image, size=224, share=share), expected)
