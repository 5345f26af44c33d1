"""Where the part is in a scan, how large it is there, and whether the picture lies on it."""

import cv2
import numpy as np

from data.outlines import best_shift, overlap
from part_frame.finding import PICTURE, TABLE, VALID, NotFound, find_part

MM = 1000.0  # a metre
GRID = 128  # side of the grid on which outlines are compared
SCALES = np.geomspace(0.6, 1.7, 21)  # the picture may show so many times as much as the scan
FITS, FOUND, GAIN = 0.75, 0.8, 0.15  # least overlap; least of a better place, and how much better that has to be


def part_pixels(xyz):
    """[H, W] bool: the pixels of a scan [H, W, 3] in metres above its table; without one all that were measured."""
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


def misaligned(parts, metres):
    """[text], a warning if the pictures of ``parts`` (each a ``part_import.Read``) do not lie on their scans, or if
    they have another size and nothing shows that they do. ``metres``: of one count of the scans."""
    parts = [one for one in parts if one.picture is not None]
    known = [fit for one in parts if (fit := _fit(np.asarray(one.picture), one.points * metres))]
    off = [fit for fit in known if fit[0] < FITS and fit[1] > max(FOUND, fit[0] + GAIN)]
    if len(off) > len(known) / 2:
        share, best, scale = np.median(off, axis=0)
        return [
            f"{parts[0].path.parent}: the part's outlines in picture and scan overlap by {share:.0%}, and by "
            f"{best:.0%} with the scan's {scale:.2g} times as large: is the depth aligned to the picture (the camera's "
            "software can do it)? else colours and masks lie beside their points; look at the contact sheet"
        ]
    sizes = [(one.picture.size[::-1], one.measured.shape) for one in parts]
    scaled = next((pair for pair in sizes if sorted(pair[0]) != sorted(pair[1])), None)
    if not scaled or any(fit[0] >= FITS for fit in known):
        return []
    (tall, wide), (rows, columns) = scaled
    return [
        f"pictures of {tall}×{wide} pixels are scaled to scans of {rows}×{columns}, and no outline of a part tells "
        "whether they fit: is the depth aligned to the picture? look at the contact sheet"
    ]


def _fit(picture, xyz):
    """(overlap of the part's outlines in a picture [H, W, 3] and a scan [h, w, 3] of one view; the largest overlap
    after a shift and a scale of the scan's; that scale); None where one of them shows no part."""
    scan = part_pixels(xyz)
    try:
        seen = find_part(picture, np.asarray(xyz) * MM, way=PICTURE).mask
    except NotFound:
        return None
    if scan.mean() > 0.9 or not scan.any():
        return None
    scan, seen = (cv2.resize(of.astype(np.uint8), (GRID, GRID), interpolation=cv2.INTER_NEAREST) for of in (scan, seen))
    best, scale = max((_shifted(_scaled(scan, scale), seen > 0), scale) for scale in SCALES)
    return overlap(scan > 0, seen > 0), best, scale


def _scaled(mask, scale):
    about = np.float32([[scale, 0, GRID / 2 * (1 - scale)], [0, scale, GRID / 2 * (1 - scale)]])
    return cv2.warpAffine(mask, about, (GRID, GRID), flags=cv2.INTER_NEAREST) > 0


def _shifted(mask, target):
    return overlap(np.roll(mask, best_shift(mask, target), (0, 1)), target)
