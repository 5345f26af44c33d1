"""Converts the files of one part to the form that a run reads: picture, points in metres and mask on one pixel grid."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from cameras.intrinsics import Intrinsics, fit_to, points_from_depth, same_aspect
from cameras.readers import measured_pixels, organise, read_scan
from common.errors import InputError
from data.conversion import mark_of, save_sample
from data.pictures import load_picture, orientation, read_defect, to_8_bits
from data.units import Unit
from data.units import measure as size_of

SMALLEST = 56  # pixels per side that a run needs
MIXED = 5.0  # a scan this many times as large or small as the others is in another unit
CONSISTENT = (0.003, 7.0)  # metres: a scan of another extent gets a note, even if the user named the unit
KEPT = 0.8  # share of the points off the plane that the part should contain
FLIPS = ("horizontal", "vertical", "both")
NUDGE = np.float32(1e-7)  # metres; replaces a measured coordinate of 0, which would be read as background


class Plan(NamedTuple):
    """The settings of an import, the same for every part."""

    camera: Intrinsics | None = None
    unit: Unit | None = None
    extent: float | None = None  # usual extent of the scans in metres, to detect a scan in another unit
    size: tuple | None = None  # (height, width) of clouds whose files do not give it
    flip: str | None = None
    crop: tuple | None = None  # (left, top, width, height) in pixels of the scan
    fill_holes: int = 0  # pixels of the largest hole that is filled
    remove_plane: bool = False
    keep_touching: bool = False
    seed: int = 0
    picture_bits: int = 16  # number of bits used in pictures of more than 8 bits


class Measured(NamedTuple):
    """A scan on its pixel grid, in the file's unit."""

    points: np.ndarray  # [H, W, 3] float64
    measured: np.ndarray  # [H, W] bool
    colours: np.ndarray | None  # [H, W, 3] uint8
    whole_numbers: bool  # whether it is a depth image of whole numbers
    notes: tuple


def measure(files, plan, picture_size=None):
    """Read the scan of ``files`` (a ``Files``), with ``plan``'s camera and flip.

    Args:
        picture_size: (height, width) of the picture, for clouds without a size.

    Returns:
        Measured.

    Raises:
        InputError: the cloud is unorganised, depth has no intrinsics, the scan is too small, or no pixel was measured.
    """
    scan = organise(files.cloud, read_scan(files.cloud), plan.size or picture_size)
    values, colours = (a if a is None else flipped(a, plan.flip) for a in (scan.values, scan.colours))
    height, width = values.shape[:2]
    if min(height, width) < SMALLEST:
        raise InputError(
            f"{files.cloud}: has {height}×{width} pixels, fewer than {SMALLEST} a side; save the scan in the sensor's "
            f"full resolution"
        )
    measured, notes = measured_pixels(values)
    if not measured.any():
        raise InputError(f"{files.cloud}: no pixel was measured; record the part again or take it out")
    if values.ndim == 3:
        return Measured(np.where(measured[..., None], values, 0.0), measured, colours, False, (*scan.notes, *notes))
    if plan.camera is None:
        raise InputError(
            f"{files.cloud}: is a depth image, which needs the camera's intrinsics: --intrinsics fx fy cx cy, or "
            f"--intrinsics FILE.json "
            "or .yaml"
        )
    camera = fit_to(plan.camera, (height, width), files.cloud)
    points = points_from_depth(np.where(measured, values, 0), camera)
    return Measured(points, measured, colours, values.dtype.kind in "iu", (*scan.notes, *notes, *camera.notes))


def import_part(files, plan, folder, name):
    """Convert the part of ``files`` by ``plan``, and write it as ``folder``/{rgb,xyz,gt}/``name``.

    Returns:
        [text], notes on what was assumed.

    Raises:
        InputError: a file cannot be used, sizes do not fit, or the plane cannot be removed.
    """
    folder = Path(folder)
    for stale in (p for kind in ("rgb", "xyz", "gt") for p in (folder / kind).glob(f".{name}-*.tmp")):
        stale.unlink(missing_ok=True)  # left by a run that was killed while it wrote this part
    notes = []
    picture = None if files.picture is None else read_shown(files.picture, plan.picture_bits, notes)
    scan = measure(files, plan, None if picture is None else picture.size[::-1])
    notes += scan.notes
    size = scan.measured.shape
    if picture is not None:
        picture = _turned(picture, size, files.picture, notes)
    points = scan.points * plan.unit.metres
    _check_extent(files.cloud, size_of(points[scan.measured]).extent, plan, notes)

    if picture is None and scan.colours is None:
        raise InputError(
            f"{files.cloud}: has no colours, and there is no picture that belongs to it; add one, or say which with "
            f"--picture_glob"
        )
    rgb = scan.colours if picture is None else np.asarray(fitted(picture, size, files.picture, files.cloud))
    gt = None
    for path in files.masks:
        mask = read_defect(path)
        own = np.asarray(fitted(Image.fromarray(mask.astype(np.uint8) * 255), size, path, files.cloud, Image.NEAREST))
        if not mask.any():
            notes.append(f"{path.name}: the mask is empty")
        elif not own.any():
            raise InputError(
                f"{path}: the defect is too small for the scan's {size[0]}×{size[1]} pixels, none of them shows it; "
                "draw it larger"
            )
        gt = own if gt is None else np.maximum(gt, own)

    measured = scan.measured
    if plan.crop:
        rgb, points, measured, gt = (
            a if a is None else cropped(a, plan.crop, files.cloud) for a in (rgb, points, measured, gt)
        )
        if not measured.any():
            raise InputError(f"{files.cloud}: no pixel inside --crop {' '.join(map(str, plan.crop))} was measured")
    if plan.fill_holes:
        points, measured = filled(points, measured, plan.fill_holes)
    xyz = as_layout(points, measured)
    if plan.remove_plane:
        rgb, xyz, gt = _isolated(rgb, xyz, gt, plan, files.cloud, notes)
    if gt is None:
        mark_of(folder, name, "gt").unlink(missing_ok=True)  # of an earlier import
    save_sample(folder, name, rgb, xyz, gt)
    return notes


def read_shown(path, bits, notes):
    """The picture in a file as 8-bit RGB.

    A picture of more than 8 bits is scaled from a range of ``bits`` bits. If it uses fewer bits, a text is added to
    ``notes``.

    Raises:
        InputError: the file is unreadable, has floating-point values, or has larger values than ``bits`` bits hold.
    """
    picture = load_picture(path)
    if picture.bits > 8 or not isinstance(picture.content, Image.Image):
        if picture.content.dtype.kind != "f" and picture.content.max() >= 2**bits:
            raise InputError(
                f"{path}: holds values up to {picture.content.max()}, more than --picture_bits {bits} hold"
            )
        if picture.bits < bits:
            notes.append(
                f"{path.name}: a picture of 16 bits that fills {picture.bits}; it is dark without "
                f"--picture_bits {picture.bits}, the same for all splits"
            )
    try:
        return to_8_bits(picture, "RGB", bits)
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as picture ({error})") from None


def _turned(picture, size, path, notes):
    """The PIL picture turned as its Exif tag says, if it then still has the aspect of the scan's ``size``."""
    how = orientation(picture)
    if not how:
        return picture
    upright = ImageOps.exif_transpose(picture)
    if same_aspect(picture.size[::-1], size) and not same_aspect(upright.size[::-1], size):
        notes.append(f"{path.name}: a tag says that viewers show it {how}, but only as stored it fits the scan")
        return picture
    notes.append(f"{path.name}: {how}, as its orientation tag says; does it fit the scan?")
    return upright


def flipped(array, how):
    """``array`` [H, W, ...] mirrored: columns ("horizontal"), rows ("vertical") or "both" reversed; None: unchanged."""
    columns, rows = how in ("horizontal", "both"), how in ("vertical", "both")
    return array[:: -1 if rows else 1, :: -1 if columns else 1]


def fitted(picture, size, path, cloud, method=Image.LANCZOS):
    """The PIL image ``picture`` scaled to the scan's ``size`` (height, width).

    Raises:
        InputError: the aspect ratios differ by 2 % or more.
    """
    own = picture.size[::-1]
    if own == size:
        return picture
    if not same_aspect(own, size) and same_aspect(own, size[::-1]):
        raise InputError(
            f"{path}: is {own[0]}×{own[1]} pixels, {cloud.name} {size[0]}×{size[1]}: one is upright, the other lies on "
            "its side; turn one of them by 90°, so that they show the same view"
        )
    if not same_aspect(own, size):
        raise InputError(
            f"{path}: has {own[0]}×{own[1]} pixels, {cloud.name} {size[0]}×{size[1]}, another aspect, so they do not "
            f"show the same view; "
            "save depth that is aligned to the picture (the camera's software can), or a picture of the depth camera's "
            "view"
        )
    return picture.resize(size[::-1], method)


def cropped(array, crop, path):
    """The rectangle ``crop`` (left, top, width, height) of ``array`` [H, W, ...]; ``path`` names the scan in messages.

    Raises:
        InputError: the rectangle reaches over the edge.
    """
    left, top, width, height = crop
    if left + width > array.shape[1] or top + height > array.shape[0]:
        raise InputError(
            f"{path}: has {array.shape[0]}×{array.shape[1]} pixels, --crop {' '.join(map(str, crop))} (left top width "
            f"height) reaches "
            "over its edge"
        )
    return array[top : top + height, left : left + width]


def filled(points, measured, largest):
    """Fill holes of at most ``largest`` pixels that do not touch the edge, by linear interpolation from their rims.

    Args:
        points: [H, W, 3] float64.
        measured: [H, W] bool.

    Returns:
        (points, measured), as new arrays. The filled points are exact if the surface around a hole is flat, so that x,
        y and z change evenly from pixel to pixel.
    """
    from scipy import ndimage
    from scipy.interpolate import LinearNDInterpolator

    around = np.ones((3, 3), bool)
    labels, count = ndimage.label(~measured, around)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    open_ones = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    wanted = sizes <= largest
    wanted[0] = wanted[open_ones] = False
    hole = wanted[labels]
    points, measured = points.copy(), measured | hole
    if hole.any():
        rim = ndimage.binary_dilation(hole, around) & ~hole  # only measured pixels: others would belong to the hole
        points[hole] = LinearNDInterpolator(np.argwhere(rim), points[rim])(np.argwhere(hole))
    return points, measured


def as_layout(points, measured):
    """Points [H, W, 3] float32 in metres as a run reads them: background is 0, and measured coordinates are never 0.

    The release takes a point with any coordinate of 0 as background. So such a coordinate of a measured point is moved
    to a tenth of a micrometre.
    """
    xyz = np.where(measured[..., None], points, 0).astype(np.float32)
    xyz[measured[..., None] & (np.abs(xyz) < NUDGE)] = NUDGE
    return xyz


def _check_extent(path, extent, plan, notes):
    if plan.extent and not plan.extent / MIXED < extent < plan.extent * MIXED:
        raise InputError(
            f"{path}: {extent:.3g} m across where other scans are {plan.extent:.3g} m, in {plan.unit.name}; this file "
            f"is in another unit "
            "or has points far off: import it by itself with its own --unit, or take it out"
        )
    if not CONSISTENT[0] <= extent <= CONSISTENT[1]:
        notes.append(f"the scan is {extent:.3g} m across in {plan.unit.name} ({plan.unit.found}): is that the unit?")


def _isolated(rgb, xyz, gt, plan, path, notes):
    from data.foreground import isolate, pad_square

    try:
        part = isolate(rgb, xyz, plan.seed, plan.keep_touching)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if part.touching:
        notes.append(f"the part touches the frame with {part.touching} points")
    if part.points < KEPT * part.off_plane:
        notes.append(
            f"the largest cluster holds {part.points / part.off_plane:.0%} of the {part.off_plane:,} points off the "
            "plane, the others are taken away; if they are the part's, record it closer or do without --remove_plane"
        )
    return pad_square(part.rgb), pad_square(part.xyz), None if gt is None else pad_square(gt)
