"""Contact sheets: where each picture lies, the colours of events, and the file."""

import numpy as np
import pytest
from matplotlib import image as mpl_image

from stata_jax.tools.sheets import contact_sheet, event_picture, frame_pictures, mosaic, spread


def test_images_lie_in_pairs_of_rows():
    rng = np.random.default_rng(0)
    before, after = rng.random((11, 4, 5, 3)), rng.random((11, 4, 5, 3))
    sheet = mosaic(before, after)
    assert sheet.shape == (4 * 4 + 2 * 2 + 6, 8 * 5 + 7 * 2, 3)
    for index in range(16):
        pair, column = divmod(index, 8)
        for row, batch in enumerate((before, after)):
            top, left = pair * (2 * 4 + 2 + 6) + row * (4 + 2), column * (5 + 2)
            expected = batch[index] if index < 11 else np.full((4, 5, 3), 0.85)
            np.testing.assert_array_equal(sheet[top : top + 4, left : left + 5], expected)
    assert np.all(sheet[4:6] == 0.85) and np.all(sheet[:, 5:7] == 0.85)


def test_bytes_grey_and_out_of_range_images():
    before = np.full((1, 2, 2, 1), 51, np.uint8)
    after = np.array([1.7, -0.4, 0.25, 1.0]).reshape(1, 2, 2, 1)
    sheet = mosaic(before, after)
    np.testing.assert_allclose(sheet[:2], 0.2)
    np.testing.assert_allclose(sheet[4:, :, 0], [[1, 0], [0.25, 1]])
    assert mosaic(np.zeros((1, 2, 2, 4)), np.zeros((1, 2, 2, 4))).shape == (6, 2, 3)


def test_colours_of_events():
    red, green, blue = np.moveaxis(event_picture(np.array([[0, 0], [0, 4], [4, 0], [9, 9], [0, 1]]), top=4.0), -1, 0)
    np.testing.assert_allclose(red, [1, 1, 0, 0, 1])
    np.testing.assert_allclose(green, [1, 0, 0, 0, 0.75])
    np.testing.assert_allclose(blue, [1, 0, 1, 0, 0.75])


def test_frames_of_recordings_have_one_scale():
    """Counts 1, 1 and 4 with mean 2, so that 4 has the full colour."""
    recordings = np.zeros((2, 3, 2, 2, 2), np.uint8)
    recordings[0, 0, 0, 0, 1] = recordings[1, 2, 1, 1, 1] = 1
    recordings[1, 1, 0, 1, 0] = 4
    pictures = frame_pictures(recordings)
    assert pictures.shape == (2, 3, 2, 2, 3)
    np.testing.assert_allclose(pictures[0, 0, 0, 0], [1, 0.75, 0.75])
    np.testing.assert_allclose(pictures[1, 2, 1, 1], [1, 0.75, 0.75])
    np.testing.assert_allclose(pictures[1, 1, 0, 1], [0, 0, 1])
    assert np.all(pictures != 1, axis=-1).sum() == 0 and np.any(pictures != 1, axis=-1).sum() == 3
    np.testing.assert_array_equal(frame_pictures(np.zeros_like(recordings)), 1)


@pytest.mark.parametrize(
    ("timesteps", "most", "expected"), [(3, 8, [0, 1, 2]), (16, 4, [0, 5, 10, 15]), (9, 4, [0, 3, 5, 8]), (1, 4, [0])]
)
def test_timesteps_to_show(timesteps, most, expected):
    assert spread(timesteps, most=most).tolist() == expected


def test_recordings_have_a_pair_of_rows_each():
    before = np.zeros((2, 15, 3, 3, 2), np.uint8)
    before[1, 14, 0, 0, 1] = 200
    after = before[:, ::-1].astype(np.float32)
    sheet = mosaic(before, after)
    assert sheet.shape == (4 * 3 + 2 * 2 + 6, 8 * 3 + 7 * 2, 3)
    marked = {tuple(place) for place in np.argwhere(np.any((sheet != 1) & (sheet != 0.85), axis=-1))}
    assert marked == {(14, 35), (19, 0)}  # the last of eight timesteps, and the first of the row below
    np.testing.assert_allclose(sheet[14, 35], [1, 0.5, 0.5])
    assert mosaic(before[:, :3], after[:, :3]).shape[1] == 3 * 3 + 2 * 2


def test_a_file_is_written(tmp_path):
    path = tmp_path / "new" / "sheet.png"
    contact_sheet(np.zeros((2, 8, 8, 3), np.uint8), np.ones((2, 8, 8, 3)), path, title="Before and after")
    picture = mpl_image.imread(path)[..., :3]
    assert picture.shape[1] == 1500
    black = np.all(picture < 0.1, axis=-1)
    # Two black images of 8x8 in a sheet of 18x18 pixels, each 83 dots wide.
    assert black[200:].sum() == pytest.approx(2 * (8 * 1500 / 18) ** 2, rel=0.35)
    assert black[60:600, 20:600].mean() > 0.99 and not black[900:].any()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (np.zeros((1, 2, 2, 3)), np.zeros((1, 2, 3, 3)), "one shape, got"),
        (np.zeros((0, 2, 2, 3)), np.zeros((0, 2, 2, 3)), r"got \(0, 2, 2, 3\)"),
        (np.zeros((1, 2, 2, 2, 3)), np.zeros((1, 2, 2, 2, 3)), r"recordings \(B, T, H, W, 2\), got"),
    ],
)
def test_bad_batches(before, after, message):
    with pytest.raises(ValueError, match=message):
        mosaic(before, after)
