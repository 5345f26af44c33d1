"""A scan as arrays (picture and organised cloud), from files or from a program; its fingerprint; finding parts."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import InputError
from data.folders import walk
from data.organised_clouds import Cloud, Reading, read_cloud, to_metres
from data.pairing import natural, pair
from data.pictures import Picture, load_picture, to_8_bits

NO_PARTS = "there are no parts in it; rgb/ with pictures and xyz/ with tiffs side by side are looked for, at any depth"
LACKING = ("there is no picture of it yet", "there is no cloud yet", "there is no mask yet")  # in the order of Part


class Scan(NamedTuple):
    """``rgb`` [H, W, 3] uint8 and ``xyz`` [h, w, 3] float32 metres, 0 where nothing was measured."""

    rgb: np.ndarray
    xyz: np.ndarray


class Contents(NamedTuple):
    """What the files of a part hold, before anything is made of it; ``cloud``: None where none is read."""

    picture: Picture
    cloud: Cloud | None


class Scans(NamedTuple):
    """What was found below a folder."""

    parts: tuple  # PartFiles of the parts that have all of their files, in natural order of their names
    incomplete: dict  # {path of a part's file: what it lacks}
    unreadable: tuple  # texts that name folders which cannot be read


class PartFiles(NamedTuple):
    """The files of one part. ``name``: the picture's path with slashes below the folder that was searched."""

    name: str
    rgb: Path
    xyz: Path | None  # None: it is not read
    gt: Path | None = None


def read_scan(rgb_path, xyz_path, reading=Reading()):
    """The Scan in two files, read as in a run; without ``xyz_path`` nothing is measured at any pixel.
    Raises InputError: a file cannot be read; the message names it."""
    return scan_in(read_contents(rgb_path, xyz_path, reading), rgb_path, reading)


def read_contents(rgb_path, xyz_path, reading=Reading()):
    """The Contents of two files, the latter perhaps None; errors as :func:`read_scan`."""
    picture = load_picture(rgb_path)
    return Contents(picture, None if xyz_path is None else read_cloud(xyz_path, reading.unit != "m"))


def scan_in(contents, rgb_path, reading=Reading()):
    """The Scan in Contents, see :func:`read_scan`; ``rgb_path``: for the message.
    Raises InputError: the picture holds floating-point values."""
    rgb = np.asarray(to_8_bits(contents.picture, "RGB", rgb_path, reading.picture_bits))
    return Scan(rgb, np.zeros(rgb.shape, np.float32) if contents.cloud is None else to_metres(contents.cloud, reading))


def checked_arrays(rgb, xyz):
    """Picture and cloud as numpy arrays, [H, W, 3] uint8 and [h, w, 3].
    Raises InputError: an array has another shape, or the picture another type."""
    rgb, xyz = np.asarray(rgb), np.asarray(xyz)
    for array, name in ((rgb, "picture"), (xyz, "cloud")):
        if array.ndim != 3 or array.shape[2] != 3 or not array.size:
            raise InputError(f"the {name} has shape {array.shape}, expected height × width × 3")
    if rgb.dtype != np.uint8:
        raise InputError(f"the picture holds {rgb.dtype}, expected uint8")
    return rgb, xyz


def scan_of(rgb, xyz):
    """The Scan of ``rgb`` [H, W, 3] uint8 and ``xyz`` [h, w, 3] in metres, whose NaN and infinity become 0, background.
    Raises InputError: an array has another shape or type."""
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


def find_scans(folder, with_masks=False, with_clouds=True) -> Scans:
    """The Scans in folders ``rgb`` and ``xyz`` side by side, at any depth below ``folder``, links included.
    ``with_masks``: look for ``gt`` beside them; without ``with_clouds``, ``xyz`` may be missing.
    Raises InputError: ``folder`` is no folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; give one with rgb/ and xyz/ in it or below it")
    tree, parts, incomplete = walk(folder), [], {}
    for place in sorted({path.parent for path in tree.folders if path.name in ("rgb", "xyz") and path != folder}):
        found = pair(place, with_masks and (place / "gt").is_dir(), with_clouds)
        for part in found.incomplete:
            lacks = [
                text for path, text, of in zip(part, LACKING, (True, with_clouds, with_masks)) if path is None and of
            ]
            incomplete[next(path for path in part if path)] = " and ".join(lacks) or found.problems[0]
        if found.problems and not found.incomplete:
            incomplete[place] = found.problems[-1]
        parts += [PartFiles(part.rgb.relative_to(folder).as_posix(), *part) for part in found.parts]
    return Scans(tuple(sorted(parts, key=lambda part: natural(part.name))), incomplete, tree.unreadable)


def find_parts(folder, with_masks=False, with_clouds=True):
    """[PartFiles] as :func:`find_scans` finds them.
    Raises InputError: the folder is missing, cannot be read or holds no part, or a part lacks a file."""
    found = find_scans(folder, with_masks, with_clouds)
    if found.unreadable:
        raise InputError(found.unreadable[0])
    if found.incomplete:
        path, reason = next(iter(found.incomplete.items()))
        more = f" (and {len(found.incomplete) - 1} more)" if len(found.incomplete) > 1 else ""
        raise InputError(f"{path}: {reason}{more}")
    if not found.parts:
        raise InputError(f"{folder}: {NO_PARTS}")
    return list(found.parts)
