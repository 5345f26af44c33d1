"""Where the part is in a scan: above its table, where there are points at all, or where the picture shows it."""

from typing import NamedTuple

import cv2
import numpy as np

from part_frame.table import MAD, Table, axes, find_table

TABLE, VALID, PICTURE, VIEW = "table", "valid points", "picture", "whole view"  # the ways, in the order they are tried
SMOOTH = 1.2  # pixels: heights are smoothed by this before they are compared with the noise
LOW, HIGH = 4.0, 7.0  # noise widths above the table: a piece reaches HIGH somewhere, and all of it lies above LOW
THINNED = 8  # every eighth point of a table is enough for its noise
PIECE = 0.1  # a piece that is smaller than this share of the largest does not belong to the part
SMALLEST = 0.0015  # least share of the pixels of a part
RING = 0.1  # share of border pixels with points up to which the background counts as cut out
CUT_OUT = 0.95  # share of pixels with points up to which it can be
CONTRAST = 5.0  # the picture's foreground differs from its border by so many times the border's own spread


class Found(NamedTuple):
    """A part in a scan.

    ``way``: one of TABLE, VALID, PICTURE, VIEW. ``table``: the plane that heights are counted from; for VALID and VIEW
    a plane across the line of sight (or the surface's own). ``mask`` [h, w] bool: the part's pixels in the cloud's
    grid. ``pieces``: pixels of each piece, the largest first. ``border``: share of the view's border that it covers.
    """

    way: str
    table: Table
    mask: np.ndarray
    pieces: tuple
    border: float


class NotFound(Exception):
    """There is no part in the scan, or it cannot be told from its surroundings; the text says why."""


def measured(xyz):
    """[h, w] bool: pixels of a cloud [h, w, 3] that have a point."""
    depth = xyz[..., 2]
    return np.isfinite(depth) & (depth != 0)


def find_part(rgb, xyz, way=None):
    """The :class:`Found` of a scan.

    Args:
        rgb: [H, W, 3] uint8 picture of the same view.
        xyz: [h, w, 3] mm, 0 or not finite where nothing was measured.
        way: the way that was settled at the fit; None: the first that finds a part.

    Raises NotFound: nothing that could be a part; the text says what is there instead.
    """
    there = measured(xyz)
    if there.sum() < 200:
        raise NotFound("the cloud has hardly any point")
    reasons = []
    for name, of in ((VALID, _valid), (TABLE, _table), (PICTURE, _picture), (VIEW, _view)):
        if way in (None, name):
            found = of(rgb, xyz, there)
            if isinstance(found, Found):
                return found
            reasons.append(found)
    raise NotFound("; ".join(reasons))


def _valid(rgb, xyz, there):
    """Background that was cut out already: the points are the part."""
    if _border(there) > RING or there.mean() > CUT_OUT:
        return "points reach to the edges of the view"
    mask, pieces = _pieces(there, there)
    if not pieces:
        return "no part: the points form no surface"
    return Found(VALID, across(xyz[mask]), mask, pieces, _border(mask))


def _table(rgb, xyz, there):
    table = find_table(xyz, there)
    if table is None:
        return "no table is seen"
    height = np.where(there, table.heights(xyz), 0).astype(np.float32)
    weight = cv2.GaussianBlur(there.astype(np.float32), (0, 0), SMOOTH)
    smooth = cv2.GaussianBlur(height, (0, 0), SMOOTH) / np.maximum(weight, 1e-3)
    flat = smooth[there & (np.abs(height) < 4 * table.noise)][::THINNED]
    noise = MAD * float(np.median(np.abs(flat - np.median(flat)))) if len(flat) else table.noise
    middle = float(np.median(flat)) if len(flat) else 0.0
    above = (smooth > middle + LOW * noise) & (weight > 0.3)
    mask, pieces = _pieces(above, above & (smooth > middle + HIGH * noise))
    if not pieces:
        return "no part: nothing lies on the table"
    return Found(TABLE, table, mask, pieces, _border(mask))


def _picture(rgb, xyz, there):
    """A part that is too flat to be seen in depth: what differs in the picture from the view's border."""
    size = there.shape[::-1]
    lab = cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB).astype(np.float32)
    lab = cv2.GaussianBlur(lab, (0, 0), 2)
    edge = max(2, min(size) // 40)
    ring = np.concatenate([a.reshape(-1, 3) for a in (lab[:edge], lab[-edge:], lab[:, :edge], lab[:, -edge:])])
    middle = np.median(ring, 0)
    distance = np.linalg.norm(lab - middle, axis=2)
    spread = float(np.percentile(np.linalg.norm(ring - middle, axis=1), 95))
    threshold, _ = cv2.threshold(np.clip(distance * 2, 0, 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    threshold = max(threshold / 2, 1.5 * spread, CONTRAST)
    mask, pieces = _pieces(distance > threshold, distance > 1.3 * threshold)
    if not pieces or mask.mean() > 0.9 or _border(mask) > 0.3:
        return "no part: the picture shows none that differs from its surroundings"
    table = find_table(xyz, there)
    return Found(PICTURE, table or across(xyz[there]), mask, pieces, _border(mask))


def _view(rgb, xyz, there):
    """A surface that fills the view."""
    return Found(VIEW, find_table(xyz, there) or across(xyz[there]), there, (int(there.sum()),), 1.0)


def across(points):
    """A plane across the line of sight, at the camera: heights are minus the depth."""
    return Table(axes(np.array([0.0, 0.0, -1.0])), np.zeros(3), 0.0)


def _pieces(mask, seeds):
    """(mask of the pieces that hold a seed and are no crumbs, their sizes from the largest down)."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, facts, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    sizes = facts[:, cv2.CC_STAT_AREA].copy()
    sizes[0] = 0
    seeded = np.bincount(labels[seeds & (opened > 0)], minlength=count)
    sizes[seeded < 0.02 * sizes] = 0
    largest = sizes.max() if count > 1 else 0
    if largest < SMALLEST * mask.size:
        return np.zeros_like(mask), ()
    kept = np.flatnonzero(sizes >= PIECE * largest)
    return np.isin(np.arange(count), kept)[labels], tuple(sorted((int(sizes[k]) for k in kept), reverse=True))


def _border(mask):
    """Share of the view's border that a mask covers."""
    return float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())
