"""Reading organised point clouds, finding unmeasured pixels in them, and resizing them for a run.

Torch is imported only where a tensor is made: preprocessing does without its seconds.
"""

import logging
from typing import NamedTuple, Optional

import numpy as np
import tifffile

from common.errors import InputError
from data.pairing import CONVERT
from data.pictures import read_picture  # noqa: F401  can be imported from here too
from data.units import WrongUnit, measure, metres_of, unit_fault

SMALLEST_SIDE = 56  # pixels, the side of the patch grid that points are aligned to
SHARE, REPEATED, MOST_VALUES = 0.01, 10, 3  # limits for values that stand for "not measured", see find_missing
USUAL_MISSING = (-1.0, -999.0, -9999.0, -99999.0, -32768.0, 65.535, 65535.0, 1e5, 1e6, 1e10)
GRID = 224  # side of the grid on which values that stand for "not measured" are looked for
FAR = 3.0  # a z that lies more than so many extents of the surface away from it stands for "not measured"


class Reading(NamedTuple):
    """How to read the files of a category. An examination decides it; the defaults are those of the release."""

    unit: str = "m"  # of the coordinates, see data.units.metres_of
    # points (x, y, z) in the file's unit that stand for "not measured"; a None in a point stands for any value.
    # None: look for them in each file
    missing: Optional[tuple] = ()
    # True: only (0, 0, 0) is background. False: any point with a coordinate 0 is (the release's rule)
    zero_points: bool = False
    picture_bits: int = 16  # bits in use in 16-bit pictures
    examined: bool = False  # in models and run ids: whether an examination found this


class Cloud(NamedTuple):
    """The content of a tiff."""

    points: np.ndarray  # [H, W, 3] float32, in the file's unit; 0, 0, 0 where not finite
    broken: int  # pixels with NaN or inf
    kind: str  # "800×800 float32"
    notes: tuple  # texts: what was assumed about the file


def read_tiff(path, integers=False):
    """(points [H, W, 3] of a tiff in its number type, NaN and inf included; texts on what was assumed).

    Planes (3, H, W) and three pages are read as x, y, z; a fourth channel is dropped.
    Raises InputError: the file is unreadable, holds no organised points, or whole numbers without ``integers``.
    """
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # else it prints a second, unclear message
    notes = ()
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series
            alike = len({(s.shape, s.dtype) for s in series}) == 1 and len(series[0].shape) == 2
            pages = alike and len(series) in (3, 4)
            points = np.stack([s.asarray() for s in series]) if pages else series[0].asarray()
            if len(series) > 1 and not pages:
                notes = (f"only the first of {len(series)} images in the file is read",)
    except Exception as error:  # tifffile raises many kinds for damaged files
        why = f"cannot be read as tiff ({error or type(error).__name__})"
        mend = "the file is damaged, no tiff, or compressed in a way that needs pip install imagecodecs"
        raise InputError(f"{path}: {why}; {mend}: fetch or convert it again") from None
    if points.ndim > 3 and sum(side > 1 for side in points.shape) == 3:
        points = points.squeeze()
    shape = points.shape
    points, more = channels_last(points, 4)
    if points.ndim != 3 or points.shape[2] != 3 or 1 in shape:
        listed = shape[-1] in (3, 4, 6) or (points.ndim == 3 and shape[1] in (3, 4, 6))
        flat = points.ndim == 2 or (points.ndim == 3 and 1 in (shape[0], shape[2]))
        kind = "a list of points without rows and columns, " if listed else "depth only, "
        what = f"has shape {shape}: {kind * flat}expected height × width × 3 (x, y, z)"
        raise InputError(f"{path}: {what}; {CONVERT}")
    if points.dtype.kind != "f" and not (integers and points.dtype.kind in "iu"):
        mend = "give --unit if these are millimetres or centimetres"
        raise WrongUnit(f"{path}: holds {points.dtype}, expected float coordinates in metres; {mend}")
    return points, notes + more


def channels_last(array, most=7):
    """(array, texts) of points [H, W, 3] in an array of three dimensions: planes (3 or 4, H, W) are moved to the end,
    and of up to ``most`` channels the first three are taken. Other arrays stay."""
    notes, shape = (), array.shape
    if array.ndim != 3:
        return array, notes
    if not 3 <= shape[2] <= most and shape[0] in (3, 4):
        array, notes = np.moveaxis(array, 0, 2), (f"planes or pages of shape {shape} are read as x, y, z",)
    if 3 < array.shape[2] <= most:
        notes += ("the fourth of the channels (intensity or the like) and those behind it are left out",)
        array = array[..., :3]
    return array, notes


def read_cloud(path, integers=False):
    """The Cloud of a tiff; errors as ``read_tiff``."""
    points, notes = read_tiff(path, integers)
    kind = f"{points.shape[0]}×{points.shape[1]} {points.dtype}"
    with np.errstate(over="ignore"):  # a value too large for float32 becomes inf and counts as broken
        points = np.ascontiguousarray(points, dtype=np.float32)
    if np.isfinite(points).all():
        return Cloud(points, 0, kind, notes)
    broken = ~np.isfinite(points).all(axis=2)
    points = np.where(broken[..., None], np.float32(0), points)
    return Cloud(points, int(broken.sum()), kind, notes)


def to_metres(cloud, reading):
    """A Cloud's points [H, W, 3] float32 in metres; 0, 0, 0 where ``reading.missing`` means "not measured"."""
    points = cloud.points
    missing = is_missing(points, own_missing(points) if reading.missing is None else reading.missing)
    if missing is not None:
        points = np.where(missing[..., None], np.float32(0), points)
    return points if reading.unit == "m" else points * np.float32(metres_of(reading.unit))


def read_tiff_organized_pc(path, reading=Reading()):
    """(points [H, W, 3] float32 in metres, number of pixels with NaN or inf, now 0); errors as ``read_tiff``."""
    cloud = read_cloud(path, reading.unit != "m")
    return to_metres(cloud, reading), cloud.broken


def read_unexamined(path, unit=None):
    """(points [H, W, 3] float32 in metres, 0 where nothing was measured; number of pixels with NaN or inf; warnings) of
    a file that no examination has read. ``unit`` None: metres.
    Raises InputError: as ``read_tiff``, or WrongUnit: the coordinates cannot be in ``unit``."""
    cloud = read_cloud(path, (unit or "m") != "m")
    values = own_missing(cloud.points)
    missing = is_missing(cloud.points, values)
    points = to_metres(cloud, Reading(unit or "m", values))
    notes = list(cloud.notes)
    if missing is not None:
        share = f"{missing_text(values)} fills {missing.mean():.1%} of the pixels"
        notes.append(f"{share}: not measured, taken as background")
    surface = points[points.any(axis=2)]
    if len(surface):
        size, factor = measure(surface), metres_of(unit or "m")
        fault = unit_fault(size.extent / factor, size.distance / factor, unit)
        if fault:
            raise WrongUnit(f"{path}: {fault}")
    return points, cloud.broken, [f"{path}: {text}" for text in notes]


def own_missing(points):
    """``find_missing`` for a whole cloud [H, W, 3], looked for on a coarser grid."""
    grid = points[:: max(1, points.shape[0] // GRID), :: max(1, points.shape[1] // GRID)]
    return find_missing(grid[grid.any(axis=2)], grid.shape[0] * grid.shape[1])


def is_missing(points, values):
    """[H, W] bool: the pixels of ``points`` [H, W, 3] that hold one of ``values`` (see Reading); None if none do."""
    found = None
    for value in values:
        here = np.logical_and.reduce([points[..., i] == np.float32(v) for i, v in enumerate(value) if v is not None])
        found = here if found is None else found | here
    return None if found is None or not found.any() else found


def find_missing(points, pixels):
    """Values that stand for "not measured": a tuple of (x, y, z), None for a coordinate that may be anything.
    ``points`` [N, 3] float32: those that are not 0, 0, 0; ``pixels``: how many the cloud has.

    A whole point is such a value if it fills at least 1 % of the pixels and is 10 times as frequent as the median
    point: no surface puts many pixels into one point. A single z is such a value if it fills at least 1 % and lies more
    than three extents of the surface away from it. So is a usual mark (-1, -9999, 65.535 …) that lies outside the
    surface or is far more frequent than any other z. Points of a coarse grid and a cloud of a single point are not.
    """
    least, found, rest = SHARE * pixels, [], points
    if len(points) < least:
        return ()
    keys = point_keys(points)
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    often = counts >= max(least, REPEATED * np.median(counts))
    if 0 < often.sum() <= MOST_VALUES and 1 < counts.max() and not often.all():
        found = sorted(tuple(float(v) for v in points[i]) for i in first[often])
        rest = points[~np.isin(keys, keys[first[often]])]
    z = _missing_z(rest, least)
    return tuple(found) + (() if z is None else ((None, None, z),))


def _missing_z(points, least):
    z = points[:, 2]
    if len(z) < least:
        return None
    # a far mark is the smallest or the largest z
    for mark in (z.min(), z.max(), *map(np.float32, USUAL_MISSING), np.float32(0)):
        here = z == mark
        count = int(here.sum())
        if count < least or count == len(z):
            continue
        others = points[~here]
        low, high = others.min(0), others.max(0)
        away = max(float(low[2]) - float(mark), float(mark) - float(high[2]))
        if away > FAR * float((high - low).max()):
            return float(mark)
        often = count > REPEATED * np.unique(others[:, 2], return_counts=True)[1].max()
        if np.isin(mark, np.float32(USUAL_MISSING)) and (away > 0 or often):
            return float(mark)
    return None


def count_distinct(keys):
    """Number of different values in ``keys`` [N]."""
    ordered = np.sort(keys)  # np.unique takes several times as long
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + (len(ordered) > 0)


def point_keys(points):
    """[N] whole numbers of ``points`` [N, 3] float32: equal for equal points, almost surely different for others."""
    points = points + np.float32(0)  # -0 becomes 0
    x, y, z = (np.ascontiguousarray(points[:, i]).view(np.uint32).astype(np.uint64) for i in range(3))
    with np.errstate(over="ignore"):
        mixed = (x * np.uint64(0x9E3779B97F4A7C15)) ^ ((y + np.uint64(1)) * np.uint64(0xC2B2AE3D27D4EB4F))
        mixed ^= mixed >> np.uint64(29)
        return (mixed + z) * np.uint64(0x165667B19E3779F9) ^ (z << np.uint64(32))


def missing_text(values):
    """Text of missing values for messages, such as "(-1, -1, -1)" or "z = -1"."""
    return ", ".join(f"z = {v[2]:.6g}" if v[0] is None else "({:.6g}, {:.6g}, {:.6g})".format(*v) for v in values)


def nearest_index(size, length):
    """[size] positions that torch's nearest-neighbour resize takes from a side of ``length`` pixels."""
    places = np.arange(size, dtype=np.float32) * (np.float32(length) / np.float32(size))
    return np.minimum(places.astype(np.int64), length - 1)


def resize_organized_pc(points, size):
    """Nearest-neighbour resize of [H, W, 3] (array) to [3, size, size] (tensor), as torch's ``interpolate`` does it."""
    import torch

    tensor = torch.from_numpy(points).permute(2, 0, 1)[None]
    return torch.nn.functional.interpolate(tensor, size=(size, size), mode="nearest")[0].contiguous()


def organized_pc_to_depth_map(points):
    """The z channel of a [3, S, S] point cloud, repeated to [3, S, S]."""
    return points[2:].repeat(3, 1, 1)


def valid_points(points, zero_points=False):
    """[N] row-major positions of the pixels of ``points`` [3, S, S] that are not background. Background has x, y or z
    zero (the release's rule); with ``zero_points`` all three."""
    there = points != 0
    return (there.any(0) if zero_points else there.all(0)).flatten().nonzero()[:, 0]
