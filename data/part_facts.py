"""Facts about the files of one part, which are read once and with the same functions as in a run."""

import hashlib
from typing import NamedTuple, Optional

import numpy as np
from PIL import Image

from common.errors import InputError
from data.organised_clouds import (
    SMALLEST_SIDE,
    count_distinct,
    find_missing,
    is_missing,
    nearest_index,
    point_keys,
    read_cloud,
)
from data.outlines import misfit
from data.pairing import CONVERT
from data.pictures import load_mask, load_picture, orientation, resize_mask, to_8_bits
from data.rays import rays_of
from data.units import measure

MASK_SIZE = 224
PICTURE_STEP = 56  # side of the grid on which outlines are compared
STEPS = 64  # rows of a cloud from which the spacing of its points is taken


class Job(NamedTuple):
    """The files of one part to read; None: the file is missing, or a run does not read it."""

    rgb: Optional[str]
    xyz: Optional[str]
    gt: Optional[str]
    img_size: int
    missing: Optional[tuple]  # values that stand for "not measured"; None: look for them
    integers: bool  # whether whole numbers can be coordinates


class Facts(NamedTuple):
    """What one part's files hold, before any judgement. Coordinates are in the file's unit. A field is None if its file
    is missing or unreadable."""

    errors: tuple = ()  # (kind, text that names the file)
    notes: tuple = ()  # (kind, text that names the file)
    picture: Optional[str] = None  # "800×800 RGB"
    picture_size: Optional[tuple] = None
    picture_bits: int = 8
    picture_hash: Optional[str] = None  # of the pixels, not of the file
    colour: Optional[tuple] = None  # mean red, green and blue where there are points; without xyz of all pixels
    chroma: Optional[float] = None  # mean difference of a pixel's largest and smallest channel there; 0: grey
    tiff: Optional[str] = None  # "800×800 float32"
    tiff_size: Optional[tuple] = None
    tiff_hash: Optional[str] = None  # of the coordinates as float32; None without a point
    broken: int = 0  # pixels with NaN or inf
    missing: tuple = ()  # values that stand for "not measured"
    hidden: int = 0  # pixels that hold such values
    points: Optional[int] = None  # at the run's size: pixels with all coordinates non-zero
    edge_points: int = 0  # at the run's size: pixels with one or two coordinates zero
    distinct: int = 0  # different points among ``points``
    edge_distinct: int = 0  # different points among ``edge_points``
    extent: Optional[float] = None  # this and the next three: see data.units.Measures
    reach: Optional[float] = None
    centre: Optional[tuple] = None
    distance: Optional[float] = None
    spacing: Optional[float] = None  # median distance of points of neighbouring pixels
    rays: Optional[tuple] = None  # fx, fy, cx, cy: see data.rays
    misfit: Optional[str] = None  # see data.outlines.misfit
    mask_size: Optional[tuple] = None
    mask_share: Optional[float] = None  # defective share of the mask as a run reads it
    mask_background: Optional[str] = None

    @property
    def brightness(self) -> Optional[float]:
        """Mean of the colour's channels."""
        return sum(self.colour) / 3 if self.colour else None


def read_part(job, contents=None):
    """The Facts of a Job's files; unreadable ones are recorded in ``errors``.

    ``contents``: the ``data.scans.Contents``, if they are read already; then the hashes, which tell copies, are left
    out.
    """
    errors, notes, values, found = [], [], {}, {}
    for kind, path, read in (("picture", job.rgb, _picture), ("cloud", job.xyz, _cloud), ("mask", job.gt, _mask)):
        if path:
            try:
                found[kind] = read(job, contents, values, notes)
            except InputError as error:
                errors.append((kind, str(error)))
    small, valid = found.get("picture"), found.get("cloud")
    if small is not None and valid is not None:
        values["misfit"] = misfit(small, valid)
    shown = () if small is None else small.reshape(-1, 3) if not job.xyz else () if valid is None else small[valid]
    if len(shown) and not values.get("misfit"):
        values["colour"] = tuple(float(v) for v in shown.mean(0))
        values["chroma"] = float(np.ptp(shown, axis=1).mean())
    return Facts(errors=tuple(errors), notes=tuple(notes), **values)


def _picture(job, contents, values, notes):
    """Add a picture's facts to ``values`` and ``notes``; returns it on a small grid, [56, 56, 3] float32."""
    path, picture = job.rgb, load_picture(job.rgb) if contents is None else contents.picture
    pixels = np.asarray(to_8_bits(picture, "RGB", path, picture.bits))
    values.update(
        picture=f"{picture.size[0]}×{picture.size[1]} {picture.mode}",
        picture_size=picture.size,
        picture_bits=picture.bits,
    )
    if contents is None:
        values["picture_hash"] = _digest(pixels if picture.bits == 8 else picture.content)
    if not isinstance(picture.content, Image.Image):
        notes.append(("16-bit picture", f"{path}: 16 bits a channel, scaled to 8"))
    elif turned := orientation(picture.content):
        notes.append(("orientation", f"{path}: a tag says that viewers show it {turned}; a run takes it as stored"))
    rows, columns = (nearest_index(PICTURE_STEP, side) for side in picture.size)
    return pixels[np.ix_(rows, columns)].astype(np.float32)


def _mask(job, contents, values, notes):
    mask = load_mask(job.gt)
    values.update(
        mask_size=mask.defect.shape,
        mask_share=float(resize_mask(mask.defect, MASK_SIZE).mean()),
        mask_background=mask.background,
    )


def _cloud(job, contents, values, notes):
    """Add a cloud's facts to ``values`` and ``notes``; returns where it has points on a small grid, [56, 56] bool."""
    path = job.xyz
    cloud = read_cloud(path, job.integers) if contents is None else contents.cloud
    points, (height, width) = cloud.points, cloud.points.shape[:2]
    if cloud.notes:
        notes.append(("tiff layout", f"{path}: {'; '.join(cloud.notes)}"))
    if min(height, width) < SMALLEST_SIDE:
        few = f"has {height}×{width} pixels, at least {SMALLEST_SIDE} are needed on each side"
        raise InputError(f"{path}: {few}; for clouds of another kind {CONVERT}")
    rows, row_counts = np.unique(nearest_index(job.img_size, height), return_counts=True)
    columns, column_counts = np.unique(nearest_index(job.img_size, width), return_counts=True)
    grid = np.ascontiguousarray(points[rows][:, columns])  # the pixels that a run reads, each once
    weight = row_counts[:, None] * column_counts  # how often a run reads each of them
    there = grid != 0
    some = there[..., 0] | there[..., 1] | there[..., 2]
    valid = there[..., 0] & there[..., 1] & there[..., 2]
    missing = find_missing(grid[some], some.size) if job.missing is None else job.missing
    hidden = is_missing(grid, missing)
    if hidden is not None:
        valid, some = valid & ~hidden, some & ~hidden
    edge = some & ~valid
    surface = grid[some]
    values.update(
        tiff=cloud.kind,
        tiff_size=(height, width),
        broken=cloud.broken,
        missing=missing,
        hidden=0 if hidden is None else int(weight[hidden].sum()),
        points=int(weight[valid].sum()),
        edge_points=int(weight[edge].sum()),
        distinct=count_distinct(point_keys(grid[valid])),
        edge_distinct=count_distinct(point_keys(grid[edge])),
    )
    if len(surface):
        if contents is None:
            values["tiff_hash"] = _digest(points)
        values.update(measure(surface)._asdict())
        values["spacing"], values["rays"] = _grain(points, missing)
    rows, columns = (nearest_index(PICTURE_STEP, side) for side in some.shape)
    return some[np.ix_(rows, columns)]


def _grain(points, missing):
    """(spacing of neighbouring points, rays), each None if it cannot be told."""
    step = max(1, len(points) // STEPS)
    lines = points[::step]
    hidden = is_missing(lines, missing)
    there = lines.any(axis=2) if hidden is None else lines.any(axis=2) & ~hidden
    both = there[:, 1:] & there[:, :-1]
    steps = np.linalg.norm((lines[:, 1:] - lines[:, :-1])[both].astype(np.float64), axis=1)
    rays = rays_of(lines, there)
    if rays:
        rays = tuple(float(value * factor) for value, factor in zip(rays, (1, step, 1, step)))
    return float(np.median(steps)) if len(steps) else None, rays


def _digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()[:32] + "×".join(map(str, array.shape))
