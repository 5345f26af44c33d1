"""The camera that an organised cloud was seen with: its rays tell the focal lengths, and the order of the pixels.

In a pinhole camera's own frame x/z grows evenly with the column and y/z with the row (Hartley and Zisserman, Multiple
View Geometry, chapter 6); in another frame (a robot's, a plane's) it does not.
"""

import numpy as np

SAMPLE = 4096  # points that the rays are fitted to
FEWEST = 50
BLUR = 0.5  # pixels: 90 % of the points lie this near to their rays, else there are no rays


def rays_of(points, measured):
    """(fx, fy, cx, cy) in pixels of the pinhole camera that saw ``points`` [H, W, 3] where ``measured``; None without
    one."""
    rows, columns, x, y = _slopes(points, measured)
    across, down = _line(columns, x), _line(rows, y)
    if across is None or down is None:
        return None
    return 1 / across[0], 1 / down[0], -across[1] / across[0], -down[1] / down[0]


def are_transposed(points, measured) -> bool:
    """Whether rows and columns of ``points`` [H, W, 3] are exchanged: x grows with the row and y with the column."""
    rows, columns, x, y = _slopes(points, measured)
    across, down = _line(rows, x), _line(columns, y)
    # one of the two growing and the other falling is a camera that was turned by 90°
    return across is not None and down is not None and across[0] * down[0] > 0


def _slopes(points, measured):
    """(rows, columns, x/z, y/z) of a sample of the measured points."""
    at = np.flatnonzero(measured)
    at = at[:: max(1, len(at) // SAMPLE)]
    rows, columns = np.unravel_index(at, measured.shape)
    some = points.reshape(-1, 3)[at].astype(np.float64)
    near = some[:, 2] != 0
    rows, columns, some = rows[near], columns[near], some[near]
    return rows, columns, some[:, 0] / some[:, 2], some[:, 1] / some[:, 2]


def _line(pixels, slopes):
    """(slope, offset) of the line through ``slopes`` over ``pixels``, if nearly all lie on it; else None."""
    if len(pixels) < FEWEST or pixels.min() == pixels.max():
        return None
    with np.errstate(all="ignore"):
        slope, offset = np.polyfit(pixels, slopes, 1)
        off = np.abs(slopes - slope * pixels - offset)
    if not np.isfinite(slope) or slope == 0 or np.percentile(off, 90) > BLUR * abs(slope):
        return None
    return slope, offset
