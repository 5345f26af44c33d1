"""A placed part as picture and organised cloud in its frame, which is what networks and descriptors take."""

import cv2
import numpy as np

from part_frame.comparison import grown
from part_frame.finding import VIEW

AROUND = 3  # cells around the part that are shown too
DISTANCE = 0.5  # metres from an imagined camera above the frame's middle to the table
USUAL = 0.05  # share of the normal parts that have surface at a place that is always shown


def shown(placed, placement):
    """[S, S] bool: the part, the normal parts' footprint and a little around them; the table beyond is no part."""
    where = placed.laid.part
    if placement.way == VIEW:
        return placed.laid.seen
    if placement.reference is not None:
        size = where.shape[::-1]
        where = where | (cv2.resize(placement.reference.part, size, interpolation=cv2.INTER_LINEAR) > USUAL)
    return grown(where, AROUND)


def framed(placed, placement):
    """(rgb [P, P, 3] uint8, xyz [S, S, 3] float32 metres, 0 where nothing was measured or shown)."""
    where, size = shown(placed, placement), placement.frame.cells
    picture = placed.picture.copy()
    picture[cv2.resize(where.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST) == 0] = 0
    along = (np.arange(size) - (size - 1) / 2) * placement.frame.pitch / 1000
    height = placed.laid.height / 1000
    known = where & ~np.isnan(height)
    along = np.where(along == 0, 1e-7, along)  # a coordinate of 0 would be read as background
    x, y = np.broadcast_to(along, (size, size)), np.broadcast_to(along[:, None], (size, size))
    cloud = np.dstack([x, y, DISTANCE - np.nan_to_num(height)]) * known[..., None]
    return picture, cloud.astype(np.float32)
