"""Pictures of which patches of an image survive each pruning block."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stata_jax.tools import figures
from stata_jax.tools.sheets import spread

_VEIL = np.array([0.36, 0.42, 0.56])  # blue-grey over dropped patches, told apart from black, white and grey images
_VEIL_WEIGHT = 0.75
_MOST = 4  # timesteps shown of each block
_RIGHT, _WRONG, _BOX = "tab:green", "tab:red", "gold"
_PANEL, _GAP, _HEAD, _EDGE = 1.2, 0.08, 0.22, 0.08  # inches: panel side, gap, space for a title, margin


def kept_grid(positions: np.ndarray, *, grid: tuple[int, int]) -> np.ndarray:
    """Marks the kept patches on the patch grid, timestep by timestep.

    Args:
      positions: Indices of the kept patches, row-major from 0 and without the anchor, integers (T, K).
      grid: Rows and columns of the patch grid.

    Returns:
      True where a patch is kept, bool (T, rows, columns).

    Raises:
      ValueError: If `positions` is not an integer (T, K) array, leaves the grid, or repeats an index in a timestep.
    """
    positions = np.asarray(positions)
    if positions.ndim != 2 or positions.dtype.kind not in "iu":
        raise ValueError(f"positions must be integers (T, K), got {positions.dtype} {positions.shape}")
    rows, columns = grid
    if np.any((positions < 0) | (positions >= rows * columns)):
        raise ValueError(
            f"positions must be from 0 to {rows * columns - 1} on a {rows}x{columns} grid, got {positions.min()} to "
            f"{positions.max()}; count without the anchor"
        )
    kept = np.zeros((len(positions), rows * columns), bool)
    np.put_along_axis(kept, positions.astype(np.int64), True, axis=1)
    if np.any(kept.sum(axis=1) != positions.shape[1]):
        raise ValueError(f"positions must name different patches within each timestep, got {positions.tolist()}")
    return kept.reshape(-1, rows, columns)


def veil_dropped(image: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Lays a blue-grey veil over the dropped patches of an image and leaves the kept ones as they are.

    Args:
      image: RGB image with values from 0 to 1, (H, W, 3).
      kept: How far a patch is kept, (rows, columns): whether it is, or the share of the timesteps that keep it.

    Returns:
      The image with the veil, (H, W, 3).
    """
    height, width = image.shape[:2]
    rows, columns = kept.shape
    # The patch of each pixel; also right where the image is no multiple of the grid.
    pixels = kept[np.ix_(np.arange(height) * rows // height, np.arange(width) * columns // width)]
    weight = _VEIL_WEIGHT * (1 - pixels[..., None])
    return (1 - weight) * image + weight * _VEIL


def draw_tokens(
    path: str | os.PathLike[str],
    images: np.ndarray,
    stages: Sequence[tuple[int, np.ndarray]],
    *,
    grid: tuple[int, int],
    labels: np.ndarray,
    predictions: np.ndarray,
    corners: np.ndarray | None = None,
    digit_size: int | None = None,
    frames: np.ndarray | None = None,
    title: str | None = None,
) -> None:
    """Writes a PNG with a row for each image and, in it, a panel for each pruning block and timestep.

    The first panel is the image under its true and predicted class, green where they agree and red where not. In the
    others dropped patches lie under a blue-grey veil; of more than four timesteps, four are shown, evenly from the
    first to the last.

    Args:
      path: The PNG to write; its folder is made where it is missing.
      images: Images with values from 0 to 1, (B, H, W, C), C = 1 or 3.
      stages: Pairs of a block's index and its kept patches, integers (T, B, K), row-major on the grid, without the
        anchor.
      grid: Rows and columns of the patch grid.
      labels: True classes, integers (B,).
      predictions: Predicted classes, integers (B,).
      corners: Row and column of the top left pixel of each digit, (B, 2), or (B, T, 2) where it moves, to outline what
        of it is in the picture; needs `digit_size`. The first panel outlines all places of a digit that moves together.
      digit_size: Height and width of a digit in pixels.
      frames: What a recording shows at each timestep, to be drawn there instead of the image, (B, T, H, W, 3).
      title: Line above the picture.

    Raises:
      ValueError: If shapes do not fit together, or if only one of `corners` and `digit_size` is given.
    """
    images = np.asarray(images, np.float64)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
        raise ValueError(f"images must be (B, H, W, C) with B at least 1 and C 1 or 3, got {images.shape}")
    count = len(images)
    _check_shape("labels", labels, (count,))
    _check_shape("predictions", predictions, (count,))
    if (corners is None) != (digit_size is None):
        raise ValueError("corners and digit_size outline a digit together: give both or neither")
    moving = corners is not None and np.ndim(corners) == 3
    if corners is not None:
        _check_shape("corners", corners, (count, np.shape(corners)[1], 2) if moving else (count, 2))
    for block, positions in stages:
        if np.ndim(positions) != 3 or np.shape(positions)[1] != count:
            raise ValueError(f"positions of block {block} must be (T, {count}, K), got {np.shape(positions)}")
        if frames is not None:
            _check_shape("frames", frames, (count, len(positions), *images.shape[1:3], 3))
        if corners is not None and moving:
            _check_shape("corners", corners, (count, len(positions), 2))

    images = np.clip(np.broadcast_to(images, (*images.shape[:3], 3)), 0.0, 1.0)
    figure, axes = _panels(count, 1 + sum(min(_MOST, len(positions)) for _, positions in stages), title)
    for row, image in enumerate(images):
        places = None if corners is None else np.asarray(corners)[row].reshape(-1, 2)  # one for all timesteps, or T
        panels = [("", image, places)]
        for block, positions in stages:
            kept = kept_grid(np.asarray(positions)[:, row], grid=grid)
            for t in spread(len(kept), most=_MOST):
                shown = image if frames is None else frames[row, t]
                place = None if places is None else places[min(t, len(places) - 1)][None]
                panels.append((f"block {block}, t={t}", veil_dropped(shown, kept[t]), place))
        for column, (head, panel, place) in enumerate(panels):
            axis = axes[row][column]
            axis.imshow(panel, interpolation="nearest")
            if row == 0:
                axis.set_title(head, fontsize=8, pad=3)
            if place is not None and digit_size is not None:
                _outline(axis, place, digit_size, panel.shape[:2])
        true, predicted = int(labels[row]), int(predictions[row])
        colour = _RIGHT if true == predicted else _WRONG
        axes[row][0].set_title(f"true {true}, pred {predicted}", fontsize=8, pad=3, color=colour)

    figures.save(path, figure)


def draw_beside(
    path: str | os.PathLike[str],
    images: np.ndarray,
    networks: Mapping[str, np.ndarray],
    *,
    grid: tuple[int, int],
) -> None:
    """Writes a PNG with a row of images, and below it one for each of several networks with the tokens that it keeps.

    Args:
      path: The PNG to write; its folder is made where it is missing.
      images: Images with values from 0 to 1, (B, H, W, C), C = 1 or 3.
      networks: By name the patches that a network keeps, integers (T, B, K), row-major on the grid, without the anchor.
        A patch is the paler the fewer timesteps keep it.
      grid: Rows and columns of the patch grid.
    """
    images = np.clip(np.broadcast_to(np.asarray(images, np.float64), (*np.shape(images)[:3], 3)), 0.0, 1.0)
    figure, axes = _panels(1 + len(networks), len(images), None)
    for axis, image in zip(axes[0], images, strict=True):
        axis.imshow(image, interpolation="nearest")
    for row, (name, positions) in zip(axes[1:], networks.items(), strict=True):
        row[0].set_title(name, fontsize=8, pad=3, loc="left")
        for i, (axis, image) in enumerate(zip(row, images, strict=True)):
            share = kept_grid(np.asarray(positions)[:, i], grid=grid).mean(axis=0)
            axis.imshow(veil_dropped(image, share), interpolation="nearest")
    figures.save(path, figure)


def _panels(rows: int, columns: int, title: str | None) -> tuple[Figure, list[list[Axes]]]:
    """A figure with bare square panels laid out in inches."""
    top = _EDGE + (0.3 if title else 0.0)
    width = max(2 * _EDGE + columns * (_PANEL + _GAP) - _GAP, 0.075 * len(title or "") + 2 * _EDGE)
    height = top + rows * (_PANEL + _HEAD) + _EDGE
    figure = figures.blank(width, height)
    axes = []
    for row in range(rows):
        bottom = height - top - (row + 1) * (_PANEL + _HEAD)
        lefts = [_EDGE + column * (_PANEL + _GAP) for column in range(columns)]
        boxes = [(left / width, bottom / height, _PANEL / width, _PANEL / height) for left in lefts]
        axes.append([figure.add_axes(box, xticks=[], yticks=[]) for box in boxes])
    if title:
        figure.text(_EDGE / width, 1 - _EDGE / height, title, fontsize=10, va="top")
    return figure, axes


def _outline(axis: Axes, corners: np.ndarray, size: int, picture: tuple[int, ...]) -> None:
    """Outlines the boxes at `corners` (n, 2) together, as far as they are in the picture."""
    # A pixel's centre is at its whole coordinates.
    top, left = np.clip(corners.min(axis=0), 0, picture) - 0.5
    bottom, right = np.clip(corners.max(axis=0) + size, 0, picture) - 0.5
    # Not clipped, and above the frame of the panel: a digit at the border keeps all four sides.
    sides = (right - left, bottom - top)
    axis.add_patch(Rectangle((left, top), *sides, fill=False, edgecolor=_BOX, linewidth=1.0, clip_on=False, zorder=3))


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if np.shape(array) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {np.shape(array)}")
