"""Whether a picture lies on its scan: the part's outline in the one is compared with that in the other."""

from typing import NamedTuple

import cv2
import numpy as np

from cameras.part_size import MM, part_pixels
from data.outlines import best_shift, overlap
from part_frame.finding import PICTURE, NotFound, find_part

GRID = 128  # side of the grid on which outlines are compared
SCALES = np.geomspace(0.6, 1.7, 21)  # the picture may show so many times as much as the scan
FITS, FOUND, GAIN = 0.75, 0.8, 0.15  # least overlap; least of a better place, and how much better that has to be


class Alignment(NamedTuple):
    """Overlap (intersection over union) of the part's two outlines, and where they would overlap more."""

    overlap: float
    best: float  # the largest overlap, after a shift and a scale
    scale: float  # of the scan's outline, for that

    @property
    def fits(self) -> bool:
        """Whether the outlines agree."""
        return self.overlap >= FITS

    @property
    def is_off(self) -> bool:
        """Whether the outlines do not agree where they are, but do elsewhere."""
        return not self.fits and self.best > max(FOUND, self.overlap + GAIN)


def alignment(picture, xyz):
    """The Alignment of a picture [H, W, 3] uint8 and a scan [h, w, 3] in metres of the same view; None where one of
    them shows no part that can be told from its surroundings."""
    scan = part_pixels(xyz)
    try:
        seen = find_part(picture, np.asarray(xyz) * MM, way=PICTURE).mask
    except NotFound:
        return None
    if scan.mean() > 0.9 or not scan.any():
        return None
    scan, seen = (cv2.resize(of.astype(np.uint8), (GRID, GRID), interpolation=cv2.INTER_NEAREST) for of in (scan, seen))
    best, scale = max((_shifted(_scaled(scan, scale), seen > 0), scale) for scale in SCALES)
    return Alignment(overlap(scan > 0, seen > 0), best, float(scale))


def _scaled(mask, scale):
    about = np.float32([[scale, 0, GRID / 2 * (1 - scale)], [0, scale, GRID / 2 * (1 - scale)]])
    return cv2.warpAffine(mask, about, (GRID, GRID), flags=cv2.INTER_NEAREST) > 0


def _shifted(mask, target):
    return overlap(np.roll(mask, best_shift(mask, target), (0, 1)), target)
