"""Generated scans of parts on a tilted table, seen by a pinhole camera: 120×160 pixels, 1 mm apart."""

from functools import cache
from typing import NamedTuple

import numpy as np

from part_frame.placement import learn
from part_frame.reference import PlaceReference

SIZE, FOCAL, DISTANCE = (120, 160), 300.0, 300.0  # pixels, pixels, mm
TILT = 0.06, -0.04  # slope of the table along columns and rows
NOISE = 0.05  # mm
TABLE, BODY, PRINT = (96, 116, 128), (190, 140, 90), (60, 52, 66)
THICK, DENT = 4.0, 0.8  # mm
HOLE = (16.0, -8.0, 5.0)  # x, y, radius
PLACES = {"dent": (-4, -9), "stain": (0, 10), "missing": (-4, -9), "extra": (0, 25), "cut": (-30, 0)}  # of defects


class Scan(NamedTuple):
    """``rgb`` [H, W, 3] uint8, ``xyz`` [H, W, 3] mm with NaN where nothing was measured; ``at`` [H, W, 2]: the place on
    the part, mm, that each pixel shows."""

    rgb: np.ndarray
    xyz: np.ndarray
    at: np.ndarray


def plate(x, y, defects=()):
    """(heights in mm, inked) of a plate with a cut corner, a bump, a hole and a cross in print, at the plate's mm."""
    body = (np.abs(x) < 33) & (np.abs(y) < 20) & (x + y < 42)
    if "extra" in defects:
        body |= (np.abs(x) < 5) & (y >= 20) & (y < 29)
    if "cut" in defects:
        body &= x > -27
    hole = np.hypot(x - HOLE[0], y - HOLE[1]) < HOLE[2]
    bump = np.clip(1 - (np.hypot(x + 18, y - 5) / 8) ** 2, 0, None)
    height = np.where(body & ~hole, THICK + 4 * bump, 0)
    if "dent" in defects:
        height = height - np.where(body & ~hole & (_away(x, y, "dent") < 4.5), DENT, 0)
    arms = (np.abs(x - 15), np.abs(y - 8))
    inked = (np.maximum(*arms) < 5) & (np.minimum(*arms) < 1.5)
    return height, inked


def hexagon(x, y, defects=()):
    """A plate with six equal bosses; two marks in print near one of them alone tell its six poses apart."""
    angle = np.deg2rad(60 * np.arange(6))
    away = np.max([x * np.cos(a) + y * np.sin(a) for a in angle], 0)
    height = np.where(away < 27, THICK, 0.0)
    for a in angle:
        height += 2.5 * np.clip(1 - (np.hypot(x - 17 * np.cos(a), y - 17 * np.sin(a)) / 5) ** 2, 0, None)
    return height, (np.hypot(x - 6, y - 1) < 3) | (np.hypot(x - 16, y - 7) < 2.5)


def scan(seed=0, angle=0.0, shift=(0.0, 0.0), shape=plate, defects=(), thick=1.0, light=1.0, noise=NOISE, distance=1.0):
    """A Scan of one part turned counter-clockwise by ``angle`` degrees and shifted by mm.

    ``defects``: of "dent", "stain", "missing", "extra", "cut"; ``thick``: factor of all heights; ``shape``: None: the
    table alone; ``light``: factor of the picture, beside the part too; ``distance``: factor of the camera's distance.
    """
    draw = np.random.default_rng(seed)
    rays = _rays(SIZE)
    normal, across, along = axes()
    origin = np.array([0, 0, DISTANCE * distance])
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    height, inked, stained, lost = (np.zeros(SIZE) for _ in range(4))
    for _ in range(5 if shape else 1):  # the height at the place that a ray meets, which depends on the height
        depth = (origin @ normal + height) / (rays @ normal)
        points = rays * depth[..., None]
        x, y = (points - origin) @ across - shift[0], (points - origin) @ along - shift[1]
        x, y = cosine * x - sine * y, sine * x + cosine * y
        if shape:
            height, inked = shape(x, y, defects)
            height = thick * height
    if "stain" in defects:
        stained = (_away(x, y, "stain") < 4) & (height > 0)
    if "missing" in defects:
        lost = _away(x, y, "missing") < 4
    picture = np.where(height[..., None] > 0, BODY, TABLE) * (1.0 + 0.004 * draw.normal(size=SIZE))[..., None]
    picture = np.where((inked > 0)[..., None] & (height[..., None] > 0), PRINT, picture)
    picture = np.where(stained[..., None] > 0, picture * (0.8, 0.7, 0.5), picture)
    depth = depth + noise * draw.normal(size=SIZE)
    xyz = np.where(lost[..., None] > 0, np.nan, rays * depth[..., None])
    picture = light * picture + 1.5 * draw.normal(size=picture.shape)
    return Scan(np.clip(np.rint(picture), 0, 255).astype(np.uint8), xyz, np.dstack([x, y]))


def good(count, first=0, turn=0.0, **options):
    """``count`` Scans of good parts, each shifted by up to 4 mm and turned by up to ``turn`` degrees either way."""
    draw = np.random.default_rng(1000 + first)
    return [
        scan(first + k, draw.uniform(-turn, turn), draw.uniform(-4, 4, 2), light=draw.uniform(0.97, 1.03), **options)
        for k in range(count)
    ]


def cut_out(one):
    """The same Scan as data sets have it whose background was cut out: no point and no colour beside the part."""
    normal = axes()[0]
    above = (one.xyz - (0, 0, DISTANCE)) @ normal > THICK / 2
    rgb, xyz = (np.where(above[..., None], a, other) for a, other in ((one.rgb, 0), (one.xyz, np.nan)))
    return Scan(rgb.astype(np.uint8), xyz, one.at)


@cache
def learned(count, cells=96, **options):
    """(the Scans of ``good``, Placement, [Pose]) of that many good parts, learned once."""
    scans = good(count, **options)
    placement, placed, lost = learn(lambda: [(k, *of[:2]) for k, of in enumerate(scans)], cells, 2 * cells)
    assert not lost
    return scans, placement, [pose for _, _, pose in placed]


@cache
def reference(count, **options):
    """(Placement, PlaceReference) of that many good parts."""
    scans, placement, poses = learned(count, **options)
    made = PlaceReference()
    for one, pose in zip(scans, poses):
        made.add(placement.place(one.rgb, one.xyz, pose).appearance)
    made.finish()
    return placement, made


def _away(x, y, defect):
    return np.hypot(x - PLACES[defect][0], y - PLACES[defect][1])


def _rays(size):
    rows, columns = np.indices(size)
    row, column = ((a - (n - 1) / 2) / FOCAL for a, n in ((rows, size[0]), (columns, size[1])))
    return np.dstack([column, row, np.ones(size)])


def axes():
    """Unit vectors: the table's normal towards the camera, its x along the columns, its y along the rows."""
    normal = np.array([TILT[0], TILT[1], -1.0])
    normal /= np.linalg.norm(normal)
    across = np.array([1.0, 0, 0]) - normal[0] * normal
    across /= np.linalg.norm(across)
    return normal, across, np.cross(across, normal)
