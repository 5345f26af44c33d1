"""Laying keeps millimetres, whatever the tilt, the turn and the pixels."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from part_frame.finding import find_part, measured
from part_frame.frame import Frame, Pose, coordinates, lay, spacing_of
from tests.part_frame.scenes import plate, scan

SIDE, FRAME = 40.0, Frame(96, 0.75, 1.0)
TURNS = st.floats(-180, 180)


def square(x, y, _):
    return np.where((np.abs(x) < SIDE / 2) & (np.abs(y) < SIDE / 2), 5.0, 0.0), np.hypot(x - 10, y) < 3


def staged(one):
    """(places, mask, middle as a Pose) of a scan."""
    found = find_part(one.rgb, one.xyz)
    places = coordinates(one.xyz, found, measured(one.xyz))
    return places, found.mask, Pose(*np.nanmean(places[found.mask], 0)[:2].tolist())


@settings(max_examples=10, deadline=None)
@given(TURNS, st.floats(-8, 8))
def test_a_square_keeps_its_size_and_its_height(angle, shift):
    assume(abs((angle + 45) % 90 - 45) > 1)  # else a whole row of the scan's pixels, 1 mm, lies on an edge or beside it
    places, mask, middle = staged(scan(1, angle, (shift, -shift), square))
    laid = lay(places, mask, FRAME, middle._replace(angle=angle))
    inside = laid.height > 2.5
    assert inside.sum() * FRAME.pitch**2 == pytest.approx(SIDE**2, rel=0.04)
    for axis in (0, 1):  # turned by its own angle it lies straight, so that rows and columns have its length
        extent = np.count_nonzero(inside.sum(axis) > 20) * FRAME.pitch
        assert extent == pytest.approx(SIDE, abs=1.6 * FRAME.pitch)
    middle = np.s_[40:56, 40:56]
    assert np.nanmedian(laid.height[middle]) == pytest.approx(5.0, abs=0.05) and laid.part[middle].all()


@settings(max_examples=10, deadline=None)
@given(TURNS)
def test_a_cell_knows_the_pixel_that_shows_it(angle):
    one = scan(2, angle)
    places, mask, middle = staged(one)
    laid = lay(places, mask, FRAME, middle._replace(angle=17.0))
    rows, columns = (np.rint(a[laid.part]).astype(int) for a in (laid.row, laid.column))
    assert np.median(np.abs(places[rows, columns, 2] - laid.height[laid.part])) < 0.1
    picture = laid.picture(one.rgb, 96, mask.shape)
    inked = plate(*np.moveaxis(one.at[rows, columns], 1, 0))[1]
    dark = picture[laid.part].mean(1) < 100
    assert (dark == inked)[plate(*np.moveaxis(one.at[rows, columns], 1, 0))[0] > 0].mean() > 0.96


@settings(max_examples=10, deadline=None)
@given(st.integers(-20, 20), st.integers(-20, 20))
def test_whole_pixels_do_not_change_the_heights(rows, columns):
    places, mask, middle = staged(scan(3))
    moved = [np.roll(a, (rows, columns), (0, 1)) for a in (places, mask)]
    laid, again = lay(places, mask, FRAME, middle), lay(*moved, FRAME, middle)
    assert np.array_equal(laid.height, again.height, equal_nan=True) and np.array_equal(laid.part, again.part)
    assert np.allclose(again.row[laid.part], laid.row[laid.part] + rows, atol=1e-3)
    assert np.allclose(again.column[laid.part], laid.column[laid.part] + columns, atol=1e-3)


def test_the_distance_between_points():
    for distance in (1.0, 1.3):
        places, mask, _ = staged(scan(4, distance=distance, noise=0.0))
        assert spacing_of(places, mask) == pytest.approx(distance * (300 - 4 / distance) / 300, rel=0.02)
