"""Reads the files that cameras save: depth images, organised point clouds and arrays, in the file's own unit.

Libraries read the formats: pypcd4 PCD, trimesh PLY, tifffile tiff, Pillow PNG. This module finds out what the numbers
mean: whether they are depth or points, which size the image has, and where nothing was measured. Formats:
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
from data.rays import are_transposed, rays_of

POINT_NAMES = ("xyz", "points", "point_cloud", "pointcloud", "cloud", "vertices")
DEPTH_NAMES = ("depth", "z")
COLOUR_NAMES = ("rgb", "rgba", "color", "colors", "colour", "colours", "image", "picture")
MARKER_SHARE = 0.01  # share of the pixels: an exact value that fills as much is no surface
FAR = 5.0  # a depth over this many times the largest other depth is no distance
DOUBTFUL = 2.0  # one over this many times is told
# where cameras' ranges end, in counts or in millimetres: all bits of a number, or round
ENDS = {*(2**bits - 1 for bits in range(10, 17)), 10_000, 20_000, 32_000, 50_000, 60_000, 65_000}
ORDERED = 0.2  # largest median step between neighbouring pixels of an ordered cloud, as a share of the cloud's extent
SUFFIXES = (".pcd", ".ply", ".npy", ".npz", ".tif", ".tiff", ".png")


class Scan(NamedTuple):
    """The content of a file, in its own unit and type."""

    values: np.ndarray  # depth [H, W], organised points [H, W, 3], or points without an image size [N, 3]
    colours: np.ndarray | None = None  # uint8, [H, W, 3] or [N, 3], if the file has them
    notes: tuple = ()  # texts on what was assumed


def read_scan(path):
    """Read a depth image or a point cloud; the suffix decides the format.

    Returns:
        Scan. Its values are [H, W] depth, [H, W, 3] points, or [N, 3] points if the file does not give width and
        height.

    Raises:
        InputError: the file cannot be read, or it contains neither depth nor points.
    """
    path = Path(path)
    reader = {
        ".pcd": _read_pcd,
        ".ply": _read_ply,
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".tif": _read_tiff,
        ".tiff": _read_tiff,
        ".png": _read_png,
    }.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: no format of depth or points; known are {', '.join(SUFFIXES)}")
    try:
        with np.errstate(all="ignore"):
            return reader(path)
    except InputError:
        raise
    except Exception as error:  # the libraries raise many types for damaged files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{path}: cannot be read as {path.suffix[1:].upper()} ({reason}); the file is damaged or of another kind: "
            "save it again"
        ) from None


def organise(path, scan, size):
    """Arrange points as an image: [N, 3] row by row or column by column, and rows and columns that are exchanged back.

    The rays of the camera decide on the order; where there are none (points in another frame than the camera's), the
    order that gives a smooth surface is taken, and points with rows and columns stay as they are.

    Args:
        path: for messages.
        scan: Scan of depth or points.
        size: (height, width) of the sensor, or of the image taken with the scan; None if not known.

    Raises:
        InputError: the cloud is unorganised.
    """
    if scan.values.ndim == 3:
        return _exchanged_back(scan, size)
    if not _is_flat(scan.values):
        return scan
    count = len(scan.values)
    mend = (
        "save it organised (PCD with WIDTH and HEIGHT, .npy of height × width × 3, or PLY with all pixels, NaN where "
        "nothing was "
        "measured), or save the depth image instead"
    )
    if size is None or size[0] * size[1] != count:
        fits = "" if size is None else f", and {count} is not {size[0]}×{size[1]} pixels"
        raise InputError(
            f"{path}: is unorganised: {count} points without height and width{fits}; {mend}"
            + (", or say --size WIDTH HEIGHT" if size is None else "")
        )
    words = {_by_row: "row by row", _by_column: "column by column"}
    ways = [(order, shape) for shape in dict.fromkeys((tuple(size), tuple(size[::-1]))) for order in words]
    seen = next((way for way in ways if _has_rays(way[0](scan.values, way[1]))), None)
    if seen is None:
        steps = [_step(order(scan.values, shape)) for order, shape in ways[:2]]
        if not min(steps) <= ORDERED:
            text = f"{count} points, as many as pixels, but not in their order; {mend}"
            raise InputError(f"{path}: is unorganised: {text}")
        seen = ways[int(np.argmin(steps))]
    order, shape = seen
    note = f"points without a size are taken {words[order]} as {shape[0]}×{shape[1]} pixels"
    colours = None if scan.colours is None else order(scan.colours, shape)
    return Scan(order(scan.values, shape), colours, (*scan.notes, note))


def _exchanged_back(scan, size):
    """``scan`` with its rows and columns exchanged, if its rays say that they are; but not if then the picture, of
    ``size``, would not fit any more."""
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


def measured_pixels(values):
    """Find the pixels that were measured.

    A pixel was not measured if it has:

    - NaN or inf, or 0 in all three coordinates;
    - a depth of 0 or less, or the largest number of an unsigned type;
    - a depth at the end of a range (ENDS) that fills at least 1 % of the pixels and is apart from all others;
    - an exact point that fills at least 1 % of the pixels;
    - a depth (or z) that fills at least 1 % of the pixels and is far from all others, such as -9999.

    Args:
        values: depth [H, W] or points [H, W, 3].

    Returns:
        ([H, W] bool, list of notes that name the values taken as missing).
    """
    depth = values.ndim == 2
    z = values if depth else values[..., 2]
    notes = []
    if values.dtype.kind in "iu":
        measured = z > 0
        largest = np.iinfo(values.dtype).max
        if values.dtype.kind == "u" and (z == largest).any():
            measured &= z != largest
            if (z == largest).mean() >= MARKER_SHARE:
                notes.append(f"{(z == largest).mean():.0%} of the pixels hold {largest}: taken as not measured")
        marker = _far_marker(z[measured], z.size, None)
        if marker is not None:
            measured &= z != marker
            notes.append(f"{(z == marker).mean():.0%} of the pixels hold {marker}: taken as not measured")
        return measured, notes + _doubtful_end(z[measured], z.size)
    measured = np.isfinite(z) if depth else np.isfinite(values).all(2) & values.any(2)
    if not depth:
        _drop_repeated_points(values, measured, notes)
    while True:
        across = (
            None
            if depth or not measured.any()
            else np.linalg.norm(np.ptp(np.percentile(values[measured][:, :2], [1, 99], axis=0), axis=0))
        )
        marker = _far_marker(z[measured], z.size, across)
        if marker is None:
            break
        measured &= z != marker
        notes.append(
            f"{(z == marker).mean():.0%} of the pixels hold {'depth' if depth else 'z'} {marker:g}: taken as not "
            f"measured"
        )
    if depth:
        measured &= z > 0
        notes += _doubtful_end(z[measured], z.size)
    return measured, notes


def _is_flat(values):
    return values.ndim == 2 and values.shape[1] == 3 and values.dtype.kind == "f"


def _drop_repeated_points(points, measured, notes):
    z = points[..., 2]
    values, counts = np.unique(z[measured], return_counts=True)
    for value in values[counts >= MARKER_SHARE * z.size]:
        at = measured & (z == value)
        rows, counts = np.unique(points[at], axis=0, return_counts=True)
        for row in rows[counts >= MARKER_SHARE * z.size]:
            same = at & (points == row).all(2)
            measured &= ~same
            notes.append(
                f"{same.mean():.0%} of the pixels hold the point ({', '.join(f'{v:g}' for v in row)}): taken as not "
                f"measured"
            )


def _far_marker(z, pixels, across):
    """The smallest or largest value of ``z`` [N] if it marks missing pixels, else None.

    It has to fill 1 % of the pixels, and be apart from the others by three times their range. A flat table behind a
    flat part is also apart, by the part's height, so one more condition has to hold. Points: it is farther off than the
    scan is ``across``. Depth (``across`` is None): it is not positive, or over five times the largest of the others.
    The end of a camera's range (ENDS) need only be apart from the others by their own range.
    """
    if not len(z):
        return None
    values, counts = np.unique(z, return_counts=True)
    for end in (0, -1):
        rest = values[1:] if end == 0 else values[:-1]
        if counts[end] < MARKER_SHARE * pixels or not len(rest):
            continue
        gap = abs(float(values[end]) - float(rest[end]))
        if end == -1 and _ends_range(values[end]) and gap > float(rest[-1]) - float(rest[0]):
            return values[end]
        far = gap > across if across is not None else values[end] <= 0 or values[end] > FAR * rest[-1]
        if far and gap > 3 * (float(rest[-1]) - float(rest[0])):
            return values[end]
    return None


def _ends_range(value):
    """Whether a depth, in counts, millimetres or metres, is where a camera's range ends."""
    return any(abs(float(value) * factor - end) < 1e-3 for factor in (1, 1000) for end in ENDS)


def _doubtful_end(z, pixels):
    """[text] on a largest depth of ``z`` [N] that may mark missing pixels, else []."""
    values, counts = np.unique(z, return_counts=True)
    if len(values) < 2 or counts[-1] < MARKER_SHARE * pixels or values[-1] < DOUBTFUL * float(values[-2]):
        return []
    share = f"{counts[-1] / pixels:.0%} of the pixels hold {values[-1]:g}"
    return [f"{share}, the others at most {values[-2]:g}: taken as measured; if it marks missing ones, save 0 there"]


def _step(points):
    """Median distance between neighbouring pixels' points [H, W, 3], as a share of the cloud's extent.

    It is inf if no two neighbouring pixels are measured.
    """
    good = np.isfinite(points).all(2) & points.any(2)
    if good.sum() < 2:
        return np.inf
    low, high = np.percentile(points[good], [1, 99], axis=0)
    extent = np.linalg.norm(high - low) or 1.0
    steps = []
    for axis in (0, 1):
        near = np.take(good, range(1, good.shape[axis]), axis) & np.take(good, range(good.shape[axis] - 1), axis)
        steps.append(np.linalg.norm(np.diff(points, axis=axis)[near], axis=1))
    return float(np.median(np.concatenate(steps))) / extent if sum(map(len, steps)) else np.inf


def _by_row(array, size):
    return array.reshape(*size, 3)


def _by_column(array, size):
    return array.reshape(*size[::-1], 3).transpose(1, 0, 2)


def _read_pcd(path):
    from pypcd4 import PointCloud  # imported here, since it takes half a second and only PCD files need it

    cloud = PointCloud.from_path(path)
    data, (height, width) = cloud.pc_data, (cloud.metadata.height, cloud.metadata.width)
    names = {name.lower(): name for name in data.dtype.names}
    if not {"x", "y", "z"} <= set(names):
        raise InputError(
            f"{path}: has the fields {', '.join(data.dtype.names)}, but no x, y and z; save the points, not only their "
            f"attributes"
        )
    if len(data) != height * width:
        raise InputError(
            f"{path}: holds {len(data)} points, its head says {height}×{width}; the file is cut off: save it again"
        )
    points = np.stack([data[names[axis]] for axis in "xyz"], axis=1).astype(np.float64)
    packed = next(
        (names[name] for name in ("rgb", "rgba") if name in names and data.dtype[names[name]].itemsize == 4), None
    )
    colours = None
    if packed:
        bits = np.ascontiguousarray(data[packed]).view(np.uint32)
        colours = np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], axis=1).astype(np.uint8)
    if height == 1:
        return Scan(points, colours)
    return Scan(points.reshape(height, width, 3), None if colours is None else colours.reshape(height, width, 3))


def _read_ply(path):
    from trimesh.exchange.ply import load_ply

    logging.getLogger("trimesh").setLevel(logging.CRITICAL)  # it would print an additional, unclear line
    head = _ply_head(path)
    if any(line.startswith("element range_grid") for line in head):
        raise InputError(
            f"{path}: is a PLY with a range grid, which leaves out points; save it with all pixels, NaN where nothing "
            f"was measured, "
            "or as PCD"
        )
    with open(path, "rb") as file:
        content = load_ply(file, fix_texture=False, skip_materials=True)
    points = np.asarray(content["vertices"], np.float64)
    colours = content.get("vertex_colors")
    if colours is not None:
        colours = np.asarray(colours)
        colours = colours[:, :3].astype(np.uint8) if len(colours) == len(points) and colours.dtype == np.uint8 else None
    size = _ply_size(head, content)
    if size is None:
        return Scan(points, colours)
    if size[0] * size[1] != len(points):
        raise InputError(
            f"{path}: holds {len(points)} points, its head says {size[0]}×{size[1]}; save it with all pixels, NaN "
            f"where nothing "
            "was measured"
        )
    return Scan(points.reshape(*size, 3), None if colours is None else colours.reshape(*size, 3))


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


def _ply_size(head, content):
    """(height, width) from ``obj_info num_rows`` and ``num_cols`` in the head, or from PCL's camera; else None."""
    told = {
        words[1].lower(): words[2]
        for words in (line.split() for line in head)
        if len(words) == 3 and words[0] in ("obj_info", "comment")
    }
    for rows, columns in (("num_rows", "num_cols"), ("height", "width")):
        if told.get(rows, "").isdigit() and told.get(columns, "").isdigit():
            return int(told[rows]), int(told[columns])
    camera = (content.get("metadata", {}).get("_ply_raw", {}).get("camera") or {}).get("data")
    try:
        size = int(np.ravel(camera["viewporty"])[0]), int(np.ravel(camera["viewportx"])[0])
    except (TypeError, ValueError, KeyError, IndexError):
        return None
    return size if min(size) > 1 else None


def _read_npy(path):
    return _from_array(path, np.load(path, allow_pickle=False))


def _read_npz(path):
    with np.load(path, allow_pickle=False) as file:
        arrays = {name.lower(): file[name] for name in file.files}
    colours = next((arrays[name] for name in COLOUR_NAMES if name in arrays and arrays[name].dtype == np.uint8), None)
    others = [name for name in arrays if name not in COLOUR_NAMES]
    if {"x", "y", "z"} <= set(arrays):
        found = np.stack([arrays[axis] for axis in "xyz"], axis=-1)
    else:
        name = next(
            (name for name in (*POINT_NAMES, *DEPTH_NAMES) if name in arrays), others[0] if len(others) == 1 else None
        )
        if name is None:
            raise InputError(
                f"{path}: holds the arrays {', '.join(arrays) or '(none)'}; name the points xyz or the depth depth"
            )
        found = arrays[name]
    scan = _from_array(path, found)
    if (
        colours is not None
        and colours.shape[:-1] == scan.values.shape[: colours.ndim - 1]
        and colours.shape[-1] in (3, 4)
    ):
        return scan._replace(colours=colours[..., :3])
    return scan


def _read_tiff(path):
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return _from_array(path, tifffile.imread(path))


def _read_png(path):
    with Image.open(path) as picture:
        mode, values = picture.mode, np.asarray(picture)
    if mode[:1] not in "IF":
        raise InputError(
            f"{path}: is a picture of 8 bits (mode {mode}), no depth image: 8 bits are too coarse; save the depth with "
            f"16 bits"
        )
    return _from_array(path, values)


def _from_array(path, values):
    """Scan of an array: depth [H, W], or points [H, W, 3 or more], [3, H, W] or [N, 3 or more]."""
    values, notes = values.squeeze() if values.ndim > 3 or 1 in values.shape[-1:] else values, ()
    if values.dtype.kind == "f":
        values = values.astype(np.float64)
    elif values.dtype.kind not in "iu":
        raise InputError(
            f"{path}: holds {values.dtype}, no numbers of depth or coordinates; save it as float32 or uint16"
        )
    elif values.dtype.itemsize == 1:
        raise InputError(
            f"{path}: holds {values.dtype}: 8 bits are too coarse for depth or coordinates; save it as uint16 or "
            f"float32"
        )
    if values.ndim == 3 and values.shape[0] == 3 < min(values.shape[1:]):
        values, notes = values.transpose(1, 2, 0), ("planes (3, height, width) are taken as x, y, z",)
    elif values.ndim == 3 and 3 < values.shape[2] <= 7:
        values, notes = values[..., :3], (f"the first three of {values.shape[2]} channels are taken as x, y, z",)
    if values.ndim == 3 and values.shape[2] == 3:
        return Scan(values.astype(np.float64), None, notes)
    if values.ndim == 2 and values.shape[1] in (3, 4, 6, 7) and values.shape[0] > 100:
        return Scan(values[:, :3].astype(np.float64), None, notes)
    if values.ndim != 2:
        raise InputError(
            f"{path}: has shape {values.shape}, expected depth (height, width) or points (height, width, 3)"
        )
    return Scan(values, None, notes)
