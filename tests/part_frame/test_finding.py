"""The table with its noise, and the part: above it, where points are, in the picture, or the whole view."""

import cv2
import numpy as np
import pytest

from part_frame.finding import PICTURE, TABLE, VALID, VIEW, NotFound, find_part, measured
from part_frame.table import find_table
from tests.part_frame.scenes import NOISE, Scan, axes, cut_out, plate, scan


def body(one, shrink=1.0):
    """Pixels on the plate's body, the bump included; ``shrink``: mm from its outline that count for neither."""
    return np.maximum(np.abs(one.at[..., 0]) - 33, np.abs(one.at[..., 1]) - 20) < -shrink


def find(one, way=None):
    return find_part(one.rgb, one.xyz, way)


@pytest.mark.parametrize("noise", [0.02, NOISE, 0.2])
def test_the_table_and_its_noise(noise):
    one = scan(3, 20, noise=noise)
    table = find_table(one.xyz, measured(one.xyz))
    normal = axes()[0]
    along = noise * abs(normal[2])  # the noise is along the line of sight
    assert table.noise == pytest.approx(along, rel=0.1)
    assert np.degrees(np.arccos(np.clip(table.rotation[2] @ normal, -1, 1))) < 0.1
    assert np.abs(np.median(table.coordinates(one.xyz)[~body(one, -4)][:, 2])) < 0.2 * noise


def test_the_table_lies_behind_the_part_even_if_the_part_is_larger():
    one = scan(3, shape=lambda x, y, _: (np.where(np.hypot(x, y) < 55, 6.0, 0.0), x > 99))
    table = find_table(one.xyz, measured(one.xyz))
    top = table.coordinates(one.xyz[60, 80])[2]
    assert (np.hypot(*one.at.reshape(-1, 2).T) < 55).mean() > 0.45 and top == pytest.approx(6, abs=0.3)


def test_no_table_in_a_heap_and_none_in_a_wall():
    draw = np.random.default_rng(0)
    assert find_table(draw.uniform((-50, -50, 200), (50, 50, 400), (5000, 3)), np.ones(5000, bool)) is None
    wall = np.stack([draw.normal(0, 0.05, 5000), *draw.uniform((-50, 200), (50, 400), (5000, 2)).T], 1)
    assert find_table(wall, np.ones(5000, bool)) is None


@pytest.mark.parametrize("angle", [0, 33, 170])
def test_the_part_is_what_lies_above_its_table(angle):
    one = scan(1, angle)
    found = find(one)
    wanted = plate(*np.moveaxis(one.at, 2, 0))[0] > 0
    around = cv2.dilate(wanted.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0  # heights are smoothed before
    assert found.way == TABLE and len(found.pieces) == 1 and found.border == 0
    assert (found.mask & wanted).sum() > 0.99 * wanted.sum() and not (found.mask & ~around).any()


@pytest.mark.parametrize("widths", [8, 12, 20])
def test_a_sheet_of_a_few_noise_widths(widths):
    one = scan(2, 40, thick=widths * NOISE / 4)
    found, wanted = find(one), plate(*np.moveaxis(one.at, 2, 0))[0] > 0
    assert found.way == TABLE and (found.mask & wanted).sum() > 0.85 * wanted.sum()


def test_a_label_without_height_is_seen_in_the_picture():
    one = scan(2, 40, thick=1e-6)
    found, wanted = find(one), plate(*np.moveaxis(one.at, 2, 0))[0] > 0
    assert found.way == PICTURE and (found.mask & wanted).sum() > 0.9 * wanted.sum()
    assert found.mask.sum() < 1.2 * wanted.sum()


def test_cut_out_background_and_a_surface_that_fills_the_view():
    one = cut_out(scan(4, 15))
    found = find(one)
    there = measured(one.xyz)
    assert found.way == VALID and (found.mask & there).sum() > 0.98 * there.sum() and not (found.mask & ~there).any()
    waves = scan(4, shape=lambda x, y, _: (4 + np.sin(x / 9) * np.cos(y / 7), x > 99))
    assert find(waves).way == VIEW and find(waves).mask.all()


def test_nothing_there_is_told():
    empty = scan(5, shape=None)
    with pytest.raises(NotFound, match="nothing lies on the table"):
        find(empty, TABLE)
    with pytest.raises(NotFound, match="points reach to the edges"):
        find(empty, VALID)
    with pytest.raises(NotFound, match="picture shows none"):
        find(empty, PICTURE)
    with pytest.raises(NotFound, match="hardly any point"):
        find(Scan(empty.rgb, np.full_like(empty.xyz, np.nan), empty.at))


def test_pieces_and_the_border():
    two = scan(
        6,
        shape=lambda x, y, d: [a | b if a.dtype == bool else a + b for a, b in zip(plate(x, y - 24), plate(x, y + 24))],
    )
    assert len(find(two).pieces) == 2 and find(two).pieces[1] > 0.8 * find(two).pieces[0]
    assert find(scan(6, shift=(60, 0))).border > 0.05
