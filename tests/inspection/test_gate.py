"""The gate: scans that cannot be judged are named with the reason; parts that are wrong are judged."""

import numpy as np
import pytest
from scipy import ndimage

from data.scans import Scan
from data.units import measure
from inspection.gate import check, dead_sensor
from part_frame.light import light_of_view, usual

PITCH = 0.0005  # metres a pixel


def scan(seed=0, size=200, half=(30, 15), shift=(0.0, 0.0), depth=0.4, missing=0.04, light=1.0, blur=0.0, background=0):
    """A flat reddish rectangle of 2·half mm on a plain background."""
    rng, pitch = np.random.default_rng(seed), PITCH * 200 / size
    rows, columns = (np.mgrid[:size, :size] - size / 2 + 0.5) * pitch
    part = (np.abs(columns - shift[0] / 1000) < half[0] / 1000) & (np.abs(rows - shift[1] / 1000) < half[1] / 1000)
    grey = 120 + 25 * ndimage.zoom(rng.normal(size=(50, 50)), size / 50, order=1) + 3 * rng.normal(size=(size, size))
    grey = ndimage.gaussian_filter(grey, blur) if blur else grey
    rgb = np.where(part[..., None], np.clip(grey * light, 1, 255)[..., None] * [1, 0.9, 0.7], background)
    cloud = np.dstack([columns, rows, depth + rng.normal(scale=0.00005, size=part.shape)])
    there = part & (rng.random(part.shape) >= missing)
    return Scan(rgb.astype(np.uint8), np.where(there[..., None], cloud, 0).astype(np.float32))


LIGHT = usual([light_of_view(scan(seed).rgb) for seed in range(6)])
POINTS = measure(scan(missing=0).xyz[scan(missing=0).xyz.any(2)])


def checked(rgb, xyz):
    return check(Scan(rgb, xyz), True, LIGHT, (POINTS.extent, POINTS.distance))


ONE_POINT = np.broadcast_to(np.float32([0.1, 0.1, 0.4]), (200, 200, 3))


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda rgb, xyz: (0 * rgb, xyz), "the picture is black: camera or light is off: rescan"),
        (lambda rgb, xyz: (0 * rgb + 255, xyz), "one colour only"),
        (lambda rgb, xyz: (rgb, 0 * xyz), "the cloud is empty (0 points)"),
        (lambda rgb, xyz: (rgb, xyz * np.nan), "the cloud is empty"),
        (lambda rgb, xyz: (rgb, ONE_POINT), "all points of the cloud are one"),
        (lambda rgb, xyz: (0 * rgb, 0 * xyz), "camera or light is off; the cloud is empty"),
        (lambda rgb, xyz: (rgb, xyz * 1000), "1,000 times as large as those of the training parts"),
        (lambda rgb, xyz: (rgb[..., ::-1], xyz), "red and blue of the picture are exchanged"),
        (lambda rgb, xyz: (np.repeat(rgb[..., :1], 3, 2), xyz), "the picture has no colour"),
        (lambda rgb, xyz: (rgb // 16, xyz), "times as dark as in training"),
        (lambda rgb, xyz: (np.clip(rgb * 2.5, 0, 255).astype(np.uint8), xyz), "% of the part are overexposed"),
    ],
)
def test_what_cannot_be_judged_is_named(change, words):
    assert words in checked(*change(*scan(7)))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"missing": 0.41},
        {"shift": (15, 5)},
        {"depth": 0.43},
        {"half": (30, 4)},
        {"half": (12, 15)},
        {"light": 0.5},
        {"light": 1.5},
        {"blur": 3},
        {"background": 50},
    ],
)
def test_a_part_that_is_wrong_or_lies_elsewhere_is_judged(change):
    assert checked(*scan(8, **change)) == ""


def test_another_colour_is_a_defect():
    rgb, xyz = scan(9)
    assert checked((rgb * [0.4, 1, 1]).astype(np.uint8), xyz) == ""


def test_a_few_points_between_those_of_a_coarse_grid():
    rgb, xyz = scan(size=600)
    few = np.zeros_like(xyz)
    few[301, 300:340] = xyz[301, 300:340]
    assert dead_sensor(rgb, few) == ""
