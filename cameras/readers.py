"""Reads what cameras save: depth images, organised point clouds and arrays, in the file's own unit.

Libraries read the formats: pypcd4 PCD, trimesh PLY, tifffile tiff, Pillow PNG. This module finds out what the numbers
mean: depth or points, and which size the image has. Formats:
https://pointclouds.org/documentation/tutorials/pcd_file_format.html, http://paulbourke.net/dataformats/ply/.
"""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image

from cameras.intrinsics import same_aspect
from common.errors import InputError
from data.organised_clouds import channels_last
from data.rays import are_transposed, rays_of

ALL_PIXELS = "save it with all pixels, NaN where nothing was measured"


class Scan(NamedTuple):
    """The content of a file, in its own unit and type."""

    values: np.ndarray  # depth [H, W], organised points [H, W, 3], or points without an image size [N, 3]
    colours: np.ndarray | None = None  # uint8, [H, W, 3] or [N, 3], if the file has them
    notes: tuple = ()  # texts on what was assumed


def read_scan(path):
    """The Scan in a depth image or a point cloud; the suffix decides the format.
    Raises InputError: the file cannot be read, or it contains neither depth nor points."""
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: no format of depth or points; known are {', '.join(READERS)}")
    try:
        with np.errstate(all="ignore"):
            return reader(path)
    except InputError:
        raise
    except Exception as error:  # the libraries raise many types for damaged files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        kind = path.suffix[1:].upper()
        raise InputError(
            f"{path}: cannot be read as {kind} ({reason}); the file is damaged or of another kind: save it again"
        ) from None


def organise(path, scan, size):
    """The Scan with points [N, 3] arranged as an image, row by row or column by column, as the rays of the camera say;
    where rows and columns are exchanged, they are put right.

    ``path``: for messages; ``size``: (height, width) of the sensor, or of the picture; None if not known.
    Raises InputError: the cloud is unorganised.
    """
    if scan.values.ndim == 3:
        return _exchanged_back(scan, size)
    if scan.values.shape[1] != 3 or scan.values.dtype.kind != "f":
        return scan
    count = len(scan.values)
    mend = f"{ALL_PIXELS}, as PCD with WIDTH and HEIGHT or .npy of height × width × 3, or save the depth image"
    if size is None or size[0] * size[1] != count:
        fits = "" if size is None else f", and {count} is not {size[0]}×{size[1]} pixels"
        mend += ", or say --size WIDTH HEIGHT" if size is None else ""
        raise InputError(f"{path}: is unorganised: {count} points without height and width{fits}; {mend}")
    words = {_by_row: "row by row", _by_column: "column by column"}
    ways = [(order, shape) for shape in dict.fromkeys((tuple(size), tuple(size[::-1]))) for order in words]
    seen = next((way for way in ways if _has_rays(way[0](scan.values, way[1]))), None)
    if seen is None:
        raise InputError(f"{path}: is unorganised: {count} points, not on a camera's rays in their order; {mend}")
    order, shape = seen
    note = f"points without a size are taken {words[order]} as {shape[0]}×{shape[1]} pixels"
    colours = None if scan.colours is None else order(scan.colours, shape)
    return Scan(order(scan.values, shape), colours, (*scan.notes, note))


def _exchanged_back(scan, size):
    """``scan`` with rows and columns exchanged, if its rays ask for it and the picture, of ``size``, still fits."""
    values = scan.values
    turned = (values.shape[1], values.shape[0])
    fits = size is not None and same_aspect(size, values.shape[:2]) and not same_aspect(size, turned)
    if fits or not are_transposed(values, _there(values)):
        return scan
    colours = None if scan.colours is None else scan.colours.transpose(1, 0, 2)
    note = f"rows and columns are exchanged: the scan is taken as {turned[0]}×{turned[1]} pixels"
    return Scan(values.transpose(1, 0, 2), colours, (*scan.notes, note))


def _has_rays(points):
    return rays_of(points, _there(points)) is not None


def _there(points):
    return np.isfinite(points).all(2) & points.any(2)


def _by_row(array, size):
    return array.reshape(*size, 3)


def _by_column(array, size):
    return array.reshape(*size[::-1], 3).transpose(1, 0, 2)


def _read_pcd(path):
    from pypcd4 import PointCloud  # imported here, since it takes half a second and only PCD files need it

    cloud = PointCloud.from_path(path)
    data, size = cloud.pc_data, (cloud.metadata.height, cloud.metadata.width)
    names = {name.lower(): name for name in data.dtype.names}
    if not {"x", "y", "z"} <= set(names):
        fields = ", ".join(data.dtype.names)
        raise InputError(f"{path}: has the fields {fields}, but no x, y and z; save the points, not only attributes")
    points = np.stack([data[names[axis]] for axis in "xyz"], axis=1).astype(np.float64)
    packed = [names[name] for name in ("rgb", "rgba") if name in names and data.dtype[names[name]].itemsize == 4]
    colours = None
    if packed:
        bits = np.ascontiguousarray(data[packed[0]]).view(np.uint32)
        colours = np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], axis=1).astype(np.uint8)
    return _sized(path, points, colours, size if size[0] > 1 else None)


def _read_ply(path):
    from trimesh.exchange.ply import load_ply

    logging.getLogger("trimesh").setLevel(logging.CRITICAL)  # it would print an additional, unclear line
    head = _ply_head(path)
    if any(line.startswith("element range_grid") for line in head):
        raise InputError(f"{path}: is a PLY with a range grid, which leaves out points; {ALL_PIXELS}, or as PCD")
    with open(path, "rb") as file:
        content = load_ply(file, fix_texture=False, skip_materials=True)
    points, colours = np.asarray(content["vertices"], np.float64), content.get("vertex_colors")
    if colours is not None:
        colours = np.asarray(colours)[:, :3]
        colours = colours if len(colours) == len(points) and colours.dtype == np.uint8 else None
    return _sized(path, points, colours, _ply_size(head))


def _sized(path, points, colours, size):
    if size is None:
        return Scan(points, colours)
    if size[0] * size[1] != len(points):
        raise InputError(f"{path}: holds {len(points)} points, its head says {size[0]}×{size[1]}; {ALL_PIXELS}")
    return Scan(_by_row(points, size), None if colours is None else _by_row(colours, size))


def _ply_head(path):
    lines = []
    with open(path, "rb") as file:
        for raw in file:
            lines.append(raw.decode("latin-1").strip())
            if lines[-1] == "end_header":
                return lines
            if not lines[0].startswith("ply") or len(lines) > 1000:
                break
    raise InputError(f"{path}: is no PLY: it has no head from ply to end_header; save it again")


def _ply_size(head):
    """(height, width) that the head says as ``num_rows`` and ``num_cols``, or ``height`` and ``width``; else None."""
    words = [line.split() for line in head]
    told = {line[1].lower(): line[2] for line in words if len(line) == 3 and line[0] in ("obj_info", "comment")}
    for rows, columns in (("num_rows", "num_cols"), ("height", "width")):
        if told.get(rows, "").isdigit() and told.get(columns, "").isdigit():
            return int(told[rows]), int(told[columns])
    return None


def _read_tiff(path):
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return _from_array(path, tifffile.imread(path))


def _read_png(path):
    with Image.open(path) as picture:
        mode, values = picture.mode, np.asarray(picture)
    if mode[:1] not in "IF":
        raise InputError(f"{path}: is a picture (mode {mode}), no depth image: save the depth with 16 bits")
    return _from_array(path, values)


def _from_array(path, values):
    """Scan of an array: depth [H, W], or points [H, W, 3 or more], [3, H, W] or [N, 3 or more]."""
    values = values.squeeze() if values.ndim > 3 or 1 in values.shape[-1:] else values
    if values.dtype.kind not in "iuf" or values.dtype.itemsize == 1:
        raise InputError(f"{path}: holds {values.dtype}, no depth or coordinates; save it as float32 or uint16")
    values, notes = channels_last(values)
    if values.ndim == 2 and values.shape[1] in (3, 4, 6, 7) and values.shape[0] > 100:
        values = values[:, :3].astype(np.float64)
    elif values.ndim == 3 and values.shape[2] == 3 or values.dtype.kind == "f":
        values = values.astype(np.float64)
    if values.ndim == 2 or values.ndim == 3 and values.shape[2] == 3:
        return Scan(values, None, notes)
    raise InputError(f"{path}: has shape {values.shape}, expected depth (height, width) or points (height, width, 3)")


READERS = {
    ".pcd": _read_pcd,
    ".ply": _read_ply,
    ".npy": lambda path: _from_array(path, np.load(path, allow_pickle=False)),
    ".tif": _read_tiff,
    ".tiff": _read_tiff,
    ".png": _read_png,
}
