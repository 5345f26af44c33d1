"""The pinhole camera: intrinsics from the command line or a file, and points from depth.

Pixel (u, v) is column u and row v from 0, with centres at whole numbers. With depth d along the optical axis it shows
the point d · ((u - cx) / fx, (v - cy) / fy, 1). See Hartley and Zisserman, Multiple View Geometry, chapter 6.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from common.errors import InputError

ASPECT_TOLERANCE = 0.02  # images whose aspect ratios differ by less are taken to show the same view
OFF_CENTRE = 0.25  # note a principal point farther from the middle than this share of the image's side
BENT = 1e-3  # note a lens distortion with a larger coefficient


class Intrinsics(NamedTuple):
    """Focal lengths and principal point in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float
    size: tuple | None = None  # (height, width) of the images they are for, if known
    unit: float | None = None  # metres per count of the depth image, if the file says it
    notes: tuple = ()  # texts on what was assumed


def intrinsics_from(words):
    """Intrinsics from the words of ``--intrinsics``: four numbers fx fy cx cy, or one file (see ``read_intrinsics``).
    Raises InputError: the words are neither, or the numbers cannot be a camera's."""
    if len(words) == 1 and not _is_number(words[0]):
        return read_intrinsics(words[0])
    if len(words) != 4 or not all(_is_number(word) for word in words):
        given = " ".join(map(str, words))
        raise InputError(f"--intrinsics {given}: needs four numbers, fx fy cx cy in pixels, or one JSON or YAML file")
    return _checked("--intrinsics", Intrinsics(*map(float, words)))


def read_intrinsics(path):
    """Intrinsics from a JSON or YAML file, with size and depth scale if they are there. Read are, at any depth and in
    any case, fx, fy and cx, cy or ppx, ppy (RealSense, Zivid), ``intrinsic_matrix`` of nine numbers (Open3D), and
    ``K``, ``P`` and ``camera_matrix`` (ROS's camera_info, OpenCV).
    Raises InputError: the file is unreadable, has no intrinsics, or has several that differ."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if path.suffix.lower() == ".json" else _load_yaml(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:150]
        raise InputError(f"{path}: cannot be read as JSON or YAML with a camera's intrinsics ({reason})") from None
    found = {}
    for camera in filter(None, map(_from_node, _nodes(content))):
        found.setdefault(camera[:4], camera)
    if not found:
        looked_for = "fx, fy, cx, cy, or a matrix of nine numbers called K, camera_matrix or intrinsic_matrix"
        raise InputError(f"{path}: has no intrinsics ({looked_for}); give --intrinsics fx fy cx cy")
    if len(found) > 1:
        sizes = [f" for {c.size[0]}×{c.size[1]}" if c.size else "" for c in found.values()]
        shown = "; ".join(" ".join(f"{v:g}" for v in four) + size for four, size in zip(found, sizes))
        mend = "give those of the depth image: --intrinsics fx fy cx cy"
        raise InputError(f"{path}: has the intrinsics of several cameras ({shown}); {mend}")
    camera = next(iter(found.values()))
    if camera.unit is None:
        camera = camera._replace(unit=next(filter(None, map(_depth_unit, _nodes(content))), None))
    return _checked(path, camera)


def fit_to(camera, size, path):
    """``camera`` for a depth image of ``size`` (height, width), scaled if it is for another; ``path``: the image's.
    Raises InputError: the aspect ratios differ, or the principal point lies outside the image."""
    height, width = size
    own = f"has {height}×{width} pixels"
    if camera.size and camera.size != size:
        tall, wide = camera.size
        if not same_aspect(camera.size, size):
            other = f"the intrinsics are for {tall}×{wide}, another aspect"
            raise InputError(f"{path}: {own}, {other}; give those of this image")
        fy, fx = height / tall, width / wide
        cx, cy = (camera.cx + 0.5) * fx - 0.5, (camera.cy + 0.5) * fy - 0.5
        notes = (*camera.notes, f"intrinsics for {tall}×{wide} are scaled to {height}×{width}")
        camera = Intrinsics(camera.fx * fx, camera.fy * fy, cx, cy, size, camera.unit, notes)
    point = f"the principal point ({camera.cx:g}, {camera.cy:g})"
    if not (0 < camera.cx < width and 0 < camera.cy < height):
        mend = "give --intrinsics fx fy cx cy of this image, in pixels"
        raise InputError(f"{path}: {own}, {point} lies outside; {mend}")
    if abs(camera.cx / width - 0.5) > OFF_CENTRE or abs(camera.cy / height - 0.5) > OFF_CENTRE:
        text = f"{point} lies far off the middle of {height}×{width}: are the intrinsics this image's?"
        camera = camera._replace(notes=(*camera.notes, text))
    return camera


def same_aspect(size, other):
    """Whether the aspect ratios of two sizes (height, width) differ by less than 2 %."""
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1) < ASPECT_TOLERANCE


def points_from_depth(depth, camera):
    """Points [H, W, 3] float64 of a depth image [H, W], in the image's unit; a depth of NaN gives NaN."""
    depth = np.asarray(depth, np.float64)
    u, v = np.arange(depth.shape[1]), np.arange(depth.shape[0])[:, None]
    return np.stack([(u - camera.cx) / camera.fx * depth, (v - camera.cy) / camera.fy * depth, depth], axis=-1)


def _load_yaml(text):
    """First document of a YAML file; OpenCV's dialect is understood too."""
    lines = [line.replace("!!opencv-matrix", "") for line in text.splitlines() if not line.startswith("%YAML:")]
    return next((document for document in yaml.safe_load_all("\n".join(lines)) if document is not None), None)


def _nodes(content):
    """Yield all dictionaries in ``content``, outer ones first."""
    if isinstance(content, dict):
        yield content
    for child in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _nodes(child)


def _from_node(node):
    low = {str(name).lower(): value for name, value in node.items()}
    size = _first(low, "height", "image_height"), _first(low, "width", "image_width")
    common = {"size": (int(size[0]), int(size[1])) if all(size) else None, "unit": _depth_unit(node)}
    four = [_first(low, *names) for names in (("fx",), ("fy",), ("cx", "ppx"), ("cy", "ppy"))]
    names = ("d", "coeffs", "distortion_coefficients", "dist_coeffs", "distortion")
    bend = next(filter(None, (_numbers(low.get(name)) for name in names)), [0.0])
    if max(map(abs, bend)) > BENT:
        common["notes"] = ("the lens distortion is not removed: give rectified images",)
    if None not in four:
        return Intrinsics(*four, **common)
    matrix = next(filter(None, (_nine(low.get(n)) for n in ("k", "camera_matrix", "intrinsic_matrix", "matrix"))), None)
    if matrix is None:
        return None
    projection = _numbers(low.get("p", low.get("projection_matrix")), 12)
    if any(bend) and projection and projection[0]:
        # depth images of ROS are rectified: P belongs to them, and K to the raw images
        text = "the intrinsics are those of rectified images (P); raw images would need their distortion removed"
        common["notes"] = (text,)
        return Intrinsics(projection[0], projection[5], projection[2], projection[6], **common)
    return Intrinsics(matrix[0], matrix[4], matrix[2], matrix[5], **common)


def _nine(value):
    numbers = _numbers(value, 9)
    if numbers and numbers[2] == 0 and numbers[6] != 0:  # column by column, as Open3D writes it
        numbers = [numbers[3 * column + row] for row in range(3) for column in range(3)]
    return numbers if numbers and numbers[0] and numbers[8] == 1 else None


def _numbers(value, count=None):
    """The numbers (``count``, if it is given) of a list, of a list of lists or of {"data": list}; else None."""
    value = value.get("data") if isinstance(value, dict) else value
    try:
        numbers = np.ravel(np.asarray(value, np.float64)).tolist() if isinstance(value, list) else []
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if len(numbers) == (count or len(numbers)) and np.isfinite(numbers).all() else None


def _depth_unit(node):
    """Metres per count from a dictionary's depth_scale or depth_units, or None; values above 1 are counts per metre."""
    low = {str(name).lower(): value for name, value in node.items()}
    scale = _first(low, "depth_scale", "depth_units", "depth_unit")
    return None if not scale or scale < 0 else 1 / scale if scale > 1 else scale


def _first(low, *names):
    found = (low.get(name) for name in names)
    return next((float(v) for v in found if _is_number(v) and not isinstance(v, bool)), None)


def _is_number(text):
    try:
        return bool(np.isfinite(float(text)))
    except (TypeError, ValueError):
        return False


def _checked(where, camera):
    fx, fy, cx, cy = camera[:4]
    if fx <= 0 or fy <= 0 or not 0.2 < fx / fy < 5:
        raise InputError(f"{where}: fx {fx:g} and fy {fy:g} are no focal lengths in pixels; the order is fx fy cx cy")
    if cx < 2 or cy < 2:
        raise InputError(f"{where}: cx {cx:g} and cy {cy:g} are no principal point in pixels; the order is fx fy cx cy")
    return camera
