"""How large a part is in its scan: the share of the frame that it fills, and how many pixels it is wide."""

from pathlib import Path
from statistics import median
from typing import NamedTuple

import cv2
import numpy as np
import tifffile

from part_frame.finding import TABLE, VALID, NotFound, find_part

MM = 1000.0  # a metre


class PartSize(NamedTuple):
    """The size of a part in its scan."""

    share: float  # of the frame's pixels
    width: int  # pixels
    height: int


def part_pixels(xyz):
    """[H, W] bool: the pixels of a scan [H, W, 3] in metres that show the part: what lies above its table, or all that
    was measured where there is no table."""
    xyz = np.asarray(xyz)
    try:
        found = find_part(np.zeros((*xyz.shape[:2], 3), np.uint8), xyz * MM)
    except NotFound:
        return xyz.any(axis=2)
    return found.mask if found.way in (TABLE, VALID) else xyz.any(axis=2)


def size_of(part) -> PartSize:
    """PartSize of a part's pixels [H, W]."""
    return PartSize(float(part.mean()), *cv2.boundingRect(part.astype(np.uint8))[2:])


def usual_size(paths) -> PartSize:
    """The median PartSize of the scans in the tiff files ``paths``, at least one."""
    sizes = [size_of(part_pixels(tifffile.imread(Path(path)))) for path in paths]
    return PartSize(*(kind(median(values)) for kind, values in zip((float, int, int), zip(*sizes))))


def size_text(size: PartSize) -> str:
    """Text such as "fills 12 % of the frame, 48 × 40 pixels"."""
    return f"fills {size.share:.0%} of the frame, {size.width} × {size.height} pixels"
