"""Tiny synthetic categories for the tests."""

import zlib
from pathlib import Path

import numpy as np

from tools.make_downloads import write_png, write_tiff


def picture(height=60, width=75, seed=0):
    """Random picture [H, W, 3] uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def points(height=60, width=75, seed=0):
    """Random point cloud [H, W, 3] float32 without zeros."""
    return np.random.default_rng(seed).uniform(0.1, 1, (height, width, 3)).astype(np.float32)


def add_part(root, where, name="000", rgb=None, xyz=None, gt=None, category="toy"):
    """Write one part under ``root/category/where``; returns the paths (rgb, xyz, gt or None)."""
    folder, seed = Path(root) / category / where, zlib.crc32(f"{where}/{name}".encode())  # no two parts are the same
    return (
        write_png(folder / "rgb" / f"{name}.png", picture(seed=seed) if rgb is None else rgb),
        write_tiff(folder / "xyz" / f"{name}.tiff", points(seed=seed) if xyz is None else xyz),
        None if gt is None else write_png(folder / "gt" / f"{name}.png", gt),
    )


def spot(height=60, width=75):
    """Mask [H, W] uint8 of 0 and 255 with a defect in its upper left quarter."""
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2, : width // 2] = 255
    return mask


def make_category(root, category="toy"):
    """Two training parts, a good and a defective test part; returns the category's folder."""
    add_part(root, "train/good", "000", category=category)
    add_part(root, "train/good", "001", category=category)
    add_part(root, "test/good", "000", gt=np.zeros((60, 75), np.uint8), category=category)
    add_part(root, "test/hole", "000", gt=spot(), category=category)
    return Path(root) / category
