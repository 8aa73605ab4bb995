"""Tests of stata_jax.tools.pictures: masks against loops, and colours counted in the PNG."""

import numpy as np
import pytest
from matplotlib import colors
from matplotlib import image as mpl_image
from matplotlib._pylab_helpers import Gcf

from stata_jax.tools.pictures import draw_beside, draw_tokens, kept_grid, veil_dropped

PANEL = 180 * 180  # pixels of a panel: 1.2 inches at 150 dots per inch
MAGENTA = (1.0, 0.0, 1.0)


def test_kept_grid_against_a_loop():
    rng = np.random.default_rng(0)
    rows, columns = 3, 5
    positions = np.stack([rng.permutation(rows * columns)[:4] for _ in range(6)]).astype(np.int32)
    kept = kept_grid(positions, grid=(rows, columns))
    assert kept.shape == (6, rows, columns) and kept.dtype == bool
    for t in range(6):
        for row in range(rows):
            for column in range(columns):
                assert kept[t, row, column] == (row * columns + column in positions[t])


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (np.zeros((2, 1)), "integers"),
        (np.zeros((2, 1, 1), int), "integers"),
        (np.array([[6]]), "from 0 to 5 on a 2x3 grid, got 6 to 6"),
        (np.array([[-1]]), "got -1 to -1"),
        (np.array([[0, 1], [2, 2]]), "different patches"),
    ],
)
def test_bad_positions(positions, message):
    with pytest.raises(ValueError, match=message):
        kept_grid(positions, grid=(2, 3))


@pytest.mark.parametrize("size", [8, 9])
def test_veil_against_a_loop(size):
    image = np.random.default_rng(1).random((size, size, 3))
    kept = np.array([[True, False], [False, True]])
    seen = veil_dropped(image, kept)
    for y in range(size):
        for x in range(size):
            whole = kept[y * 2 // size, x * 2 // size]
            assert np.array_equal(seen[y, x], image[y, x]) == whole
            if not whole:
                assert np.ptp(seen[y, x]) < 0.25 * np.ptp(image[y, x]) + 0.2  # pale


def test_dropped_patches_stand_out_from_black_grey_and_white():
    for shade in (0.0, 0.5, 1.0):
        image = np.full((2, 2, 3), shade)
        veiled = veil_dropped(image, np.array([[False]]))
        assert np.linalg.norm(veiled - image, axis=-1).min() > 0.1
        assert np.ptp(veiled[0, 0]) > 0.1  # tinted, which a grey image never is


def magenta(picture):
    return np.all(np.abs(picture - MAGENTA) < 0.02, axis=-1)


def pixels_of(path, colour, tolerance=0.02):
    picture = mpl_image.imread(path)[..., :3]
    return int(np.all(np.abs(picture - colors.to_rgb(colour)) < tolerance, axis=-1).sum())


def draw(path, *, stages=None, channels=3, **options):
    """Two magenta images, two timesteps, and one of four patches kept."""
    images = np.broadcast_to(np.array(MAGENTA)[:channels], (2, 8, 8, channels))
    if stages is None:
        stages = [(1, np.array([[[0], [1]], [[2], [3]]]))]
    options = dict(labels=np.array([3, 4]), predictions=np.array([3, 4])) | options
    draw_tokens(path, images, stages, grid=(2, 2), **options)


def test_the_panels_show_the_kept_patches(tmp_path):
    draw(tmp_path / "new" / "tokens.png")
    rows, timesteps = 2, 2
    expected = rows * PANEL * (1 + timesteps / 4)
    assert pixels_of(tmp_path / "new" / "tokens.png", MAGENTA) == pytest.approx(expected, rel=0.03)


def test_each_image_and_timestep_shows_its_own_patches(tmp_path):
    path = tmp_path / "tokens.png"
    draw(path)
    whole = magenta(mpl_image.imread(path)[..., :3])
    # Panels from the layout: columns 192 pixels apart, rows 213; the centre of quarter (y, x) of panel (row, column).
    first_row = np.flatnonzero(whole.any(axis=1))[0]
    first_column = np.flatnonzero(whole.any(axis=0))[0]
    for row in range(2):
        for t in range(2):
            for patch in range(4):
                y = first_row + 213 * row + 45 + 90 * (patch // 2)
                x = first_column + 192 * (t + 1) + 45 + 90 * (patch % 2)
                assert whole[y, x] == (patch == 2 * t + row)


def test_of_many_timesteps_four_are_shown_each_with_its_own_frame(tmp_path):
    """All patches are kept at the first and last of nine timesteps, whose frames alone are magenta."""
    shades = np.zeros((2, 9, 8, 8, 3))
    shades[:, [0, 8]] = MAGENTA
    path = tmp_path / "tokens.png"
    draw(path, stages=[(0, np.broadcast_to(np.arange(4), (9, 2, 4)))], frames=shades)
    found = magenta(mpl_image.imread(path)[..., :3])
    columns = np.flatnonzero(found.any(axis=0))
    panels = [found[:, columns[0] + 192 * i : columns[0] + 192 * i + 180].mean(axis=0).max() > 0 for i in range(5)]
    assert panels == [True, True, False, False, True]  # the image, and timesteps 0, 3, 5 and 8
    assert columns[-1] - columns[0] == pytest.approx(4 * 192 + 180, abs=3)


def test_no_stages_draws_the_images_alone(tmp_path):
    draw(tmp_path / "tokens.png", stages=[])
    assert pixels_of(tmp_path / "tokens.png", MAGENTA) == pytest.approx(2 * PANEL, rel=0.03)


def test_grey_images(tmp_path):
    draw(tmp_path / "grey.png", channels=1, stages=[])
    assert pixels_of(tmp_path / "grey.png", "white") > 2 * 0.97 * PANEL


def test_titles_are_green_where_right_and_red_where_wrong(tmp_path):
    path = tmp_path / "tokens.png"
    draw(path)
    assert pixels_of(path, "tab:green") and not pixels_of(path, "tab:red")
    draw(path, predictions=np.array([5, 5]))
    assert pixels_of(path, "tab:red") and not pixels_of(path, "tab:green")


def test_digit_outlines(tmp_path):
    path = tmp_path / "tokens.png"
    draw(path)
    assert not pixels_of(path, "gold", 0.25)
    # In the first row: a digit of 4 pixels, 90 on the screen, inside the image, then one at its top and right border.
    for corner in ((1, 3), (0, 4)):
        draw(path, stages=[], corners=np.array([corner, corner]), digit_size=4)
        picture = mpl_image.imread(path)[..., :3]
        first_row, first_column = (np.flatnonzero(np.any(magenta(picture), axis=axis))[0] for axis in (1, 0))
        gold = np.all(np.abs(picture - colors.to_rgb("gold")) < 0.25, axis=-1)[: first_row + 181]
        rows, columns = np.flatnonzero(gold.sum(axis=1) > 60), np.flatnonzero(gold.sum(axis=0) > 60)
        top, left = first_row + corner[0] * 22.5, first_column + corner[1] * 22.5
        assert (rows[0], rows[-1]) == pytest.approx((top, top + 90), abs=3)
        assert (columns[0], columns[-1]) == pytest.approx((left, left + 90), abs=3)


def gold_boxes(path, panels):
    """Top, bottom, left and right of the outline in each panel of the first row, in pixels of the image."""
    picture = mpl_image.imread(path)[..., :3]
    first_row, first_column = (np.flatnonzero(np.any(magenta(picture), axis=axis))[0] for axis in (1, 0))
    gold = np.all(np.abs(picture - colors.to_rgb("gold")) < 0.25, axis=-1)[first_row - 4 : first_row + 184]
    boxes = []
    for panel in range(panels):
        begin = first_column + 192 * panel - 4
        part = gold[:, begin : begin + 188]
        rows, columns = np.flatnonzero(part.sum(axis=1) > 40), np.flatnonzero(part.sum(axis=0) > 40)
        boxes.append([(edge - 4) / 22.5 for edge in (rows[0], rows[-1], columns[0], columns[-1])])
    return boxes


def test_a_moving_digit_is_outlined_in_each_frame(tmp_path):
    """The first panel outlines all places; a box that sticks out of the picture ends at its border."""
    path = tmp_path / "tokens.png"
    everything = np.broadcast_to(np.arange(4), (2, 2, 4))
    corners = np.array([[[1, 0], [3, 6]], [[0, 0], [0, 0]]])
    draw(path, stages=[(0, everything)], corners=corners, digit_size=4)
    expected = [(1, 7, 0, 8), (1, 5, 0, 4), (3, 7, 6, 8)]
    for box, edges in zip(gold_boxes(path, 3), expected, strict=True):
        assert box == pytest.approx(edges, abs=3 / 22.5)


def test_a_long_title_fits(tmp_path):
    path = tmp_path / "tokens.png"
    draw(path, stages=[], title="Which patches each block keeps " * 3)
    picture = mpl_image.imread(path)[..., :3]
    assert picture[:, -5:].min() == 1.0  # the margin at the right stays white


def test_no_global_figure_is_left(tmp_path):
    draw(tmp_path / "tokens.png")
    assert not Gcf.get_all_fig_managers()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(labels=np.zeros(3, int)), r"labels must have shape \(2,\), got \(3,\)"),
        (dict(predictions=np.zeros((2, 10))), "predictions must have shape"),
        (dict(corners=np.zeros((2, 2))), "give both or neither"),
        (dict(digit_size=4), "give both or neither"),
        (dict(corners=np.zeros((2, 3)), digit_size=4), r"corners must have shape \(2, 2\), got \(2, 3\)"),
        (dict(corners=np.zeros((2, 3, 2)), digit_size=4), r"corners must have shape \(2, 2, 2\), got \(2, 3, 2\)"),
        (dict(corners=np.zeros((1, 2, 2)), digit_size=4, stages=[]), r"corners must have shape \(2, 2, 2\)"),
        (dict(stages=[(5, np.zeros((2, 3, 1), int))]), r"block 5 must be \(T, 2, K\), got \(2, 3, 1\)"),
        (dict(channels=2), "C 1 or 3"),
        (dict(frames=np.zeros((2, 3, 8, 8, 3))), r"frames must have shape \(2, 2, 8, 8, 3\)"),
    ],
)
def test_bad_arguments(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "tokens.png", **options)
    assert not (tmp_path / "tokens.png").exists()


def test_networks_beside_each_other(tmp_path):
    """Below the images a row for each network; what half of the timesteps keep is half under the veil."""
    path = tmp_path / "kept.png"
    images = np.broadcast_to(np.array(MAGENTA), (2, 8, 8, 3))
    always, apart = np.array([[[0], [3]], [[0], [3]]]), np.array([[[1], [2]], [[2], [1]]])
    draw_beside(path, images, {"always": always, "apart": apart}, grid=(2, 2))
    picture = mpl_image.imread(path)[..., :3]
    whole = magenta(picture)
    first_row, first_column = (np.flatnonzero(whole.any(axis=axis))[0] for axis in (1, 0))
    veiled = veil_dropped(images[0], np.zeros((2, 2)))[0, 0]
    for row, kept in ((0, np.ones((2, 4))), (1, [[1, 0, 0, 0], [0, 0, 0, 1]]), (2, [[0, 0.5, 0.5, 0]] * 2)):
        for i, patch in np.ndindex(2, 4):
            y = first_row + 213 * row + 45 + 90 * (patch // 2)
            x = first_column + 192 * i + 45 + 90 * (patch % 2)
            share = kept[i][patch]
            np.testing.assert_allclose(picture[y, x], share * np.array(MAGENTA) + (1 - share) * veiled, atol=0.01)
