"""A scan as arrays (picture and organised cloud), from files or from a program; its fingerprint; finding parts."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import InputError
from data.organised_clouds import Reading, read_tiff_organized_pc
from data.pairing import is_junk_folder, natural, pair
from data.pictures import read_picture


class Scan(NamedTuple):
    """``rgb`` [H, W, 3] uint8 and ``xyz`` [h, w, 3] float32 metres, 0 where nothing was measured."""

    rgb: np.ndarray
    xyz: np.ndarray


class PartFiles(NamedTuple):
    """The files of one part. ``name``: the picture's path with slashes, relative to the folder that was searched."""

    name: str
    rgb: Path
    xyz: Path
    gt: Path | None = None


def read_scan(rgb_path, xyz_path, reading=Reading()):
    """The Scan in two files, which are read as in a run.

    Raises:
        InputError: a file cannot be read; the message names it.
    """
    rgb = np.asarray(read_picture(rgb_path, "RGB", reading.picture_bits))
    return Scan(rgb, read_tiff_organized_pc(xyz_path, reading)[0])


def checked_arrays(rgb, xyz):
    """Picture and cloud as numpy arrays, [H, W, 3] uint8 and [h, w, 3].

    Raises:
        InputError: an array has another shape, or the picture another type.
    """
    rgb, xyz = np.asarray(rgb), np.asarray(xyz)
    for array, name in ((rgb, "picture"), (xyz, "cloud")):
        if array.ndim != 3 or array.shape[2] != 3 or not array.size:
            raise InputError(f"the {name} has shape {array.shape}, expected height × width × 3")
    if rgb.dtype != np.uint8:
        raise InputError(f"the picture holds {rgb.dtype}, expected uint8")
    return rgb, xyz


def scan_of(rgb, xyz):
    """The Scan of two arrays; NaN and infinity in the cloud become 0, background.

    Args:
        rgb: [H, W, 3] uint8.
        xyz: [h, w, 3] numbers, metres.

    Raises:
        InputError: an array has another shape or type.
    """
    rgb, xyz = checked_arrays(rgb, xyz)
    if xyz.dtype.kind not in "fiu":
        raise InputError(f"the cloud holds {xyz.dtype}, expected numbers in metres")
    xyz = xyz.astype(np.float32)
    broken = ~np.isfinite(xyz).all(axis=2, keepdims=True)
    return Scan(np.ascontiguousarray(rgb), np.where(broken, np.float32(0), xyz) if broken.any() else xyz)


def fingerprint(scan):
    """Hexadecimal SHA-256 of a scan's content; it does not depend on the files."""
    digest = hashlib.sha256(repr((scan.rgb.shape, scan.xyz.shape)).encode())
    digest.update(np.ascontiguousarray(scan.rgb).data)
    digest.update(np.ascontiguousarray(scan.xyz + np.float32(0)).data)  # -0 becomes 0
    return digest.hexdigest()


def find_parts(folder, with_masks=False):
    """[PartFiles] of all parts in folders ``rgb`` and ``xyz`` that lie side by side, at any depth below ``folder``; in
    natural order of their names.

    Args:
        with_masks: look for masks in the folder ``gt`` beside them.

    Raises:
        InputError: the folder is missing or holds no part, or files do not pair.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; give one with rgb/ and xyz/ in it or below it")
    parts = []
    for place in sorted({path.parent for path in folder.rglob("rgb") if path.is_dir()}):
        if any(is_junk_folder(name) for name in place.relative_to(folder).parts):
            continue
        found = pair(place, with_masks and (place / "gt").is_dir())
        if found.problems:
            more = f" (and {len(found.problems) - 1} more)" if len(found.problems) > 1 else ""
            raise InputError(found.problems[0] + more)
        parts += [PartFiles(part.rgb.relative_to(folder).as_posix(), *part) for part in found.parts]
    if not parts:
        raise InputError(
            f"{folder}: there are no parts in it; rgb/ with pictures and xyz/ with tiffs side by side are "
            "looked for, at any depth"
        )
    return sorted(parts, key=lambda part: natural(part.name))
