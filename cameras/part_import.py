"""Converts the files of one part to the form that a run reads: picture, points in metres and mask on one pixel grid."""

from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from cameras.alignment import misaligned
from cameras.intrinsics import Intrinsics, fit_to, points_from_depth, same_aspect
from cameras.missing import measured_pixels
from cameras.readers import organise, read_scan
from common.errors import InputError
from data.conversion import mark_of, save_sample
from data.foreground import isolate, pad_square
from data.organised_clouds import SMALLEST_SIDE
from data.pictures import load_picture, orientation, read_defect, to_8_bits
from data.units import VIEW, Unit, measure, recognise_unit

KEPT = 0.8  # share of the points off the plane that the part should hold
MIXED = 5.0  # a scan this many times as large or small as the others is in another unit; so is a recognised unit
PROBED_SIDE = 640  # pixels: larger scans are thinned for what is found out before the import
NUDGE = np.float32(1e-7)  # metres; replaces a measured coordinate of 0, which would be read as background


class Plan(NamedTuple):
    """The settings of an import, the same for every part."""

    camera: Intrinsics | None = None
    unit: Unit | None = None
    extent: float | None = None  # usual extent of the scans in metres, to detect a scan in another unit
    size: tuple | None = None  # (height, width) of clouds whose files do not give it
    crop: list | None = None  # [left, top, width, height] in pixels of the scan
    remove_plane: bool = False
    picture_bits: int = 16  # number of bits used in pictures of more than 8 bits


class Read(NamedTuple):
    """A part's picture and scan, the latter in the file's unit."""

    path: Path  # of the cloud
    picture: Image.Image | None
    points: np.ndarray  # [H, W, 3] float64, 0 where nothing was measured
    measured: np.ndarray  # [H, W] bool
    colours: np.ndarray | None  # [H, W, 3] uint8, the cloud's own
    whole_numbers: bool  # whether it is a depth image of whole numbers
    notes: tuple  # texts on what was assumed


def probe(parts, plan):
    """[Read] of those of ``parts`` (each a ``Files``) that can be read, thinned to PROBED_SIDE.
    Raises InputError: none can."""
    found, errors = [], []
    for files in parts:
        try:
            part = read_files(files, plan)
            step = max(1, max(part.measured.shape) // PROBED_SIDE)
            some = part.points[::step, ::step]
            found.append(part._replace(points=some if some.any() else part.points))
        except (InputError, OSError) as error:
            errors.append(InputError(error))
    if not found:
        raise errors[0]
    return found


def settle_unit(probes, plan):
    """(the Plan with the unit given or recognised, and the usual extent; [text], warnings on that unit and on pictures
    that do not lie on their scans).
    Raises InputError: no unit is given, and none is recognised."""
    texts, path, seen = [], probes[0].path, None
    sizes = [measure(points[points.any(axis=2)]) for points in (one.points for one in probes)]
    extent, distance = (median(getattr(size, what) for size in sizes) for what in ("extent", "distance"))
    try:
        seen = recognise_unit(extent, distance, probes[-1].whole_numbers)
    except InputError as error:
        if plan.unit is None:
            raise InputError(f"{path}: {error}") from None
    unit = plan.unit or seen
    across = f"{unit.found} makes it {extent * unit.metres:.3g} m across and {distance * unit.metres:.3g} m away"
    if seen and not 1 / MIXED < seen.metres / unit.metres < MIXED:
        texts.append(f"{path}: looks like {seen.name}, {extent * seen.metres:.3g} m across; {across}")
    elif not VIEW[0] <= extent * unit.metres <= VIEW[1]:
        texts.append(f"{path}: {across}: is that the unit?")
    plan = plan._replace(unit=unit, extent=extent * unit.metres if len(probes) > 1 else None)
    return plan, texts + misaligned(probes, unit.metres)


def read_files(files, plan) -> Read:
    """The Read of ``files`` (a ``Files``), with ``plan``'s camera.
    Raises InputError: a file is unreadable, the cloud is unorganised, depth has no intrinsics, the scan is too small,
    or no pixel was measured."""
    path, notes = files.cloud, []
    picture = None if files.picture is None else read_shown(files.picture, plan.picture_bits, notes)
    scan = organise(path, read_scan(path), plan.size or (None if picture is None else picture.size[::-1]))
    values, size = scan.values, scan.values.shape[:2]
    if min(size) < SMALLEST_SIDE:
        few = f"has {size[0]}×{size[1]} pixels, fewer than {SMALLEST_SIDE} a side"
        raise InputError(f"{path}: {few}; save the scan in the sensor's full resolution")
    measured, marks = measured_pixels(values)
    if not measured.any():
        raise InputError(f"{path}: no pixel was measured; record the part again or take it out")
    notes += [*scan.notes, *marks]
    is_depth = values.ndim == 2
    if is_depth and plan.camera is None:
        needs = "needs the camera's intrinsics: --intrinsics fx fy cx cy, or --intrinsics FILE.json or .yaml"
        raise InputError(f"{path}: is a depth image, which {needs}")
    if is_depth:
        camera = fit_to(plan.camera, size, path)
        points = points_from_depth(np.where(measured, values, 0), camera)
        notes += camera.notes
    else:
        points = np.where(measured[..., None], values, 0.0)
    if picture is not None:
        picture = _turned(picture, size, files.picture, notes)
    return Read(path, picture, points, measured, scan.colours, is_depth and values.dtype.kind in "iu", tuple(notes))


def import_part(files, folder, name, plan):
    """Write the part of ``files`` as ``folder``/{rgb,xyz,gt}/``name``; returns [text], notes on what was assumed.
    Raises InputError: a file cannot be used, sizes do not fit, or the plane cannot be removed."""
    part = read_files(files, plan)
    notes, points, size = list(part.notes), part.points * plan.unit.metres, part.measured.shape
    extent = measure(points[part.measured]).extent
    if plan.extent and not plan.extent / MIXED < extent < plan.extent * MIXED:
        raise InputError(
            f"{files.cloud}: {extent:.3g} m across where other scans are {plan.extent:.3g} m, in {plan.unit.name}; "
            "this file is in another unit or has points far off: import it alone with its own --unit, or take it out"
        )
    if part.picture is None and part.colours is None:
        mend = "add a picture that belongs to it, or say which with --picture_glob"
        raise InputError(f"{files.cloud}: has no colours and no picture; {mend}")
    rgb = part.colours
    if part.picture is not None:
        rgb = np.asarray(fitted(part.picture, size, files.picture, files.cloud))
    arrays = rgb, as_layout(points, part.measured), _mask(files, size, notes)
    if plan.crop:
        arrays = _cropped(arrays, plan.crop, files.cloud)
    if plan.remove_plane:
        arrays = _isolated(*arrays, files.cloud, notes)
    if arrays[2] is None:
        mark_of(folder, name, "gt").unlink(missing_ok=True)  # of an earlier import
    save_sample(folder, name, *arrays)
    return notes


def _cropped(arrays, crop, path):
    left, top, width, height = crop
    (rows, columns), said = arrays[1].shape[:2], f"--crop {' '.join(map(str, crop))} (left top width height)"
    if left + width > columns or top + height > rows:
        raise InputError(f"{path}: has {rows}×{columns} pixels, {said} reaches over its edge")
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(f"{path}: {said} leaves fewer than {SMALLEST_SIDE} pixels a side; give a larger one")
    arrays = [a if a is None else a[top : top + height, left : left + width] for a in arrays]
    if not arrays[1].any():
        raise InputError(f"{path}: no pixel inside {said} was measured; give another")
    return arrays


def _isolated(rgb, xyz, gt, path, notes):
    try:
        part = isolate(rgb, xyz, keep_touching=True)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if part.touching:
        touches = f"the part touches the frame: {part.touching} of its points lie at the picture's edge"
        raise InputError(f"{path}: {touches}; take it out, or import without --remove_plane")
    if part.share < KEPT:
        notes.append(
            f"the largest cluster holds {part.share:.0%} of the points off the plane, the others are taken away; if "
            "they are the part's, record it closer or import without --remove_plane"
        )
    return pad_square(part.rgb), pad_square(part.xyz), None if gt is None else pad_square(gt)


def _mask(files, size, notes):
    path = files.mask
    if path is None:
        return None
    mask = read_defect(path)
    gt = np.asarray(fitted(Image.fromarray(mask.astype(np.uint8) * 255), size, path, files.cloud, Image.NEAREST))
    if not mask.any():
        notes.append(f"{path.name}: the mask is empty")
    elif not gt.any():
        small = f"the defect is too small for the scan's {size[0]}×{size[1]} pixels, none of them shows it"
        raise InputError(f"{path}: {small}; draw it larger")
    return gt


def read_shown(path, bits, notes):
    """The picture in a file as 8-bit RGB. One of more than 8 bits is scaled from ``bits`` bits; if it uses fewer, a
    text is added to ``notes``.
    Raises InputError: the file is unreadable, has floating-point values, or has larger values than ``bits`` bits hold.
    """
    picture = load_picture(path)
    if not isinstance(picture.content, Image.Image):
        if picture.content.dtype.kind != "f" and picture.content.max() >= 2**bits:
            largest = picture.content.max()
            raise InputError(f"{path}: holds values up to {largest}, more than --picture_bits {bits} hold")
        if picture.bits < bits:
            dark = f"it is dark without --picture_bits {picture.bits}, the same for all splits"
            notes.append(f"{path.name}: a picture of 16 bits that fills {picture.bits}; {dark}")
    return to_8_bits(picture, "RGB", path, bits)


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


def fitted(picture, size, path, cloud, method=Image.LANCZOS):
    """The PIL image ``picture`` scaled to the scan's ``size`` (height, width).
    Raises InputError: the aspect ratios differ by 2 % or more."""
    own = picture.size[::-1]
    if own == size or same_aspect(own, size):
        return picture if own == size else picture.resize(size[::-1], method)
    text = f"{path}: has {own[0]}×{own[1]} pixels, {cloud.name} {size[0]}×{size[1]}"
    if same_aspect(own, size[::-1]):
        raise InputError(f"{text}: one is upright, the other lies on its side; turn one of them by 90°")
    raise InputError(
        f"{text}, another aspect, so they do not show the same view; save depth that is aligned to the picture (the "
        "camera's software can), or a picture of the depth camera's view"
    )


def as_layout(points, measured):
    """Points [H, W, 3] float32 in metres as a run reads them: background is 0. A measured coordinate of 0, which the
    release takes for background, becomes a tenth of a micrometre."""
    xyz = np.where(measured[..., None], points, 0).astype(np.float32)
    xyz[measured[..., None] & (np.abs(xyz) < NUDGE)] = NUDGE
    return xyz
