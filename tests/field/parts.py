"""Made-up recordings of a part with two domes on a tilted table, as a pinhole camera delivers them or as the layout."""

import json
import os
from pathlib import Path

import numpy as np

from tests.make_data import write_png as save
from tests.make_data import write_tiff

SIZE, FOCAL = (120, 160), 300.0  # pixels; the focal length goes with 120 rows
DOMES = ((-10, 8, 26, 30), (25, -16, 13, 14))  # middle and radius in pixels of 120 rows, height in mm


def part(seed, size=SIZE, dented=False, table=True):
    """(picture [H, W, 3] uint8, depth [H, W] in mm with NaN where nothing was measured, defect [H, W] bool)."""
    rng, scale = np.random.default_rng(seed), min(size) / 120
    rows, columns = np.mgrid[: size[0], : size[1]]
    x, y = (columns - size[1] / 2) / scale, (rows - size[0] / 2) / scale
    depth = 450 + 0.05 * x + 0.03 * y
    shift, picture, body = rng.uniform(-4, 4, 2), np.full((*size, 3), (150.0, 158.0, 170.0)), np.zeros(size, bool)
    for left, top, radius, height in DOMES:
        away = np.hypot(x - left - shift[0], y - top - shift[1]) / radius
        bulge = np.sqrt(np.clip(1 - away**2, 0, None))
        depth -= height * bulge
        picture[away < 1] = (np.array((214, 120, 60)) * (0.5 + 0.5 * bulge[..., None]))[away < 1]
        body |= away < 1
    defect = np.hypot(x + 18 - shift[0], y - 10 - shift[1]) < (7 if dented else 0)
    depth[defect] += 3
    picture[defect] *= 0.6
    depth += rng.normal(0, 0.05, size)
    if not table:
        depth[~body] = np.nan
    picture = picture * rng.uniform(0.94, 1.06) + rng.normal(0, 3, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), depth, defect


def points_of(depth):
    """Points [H, W, 3] in mm of a depth image [H, W] in mm."""
    rows, columns = np.indices(depth.shape)
    focal = FOCAL * min(depth.shape) / 120
    x, y = ((at - side / 2 + 0.5) / focal for at, side in zip((columns, rows), depth.shape[::-1]))
    return np.stack([x * depth, y * depth, depth], -1)


def save_depth(path, depth, count=1.0):
    """Write depth in mm as a PNG of 16 bits; ``count``: mm of one count."""
    return save(path, np.rint(np.nan_to_num(depth) / count).astype(np.uint16))


def save_camera(path, size=SIZE, **more):
    """Write the camera's intrinsics as JSON."""
    focal = FOCAL * min(size) / 120
    content = dict(fx=focal, fy=focal, cx=size[1] / 2 - 0.5, cy=size[0] / 2 - 0.5, width=size[1], height=size[0])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps({**content, **more}))


def record(folder, names=("000", "001", "002"), picture="{}_color.png", depth="{}_depth.png", count=1.0, **options):
    """Write a recording of depth images into ``folder`` and the camera beside it; returns {name: defect}."""
    save_camera(Path(folder).parent / "camera.json")
    defects = {}
    for seed, name in enumerate(names):
        rgb, mm, defects[name] = part(seed, **options)
        save(Path(folder) / picture.format(name), rgb)
        save_depth(Path(folder) / depth.format(name), mm, count)
    return defects


def add(folder, name, seed, dented=False, metres=0.001, size=SIZE, change=lambda picture: picture, clouds=True):
    """Write one part without its table as rgb/NAME.png, xyz/NAME.tiff and, if ``dented``, gt/NAME.png.

    ``metres``: of one mm. ``change``: what is done to the picture."""
    picture, depth, defect = part(seed, size, dented, table=False)
    picture[np.isnan(depth)] = 0
    save(Path(folder) / "rgb" / f"{name}.png", change(picture))
    if clouds:
        xyz = np.nan_to_num(points_of(depth) * metres).astype(np.float32)
        write_tiff(Path(folder) / "xyz" / f"{name}.tiff", xyz)
    if dented:
        save(Path(folder) / "gt" / f"{name}.png", defect.astype(np.uint8) * 255)


def add_split(folder, first, count, **options):
    """Write ``count`` parts with the seeds from ``first`` on, named 000, 001, …"""
    for n in range(count):
        add(folder, f"{n:03d}", first + n, **options)


def lock(monkeypatch, end):
    """Have folders whose path has this ``end`` refuse to be read."""
    scandir = os.scandir

    def locked(path):
        if str(path).endswith(end):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
