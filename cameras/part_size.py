"""How large a part is in its scan: the share of the frame that it fills, and how many pixels it is wide."""

import cv2
import numpy as np

from part_frame.finding import TABLE, VALID, NotFound, find_part

MM = 1000.0  # a metre


def part_pixels(xyz):
    """[H, W] bool: the pixels of a scan [H, W, 3] in metres above its table, or all that were measured where it has
    none."""
    xyz = np.asarray(xyz)
    try:
        found = find_part(np.zeros((*xyz.shape[:2], 3), np.uint8), xyz * MM)
    except NotFound:
        return xyz.any(axis=2)
    return found.mask if found.way in (TABLE, VALID) else xyz.any(axis=2)


def size_text(*parts):
    """Text such as "fills 12% of the frame, 48 × 40 pixels", the medians of the pixels [H, W] of parts."""
    sizes = [(part.mean(), *cv2.boundingRect(part.astype(np.uint8))[2:]) for part in parts]
    share, width, height = np.median(sizes, axis=0)
    return f"fills {share:.0%} of the frame, {int(width)} × {int(height)} pixels"
