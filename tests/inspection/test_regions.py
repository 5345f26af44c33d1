"""Regions against shapes whose size, place and depth are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.path import Path as Polygon
from scipy import ndimage

from inspection.regions import find_regions, measured_pixels, pixel_areas


def plane(height, width, pitch=0.0005, depth=0.4, tilt=0.0):
    """A flat part of ``pitch`` metres a pixel as seen from the front, turned by ``tilt`` degrees about the y axis."""
    rows, columns = np.mgrid[:height, :width].astype(float)
    x = (columns - width / 2 + 0.3) * pitch
    return np.stack(
        [x * np.cos(np.radians(tilt)), (rows - height / 2 + 0.3) * pitch, depth + x * np.sin(np.radians(tilt))], axis=2
    )


def inside(region, shape):
    """The pixels inside the outlines, by even-odd counting."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    points = np.stack([columns.ravel(), rows.ravel()], axis=1)
    return (
        sum(Polygon(line, closed=True).contains_points(points).astype(int) for line in region.contours) % 2 == 1
    ).reshape(shape)


def test_boxes_of_known_size():
    scores, cloud = np.zeros((40, 60)), plane(40, 60)
    scores[5:11, 7:20], scores[30:33, 50:60] = 2, 3
    scores[8, 9], scores[20, 20] = 2.5, 1
    low, high = find_regions(scores, 1, cloud)  # by what lies above the threshold in all: 78.5 and 60
    assert (low.pixels, low.box, low.peak, low.place) == (78, (7, 5, 20, 11), 2.5, (8, 9))
    assert (high.pixels, high.box, high.peak, high.place) == (30, (50, 30, 60, 33), 3, (30, 50))
    assert low.area_mm2 == pytest.approx(78 * 0.25) and high.area_mm2 == pytest.approx(30 * 0.25)
    assert low.unmeasured == high.unmeasured == 0 and low.mask.all() and low.mask.shape == (6, 13)


def test_without_cloud_and_without_regions():
    scores = np.eye(5)
    (region,) = find_regions(scores, 0.5)  # diagonal neighbours belong together
    assert region.pixels == 5 and region.area_mm2 is region.unmeasured is None
    assert find_regions(scores, 1) == ()
    (everything,) = find_regions(np.ones((4, 6)), 0.5)
    assert everything.box == (0, 0, 6, 4) and inside(everything, (4, 6)).all()


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int8, st.tuples(st.integers(2, 12), st.integers(2, 12)), elements=st.integers(0, 3)))
def test_regions_are_the_pixels_above_and_outlines_surround_them(levels):
    regions = find_regions(levels, 1.5)
    seen = np.zeros(levels.shape, int)
    for region in regions:
        left, top, right, bottom = region.box
        own = np.zeros(levels.shape, bool)
        own[top:bottom, left:right] = region.mask
        seen += own
        assert region.pixels == own.sum() and region.peak == levels[own].max() == levels[region.place]
        ends = region.mask[[0, -1]].any(1).all() and region.mask[:, [0, -1]].any(0).all()
        assert ends and not (ndimage.binary_dilation(own, np.ones((5, 5))) & (levels > 1.5) & ~own).any()  # apart
        np.testing.assert_array_equal(inside(region, levels.shape), own)
    np.testing.assert_array_equal(seen, levels > 1.5)
    excess = [(levels[r.box[1] : r.box[3], r.box[0] : r.box[2]][r.mask] - 1.5).sum() for r in regions]
    assert excess == sorted(excess, reverse=True)


def test_a_ring_has_two_outlines():
    rows, columns = np.mgrid[:31, :31]
    radius = np.hypot(rows - 15, columns - 15)
    (ring,) = find_regions(5.0 - np.abs(radius - 9), 2.0)
    assert len(ring.contours) == 2
    for line, wanted in zip(sorted(ring.contours, key=np.ptp), (6, 12)):
        np.testing.assert_array_equal(line[0], line[-1])
        assert np.hypot(*(line - 15).T) == pytest.approx(np.full(len(line), wanted), abs=0.75)


def test_area_of_a_tilted_part_is_what_the_sensor_sees():
    scores = np.zeros((40, 60))
    scores[10:20, 10:30] = 1
    (region,) = find_regions(scores, 0.5, plane(40, 60, tilt=60))
    assert region.area_mm2 == pytest.approx(200 * 0.25 * 0.5)


def test_pixels_without_a_point_count_with_the_size_of_the_others():
    scores, cloud = np.zeros((40, 60)), plane(40, 60)
    scores[10:20, 10:30] = 1
    cloud[10:20, 10:20] = 0
    (region,) = find_regions(scores, 0.5, cloud)
    assert region.unmeasured == 100 and region.area_mm2 == pytest.approx(200 * 0.25)
    cloud[10:20, 10:30] = 0
    (region,) = find_regions(scores, 0.5, cloud)
    assert region.unmeasured == 200 and region.area_mm2 == pytest.approx(200 * 0.25)
    (region,) = find_regions(scores, 0.5, np.zeros((40, 60, 3)))
    assert region.area_mm2 is None


def test_pixels_with_nan_are_not_measured():
    cloud = plane(4, 5)
    cloud[0, 0], cloud[1, 1, 2], cloud[2, 2] = 0, np.nan, np.inf
    assert not {(0, 0), (1, 1), (2, 2)} & set(zip(*np.nonzero(measured_pixels(cloud))))
    assert measured_pixels(cloud).sum() == 17
    assert np.isnan(pixel_areas(cloud)[1, 1]) and np.isnan(pixel_areas(np.zeros((1, 3, 3)))).all()
