"""Regions where a part's anomaly map is above the pixel threshold: outline, size, and what differs there."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inspection.in_place import CONNECTED, InPlace, PlaceFacts
from scoring.scorings import Shares, Terms, region_shares

GAP = 2  # pixels: what lies so near is one region, so that an edge of a hole does not fall into crumbs
MM = 1000.0  # a metre


class Region(NamedTuple):
    """Pixels above the threshold that lie together. Pixel centres have whole coordinates, x to the right, y down."""

    pixels: int
    # as the sensor sees it: projected to the plane of x and y; None without a cloud. Of a part in a frame that of the
    # places around that differ at least half as much, in height or colour: what is above the threshold can be far less
    area_mm2: float | None
    peak: float  # the map's largest value in it
    place: tuple[int, int]  # (row, column) of the peak
    box: tuple[int, int, int, int]  # (left, top, right, bottom), the last two exclusive
    contours: tuple[NDArray[Any], ...]  # closed lines [k, 2] of x, y: outlines of that area, and those of holes
    mask: NDArray[np.bool_]  # [bottom - top, right - left]
    unmeasured: int | None  # its pixels without a point; None without a cloud
    shares: Shares = {}  # {map: share}, add up to the region's mean map value, or of paper's scorings the decision's
    in_place: PlaceFacts | None = None  # what the comparison in place says; None without a frame

    def inside(self, values: NDArray[Any]) -> NDArray[Any]:
        """[n] those of an image's values [H, W] that belong to the region."""
        left, top, right, bottom = self.box
        return np.asarray(values[top:bottom, left:right][self.mask])


def find_regions(score_map: ArrayLike, threshold: float, cloud: ArrayLike | None = None) -> tuple[Region, ...]:
    """Regions of a map [H, W] above ``threshold``, the one that exceeds it most, summed over its pixels, first;
    ``cloud``: [H, W, 3] metres, 0 where nothing was measured."""
    from scipy import ndimage

    score_map = np.asarray(score_map, np.float64)
    above = score_map > threshold
    labels, count = ndimage.label(ndimage.binary_dilation(above, CONNECTED, (GAP + 1) // 2), CONNECTED)
    labels = labels * above
    if not count:
        return ()
    measured, sizes = None, None
    if cloud is not None:
        points = np.asarray(cloud, np.float64)
        measured, sizes = measured_pixels(points), pixel_areas(points)
    regions = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        mask = labels[rows, columns] == number
        values = np.where(mask, score_map[rows, columns], -np.inf)
        row, column = np.unravel_index(values.argmax(), mask.shape)
        regions.append(
            Region(
                pixels=int(mask.sum()),
                area_mm2=None if sizes is None else _area(sizes, mask, rows, columns),
                peak=float(values.max()),
                place=(rows.start + int(row), columns.start + int(column)),
                box=(columns.start, rows.start, columns.stop, rows.stop),
                contours=_outline(mask, columns.start, rows.start),
                mask=mask,
                unmeasured=None if measured is None else int((mask & ~measured[rows, columns]).sum()),
            )
        )
    return tuple(sorted(regions, key=lambda of: -float((of.inside(score_map) - threshold).sum())))


def measured_pixels(cloud: NDArray[Any]) -> NDArray[np.bool_]:
    """[H, W] bool: where a cloud [H, W, 3] has a point, that is, finite and not all zero."""
    finite, there = np.isfinite(cloud), cloud != 0
    # all(2) and any(2) would take much longer
    anything = there[..., 0] | there[..., 1] | there[..., 2]
    return np.asarray(finite[..., 0] & finite[..., 1] & finite[..., 2] & anything)


def pixel_areas(cloud: NDArray[Any]) -> NDArray[np.float64]:
    """[H, W] mm²: the area that each pixel of a cloud [H, W, 3] in metres covers, that of the parallelogram between
    the neighbours on either side; NaN if the pixel or a neighbour has no point. Depth is left out, since its noise and
    steps would count as surface. So a surface tilted by t shows cos(t) of its area."""
    plane = np.where(measured_pixels(cloud)[..., None], cloud[..., :2], np.nan).astype(np.float64) * MM
    if min(plane.shape[:2]) < 2:
        return np.full(plane.shape[:2], np.nan)
    down, right = (np.asarray(of) for of in np.gradient(plane, axis=(0, 1)))
    areas: NDArray[np.float64] = np.abs(down[..., 0] * right[..., 1] - down[..., 1] * right[..., 0])
    return areas + 0 * plane[..., 0]


def _area(sizes: NDArray[Any], mask: NDArray[np.bool_], rows: slice, columns: slice) -> float | None:
    """mm²: number of pixels times their median area, or that of the whole part where no pixel's is known."""
    for candidates in (sizes[rows, columns][mask], sizes):
        if not np.isnan(candidates).all():
            return float(mask.sum() * np.nanmedian(candidates))
    return None


def _outline(places: NDArray[np.bool_], left: int = 0, top: int = 0) -> tuple[NDArray[Any], ...]:
    from contourpy import LineType, contour_generator

    generator = contour_generator(z=np.pad(places, 1).astype(float), line_type=LineType.Separate)
    lines: Any = generator.lines(0.5)
    return tuple(line + (left - 1, top - 1) for line in lines)


def inspect_regions(
    pixels: NDArray[Any], threshold: float, cloud: NDArray[Any] | None, terms: Terms, in_place: InPlace | None = None
) -> tuple[Region, ...]:
    """The regions of a map [S, S] with all that is known of them. What lies in the area of a region before is part of
    that. ``cloud``: as in :func:`find_regions`; ``terms``: {term: [S, S]}, which add up to the map; of the
    paper's scorings to the decision map."""
    found, told = [], np.zeros(pixels.shape, bool)
    for region in find_regions(pixels, threshold, cloud):
        if told[region.place]:
            continue
        shares = region_shares(terms, region.mask, region.box)
        facts = None
        if in_place is not None:
            left, top, right, bottom = region.box
            lowest = region.peak - abs(region.peak) / 2  # maps of some scorings are negative
            strongest = region.mask & (pixels[top:bottom, left:right] >= lowest)
            by = region_shares(terms, strongest, region.box)
            facts, places = in_place.facts(region.mask, region.box, by)
            if places is not None and places.any():
                told |= places
                area = float(places.sum() * in_place.place_mm2)
                region = region._replace(area_mm2=area, contours=_outline(places))
        found.append(region._replace(shares=shares, in_place=facts))
    return tuple(found)
