"""Tiny synthetic categories for the tests."""

import zlib
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image


def write_png(path, content):
    """Write an array or a PIL picture; the suffix of the name decides the format."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    (content if isinstance(content, Image.Image) else Image.fromarray(content)).save(path)
    return path


def write_tiff(path, content):
    """Write an array [H, W, C] as one page."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "rgb" if content.shape[-1] == 3 else "minisblack"
    tifffile.imwrite(path, content, photometric=kind, planarconfig="contig")
    return path


def picture(height=60, width=75, seed=0):
    """Random picture [H, W, 3] uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def points(height=60, width=75, seed=0):
    """Random point cloud [H, W, 3] float32 without zeros."""
    return np.random.default_rng(seed).uniform(0.1, 1, (height, width, 3)).astype(np.float32)


def add_part(root, where, name="000", rgb=None, xyz=None, gt=None, category="toy"):
    """Write one part under ``root/category/where``; returns the paths (rgb, xyz, gt or None)."""
    folder, seed = Path(root) / category / where, zlib.crc32(f"{where}/{name}".encode())  # so no two parts are the same
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
    """Write a category with two training parts, a good and a defective test part; returns its folder."""
    add_part(root, "train/good", "000", category=category)
    add_part(root, "train/good", "001", category=category)
    add_part(root, "test/good", "000", gt=np.zeros((60, 75), np.uint8), category=category)
    add_part(root, "test/hole", "000", gt=spot(), category=category)
    return Path(root) / category


def scan(side=64, seed=0, centre=(0.0, 0.0, 0.4), size=0.08, dtype=np.float32):
    """[side, side, 3] coordinates in metres, 0 where nothing was measured: a noisy dome, off the middle, on an empty
    background."""
    rng = np.random.default_rng(seed)
    rows, columns = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    height = 0.2 * np.sqrt(np.clip(0.16 - (columns + 0.05) ** 2 - (1.3 * (rows - 0.04)) ** 2, 0, None))
    cloud = np.stack([columns, rows, -height], -1) * size / 0.8 + centre + rng.normal(0, 1e-4 * size, (side, side, 3))
    return np.where(height[..., None] > 0, cloud, 0).astype(dtype)


def picture_of(cloud, seed=0):
    """A picture [H, W, 3] uint8 that is bright where the cloud has a point, and black elsewhere."""
    rng = np.random.default_rng(seed)
    return np.where(
        cloud.any(2)[..., None], rng.integers(120, 200, cloud.shape), rng.integers(0, 6, cloud.shape)
    ).astype(np.uint8)


def make_scans(root, change=lambda cloud: cloud, train=4, test=2, category="toy", **options):
    """Write a category of scans, each changed by ``change``; returns its folder. The mask of a defective part has
    10 × 10 pixels."""
    for number in range(train + 2 * test):
        where = "train/good" if number < train else "test/good" if number < train + test else "test/hole"
        cloud = scan(seed=number, **options)
        gt = np.zeros(cloud.shape[:2], np.uint8)
        gt[30:40, 30:40] = 255
        mask = gt if "hole" in where else None
        add_part(root, where, f"{number:03d}", picture_of(cloud, number), change(cloud), mask, category)
    return Path(root) / category
