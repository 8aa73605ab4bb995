"""Contact sheets: a batch before and after its augmentation, image under image."""

import os

import numpy as np

from stata_jax.tools import figures

_COLUMNS = 8  # images in a row, or timesteps of a recording
_GAP = 2  # pixels between images
_GREY = 0.85  # of the gaps: events lie on white
_WIDTH = 10.0  # inches


def event_picture(counts: np.ndarray, *, top: float) -> np.ndarray:
    """Colours counts of events on white: red for polarity 1 (on), blue for 0 (off), dark where both are many.

    Args:
      counts: `(..., 2)`, off and on.
      top: count of the full colour; more is cut.

    Returns:
      `(..., 3)` from 0 to 1.
    """
    off, on = np.moveaxis(np.clip(np.asarray(counts, np.float64) / top, 0, 1), -1, 0)
    return np.stack([1 - off, 1 - np.maximum(off, on), 1 - on], axis=-1)


def still_pictures(batch: np.ndarray) -> np.ndarray:
    """One picture for each example: images from 0 to 1, grey or in colour, and recordings by all of their events.

    Args:
      batch: images `(B, H, W, C)`, uint8 or from 0 to 1, or recordings `(B, T, H, W, 2)`.

    Returns:
      `(B, H, W, 1)` unless there are three channels or events, `(B, H, W, 3)`.
    """
    if batch.ndim == 5:
        counts = batch.sum(axis=1, dtype=np.float64)
        return event_picture(counts, top=max(1.0, float(np.quantile(counts, 0.99))))
    values = batch / 255 if batch.dtype == np.uint8 else batch.astype(np.float64)
    return values if values.shape[-1] == 3 else values[..., :1]


def frame_pictures(batch: np.ndarray) -> np.ndarray:
    """A picture of each timestep of recordings `(B, T, H, W, 2)`, all on one scale: `(B, T, H, W, 3)`."""
    return event_picture(batch, top=_frame_top(batch))


def spread(timesteps: int, *, most: int) -> np.ndarray:
    """The timesteps to show, `most` of them at the most: all, or some evenly from the first to the last."""
    return np.linspace(0, timesteps - 1, min(most, timesteps)).round().astype(int)


def _frame_top(batch: np.ndarray) -> float:
    """Count of the full colour: twice the mean one where there are events."""
    return max(1.0, 2 * float(batch[batch > 0].mean())) if batch.any() else 1.0


def _pictures(batch: np.ndarray, *, top: float) -> np.ndarray:
    """Rows of pictures `(rows, columns, H, W, 3)`: images eight to a row, or a recording's timesteps."""
    if batch.ndim == 5:
        return event_picture(batch[:, spread(batch.shape[1], most=_COLUMNS)], top=top)
    values = batch / 255 if batch.dtype == np.uint8 else batch.astype(np.float64)
    if values.shape[-1] != 3:
        values = values.mean(axis=-1, keepdims=True)
    pictures = np.broadcast_to(np.clip(values, 0, 1), (*values.shape[:-1], 3))
    columns = min(_COLUMNS, len(pictures))
    rest = -len(pictures) % columns
    pictures = np.concatenate([pictures, np.full((rest, *pictures.shape[1:]), _GREY)])
    return pictures.reshape(-1, columns, *pictures.shape[1:])


def mosaic(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Lays a batch out in pairs of rows: as it was, and below as it became.

    Args:
      before: images `(B, H, W, C)`, uint8 or from 0 to 1, grey unless C is 3, or recordings `(B, T, H, W, 2)`, of which
        each has a row with up to eight of its timesteps.
      after: the same, after augmentation.

    Returns:
      The sheet, `(height, width, 3)` from 0 to 1, with grey gaps of 2 pixels, 6 between pairs.

    Raises:
      ValueError: no images or recordings, or two shapes.
    """
    before, after = np.asarray(before), np.asarray(after)
    if before.shape != after.shape:
        raise ValueError(f"before and after must have one shape, got {before.shape} and {after.shape}")
    if before.ndim not in (4, 5) or not before.size or (before.ndim == 5 and before.shape[-1] != 2):
        raise ValueError(f"a batch must be images (B, H, W, C) or recordings (B, T, H, W, 2), got {before.shape}")
    top = _frame_top(before) if before.ndim == 5 else 1.0  # one scale for a sheet, so that rows compare
    rows = []
    for pair in zip(_pictures(before, top=top), _pictures(after, top=top), strict=True):
        for row, gap in zip(pair, (_GAP, 3 * _GAP), strict=True):
            framed = np.pad(row, ((0, 0), (0, gap), (0, _GAP), (0, 0)), constant_values=_GREY)
            rows.append(np.concatenate(list(framed), axis=1))
    return np.concatenate(rows)[: -3 * _GAP, :-_GAP]


def contact_sheet(before: np.ndarray, after: np.ndarray, path: str | os.PathLike[str], *, title: str = "") -> None:
    """Writes a PNG of a batch before and after, as `mosaic` lays it out.

    Args:
      before: see `mosaic`.
      after: see `mosaic`.
      path: the PNG to write; its folder is made where it is missing.
      title: line above the sheet.

    Raises:
      ValueError: see `mosaic`.
    """
    sheet = mosaic(before, after)
    head = 0.3 if title else 0.0
    height = _WIDTH * sheet.shape[0] / sheet.shape[1]
    figure = figures.blank(_WIDTH, height + head)
    axis = figure.add_axes((0, 0, 1, height / (height + head)))
    axis.set_axis_off()
    axis.imshow(sheet, interpolation="nearest", aspect="auto")
    if title:
        figure.text(0.01, 1 - 0.05 / (height + head), title, fontsize=10, va="top")
    figures.save(path, figure)
