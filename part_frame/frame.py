"""The part's own frame: a square of constant millimetres per cell, on which a scan's heights and picture are laid.

Axes: the table's normal, and two in the table that follow the camera's columns and rows; a pose turns and shifts them.
Each point of the scan is shared among the four cells around it, then smoothed a little, so that a cell's height is the
mean of the points about it. The picture follows by the same way: each cell knows the pixel that it was seen in.
"""

from typing import NamedTuple

import cv2
import numpy as np

FULL = 0.25  # a cell has a height if it got this share of the points that a surface across the view gives it
SPREAD = 0.35, 0.45  # cells: smoothing of the points is the first plus the second times the points' distance in cells
FILLING = (2.0, 5.0, 12.0, 30.0)  # cells: pixels of cells without points come from neighbours at growing distance


class Frame(NamedTuple):
    """``cells``: cells per side of the frame; ``pitch``: mm per cell; ``spacing``: mm between the sensor's points."""

    cells: int
    pitch: float
    spacing: float

    @property
    def side(self):
        """Length of a side in mm."""
        return self.cells * self.pitch


class Pose(NamedTuple):
    """Where the part's frame lies on the table: centre x, y in mm from the camera's foot, and the angle in degrees by
    which the part is turned, counter-clockwise in the picture."""

    x: float
    y: float
    angle: float = 0.0


class Laid(NamedTuple):
    """A scan in the frame; arrays are [S, S], S cells.

    ``height``: mm above the table, NaN where no point lies. ``seen``: cells that the camera's view covers. ``part``:
    the part's cells. ``row``, ``column``: the cloud's pixel that shows a cell, fractions included. ``pose``: its Pose.
    """

    height: np.ndarray
    seen: np.ndarray
    part: np.ndarray
    row: np.ndarray
    column: np.ndarray
    pose: Pose

    def picture(self, rgb, size, shape):
        """[size, size, 3] uint8: the picture ``rgb`` [H, W, 3], whose cloud has ``shape`` (h, w), laid into the frame;
        cells outside the view are black."""
        scale = rgb.shape[0] / shape[0], rgb.shape[1] / shape[1]
        row, column = (
            cv2.resize((a + 0.5) * s - 0.5, (size, size), interpolation=cv2.INTER_LINEAR)
            for a, s in zip((self.row, self.column), scale)
        )
        per_cell = float(np.median(np.abs(np.diff(column, axis=1)))) if size > 1 else 1.0
        if per_cell > 1.5:  # several pixels fall into a cell: their mean, not one of them
            rgb = cv2.GaussianBlur(rgb, (0, 0), 0.4 * per_cell)
        return cv2.remap(rgb, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)

    def laid(self, mask, shape):
        """[S, S] bool: a mask [H, W] of the picture's or the cloud's view, laid into the frame."""
        row, column = (
            ((a + 0.5) * m / n - 0.5).astype(np.float32) for a, m, n in zip((self.row, self.column), mask.shape, shape)
        )
        values = np.ascontiguousarray(mask).astype(np.uint8)
        return cv2.remap(values, column, row, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT) > 0


def coordinates(xyz, found, there):
    """[h, w, 3]: x, y from the camera's foot on the table and height above it, mm; NaN where nothing was measured."""
    rotation, origin = found.table.rotation, found.table.origin
    places = cv2.transform(xyz.astype(np.float64), np.column_stack([rotation, -rotation @ origin]))
    places[~there] = np.nan
    return places


def spacing_of(xy, mask):
    """Median distance in mm between neighbouring points of a part; ``xy`` [h, w, 2 or 3]."""
    box = tuple(slice(int(of[0]) // 2 * 2, int(of[-1]) + 1) for of in (np.flatnonzero(mask.any(k)) for k in (1, 0)))
    xy, mask = xy[box][..., :2].astype(np.float32), mask[box]
    pairs = (
        (np.s_[::2, :-1], np.s_[::2, 1:]),
        (np.s_[:-1, ::2], np.s_[1:, ::2]),
    )  # every second row and column is enough
    squares = np.concatenate([((xy[a] - xy[b]) ** 2).sum(-1)[mask[a] & mask[b]] for a, b in pairs])
    steps = np.sqrt(squares)
    return float(np.nanmedian(steps)) if len(steps) else np.nan


def around(mask):
    """Slices of the pixels that a part's frame can show: the box of its mask [h, w], grown by its own length."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    grown = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 8
    return tuple(slice(max(int(of[0] - grown), 0), int(of[-1] + grown) + 1) for of in (rows, columns))


def lay(places, mask, frame, pose, corner=(0, 0), shape=None):
    """The :class:`Laid` of a scan.

    Args:
        places: [h, w, 3] of :func:`coordinates`.
        mask: [h, w] bool, the part's pixels.
        frame, pose: the frame, and where it lies.
        corner, shape: (row, column) of the first pixel of ``places`` in the cloud, and the cloud's (h, w), if
            ``places`` is a part of it.
    """
    size, (h, w) = frame.cells, mask.shape if shape is None else shape
    angle = np.deg2rad(pose.angle)
    cosine, sine = np.cos(angle), np.sin(angle)
    window = _window(places, pose, frame)
    x, y, height = (places[window][..., k] for k in range(3))
    x, y = x - pose.x, y - pose.y
    column = (cosine * x - sine * y) / frame.pitch + (size - 1) / 2
    row = (sine * x + cosine * y) / frame.pitch + (size - 1) / 2
    good = np.isfinite(height) & (row > -1) & (row < size) & (column > -1) & (column < size)
    row, column, height = row[good], column[good], height[good]
    pixel_row, pixel_column = np.nonzero(good)
    values = np.stack([np.ones_like(height), height, pixel_row + window[0].start, pixel_column + window[1].start])
    grids = _shared(row, column, values, size)
    sigma = SPREAD[0] + SPREAD[1] * frame.spacing / frame.pitch
    grids = cv2.GaussianBlur(grids.transpose(1, 2, 0), (0, 0), sigma)
    weight = grids[..., 0]
    full = weight > FULL * (frame.pitch / frame.spacing) ** 2
    heights = np.where(full, grids[..., 1] / np.maximum(weight, 1e-9), np.nan).astype(np.float32)
    where = _filled(grids[..., 2:], weight, full)
    where = where + np.float32(corner)
    seen = (where[..., 0] > -0.5) & (where[..., 0] < h - 0.5) & (where[..., 1] > -0.5) & (where[..., 1] < w - 0.5)
    laid = Laid(heights, seen, full, where[..., 0], where[..., 1], pose)
    local = laid._replace(row=laid.row - corner[0], column=laid.column - corner[1])
    return laid._replace(part=local.laid(mask, mask.shape) & seen)


def _window(places, pose, frame):
    """Slices of the pixels that can lie in the frame: most of a view is table far from the part."""
    reach = 0.75 * frame.side
    near = (np.abs(places[..., 0] - pose.x) < reach) & (np.abs(places[..., 1] - pose.y) < reach)
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    if not len(rows):
        return slice(0, 1), slice(0, 1)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _shared(row, column, values, size):
    """[k, S, S] float32: ``values`` [k, n] shared among the four cells around each point."""
    r, c = np.floor(row).astype(np.int32), np.floor(column).astype(np.int32)
    fr, fc = row - r, column - c
    wide = size + 2  # one cell of border takes what falls outside
    out = np.zeros((len(values), wide * wide))
    for dr, of_row in ((0, 1 - fr), (1, fr)):
        for dc, of_column in ((0, 1 - fc), (1, fc)):
            index, weight = (r + 1 + dr) * wide + c + 1 + dc, of_row * of_column
            for k, value in enumerate(values):
                out[k] += np.bincount(index, weight * value, wide * wide)
    return out.reshape(len(values), wide, wide)[:, 1:-1, 1:-1].astype(np.float32)


def _filled(sums, weight, full):
    """[S, S, 2] float32 pixel rows and columns of all cells: of their own points, else of points around them."""
    where = sums / np.maximum(weight, 1e-9)[..., None]
    missing = ~full
    own = np.dstack([np.where(full[..., None], where, 0), full.astype(np.float32)]).astype(np.float32)
    for sigma in FILLING:
        if not missing.any():
            break
        blurred = cv2.GaussianBlur(own, (0, 0), sigma)
        reached = missing & (blurred[..., 2] > 0.02)
        where[reached] = blurred[reached][:, :2] / blurred[reached][:, 2:]
        missing &= ~reached
    where[missing] = -10.0  # far from every point: outside the view
    return where.astype(np.float32)
