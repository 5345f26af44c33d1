"""Can this scan be judged at all? Statistics of picture and cloud, their ranges in good scans, and the reason if a
statistic is outside its range.

Statistics are fixed functions of one scan; nothing in them is learned. So the ranges may be learned from training and
calibration scans together. A statistic's range is that of all n scans, widened by 0.5 + 15/n of its length on either
side. It promises no rate: with 15 statistics that would need thousands of scans.

The gate does not weaken the promise about scores: a good part fails at most as often as it would by its score alone.
But the gate must not remove any of the score's calibration parts.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.errors import InputError
from data.scans import checked_arrays
from inspection.model_file import tuples
from inspection.regions import MM, measured_pixels, pixel_areas
from inspection.verdict import percent

WIDENING = 0.5, 15  # w, v of the widening w + v/n; the tests measure how many good scans are then refused
FEWEST_SCANS = 3
SIDE = 224  # shapes are measured on at most this many rows and columns
CLOSE = 2  # pixels of that grid: gaps narrower than twice this belong to the part, not to the background
FEWEST_POINTS = 16
COARSE = 8  # pixels: step of a grid that nearly always shows that a sensor lives
BLACK, SATURATED = 2, 250  # of 255
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # weights of red, green and blue, ITU-R BT.601
BACKGROUND = 0.05  # least share of exactly black pixels in a picture from which its outline is measured


class DeadSensor(InputError):
    """A sensor delivered nothing in this scan; the message names it."""


class Kind(NamedTuple):
    """How to write a statistic: text with {value} and {range}, factor and decimals of the number shown, its unit, and
    its resolution, the smallest difference that matters. Ranges are at least that much wider on either side."""

    text: str
    factor: float
    decimals: int
    unit: str
    resolution: float


# {name: value} of one scan; lengths in mm as the sensor sees them. Those of a cloud are None where none is read.
ScanStatistics = dict[str, float | None]

KINDS = {
    # share of the pixels within the cloud's outline that have no point
    "missing": Kind("{value} of the points are missing ({range})", 100, 0, " %", 0.005),
    # of the pixels with a point, without their tilt
    "valid_area": Kind("{value} of surface are measured ({range})", 1, 0, " mm²", 1.0),
    # along the cloud's three main axes, 1st to 99th percentile
    "length": Kind("the part is {value} long ({range})", 1, 1, " mm", 0.5),
    "width": Kind("the part is {value} wide ({range})", 1, 1, " mm", 0.5),
    "thickness": Kind("the part is {value} thick ({range})", 1, 1, " mm", 0.5),
    # mean of the points
    "centre_x": Kind("the part's centre lies at x = {value} ({range})", 1, 1, " mm", 0.5),
    "centre_y": Kind("the part's centre lies at y = {value} ({range})", 1, 1, " mm", 0.5),
    # median depth
    "distance": Kind("the part is {value} from the sensor ({range})", 1, 1, " mm", 0.5),
    # between the plane through the points and the sensor's
    "tilt": Kind("the part is tilted by {value} ({range})", 1, 1, "°", 0.5),
    # (var x - var y) / (var x + var y): 1 for a line along x, -1 along y, 0 if round
    "turn_straight": Kind("the part is turned: elongation along x {value} ({range})", 1, 2, "", 0.01),
    # 2 cov(x, y) / (var x + var y): 1 and -1 for lines along the diagonals
    "turn_diagonal": Kind("the part is turned: elongation along the diagonal {value} ({range})", 1, 2, "", 0.01),
    # mean of the part's pixels, 1 is white
    "brightness": Kind("the picture's brightness is {value} ({range})", 100, 0, " %", 0.01),
    # share of the part's pixels with a channel at SATURATED or more
    "saturated": Kind("{value} of the picture are overexposed ({range})", 100, 0, " %", 0.01),
    # standard deviation of the Laplacian divided by that of the grey values, within the part
    "sharpness": Kind("the picture's sharpness is {value} ({range})", 1, 2, "", 0.02),
    # intersection over union of the outlines of picture and cloud; None without a black background
    "outline": Kind("picture and cloud agree on {value} of the part's outline ({range})", 100, 0, " %", 0.01),
}


class ScanRanges(NamedTuple):
    """The ranges of good scans, made by :func:`learn`."""

    names: tuple[str, ...]  # the statistics that are compared
    low: tuple[float, ...]  # a scan is refused below this
    high: tuple[float, ...]  # or above this
    seen_low: tuple[float, ...]  # seen_low, seen_high: smallest and largest value among the scans
    seen_high: tuple[float, ...]
    scans: int
    widening: float

    @classmethod
    def from_json(cls, content: Any) -> "ScanRanges":
        """The ScanRanges in a dict from ``_asdict()``; tuples may have become lists.

        Raises:
            InputError: ``content`` is something else.
        """
        try:
            known = dict(tuples(content))
            if known.pop("promised", False):  # by version 0.9, with thousands of scans: not widened
                known["widening"] = 0.0
            known.pop("alpha", None)
            made = cls(**known)
            fits = len(set(map(len, made[:5]))) == 1 and set(made.names) <= set(KINDS)
            fits = fits and bool(np.isfinite([made.low, made.high]).all())
        except (TypeError, AttributeError, ValueError):
            fits = False
        if not fits:
            raise InputError("the ranges of good scans are damaged or of another version")
        return made

    @property
    def promise_text(self) -> str:
        """One sentence: the gate promises nothing, and what it compares with."""
        return (
            f"how many good scans are refused is not promised: a scan is judged within the ranges of {self.scans} "
            f"scans, widened by {percent(self.widening)} on either side"
        )


# ---------------------------------------------------------------- measuring


def dead_sensor(rgb: ArrayLike, xyz: ArrayLike, clouds: bool = True) -> str | None:
    """Text on a sensor that delivered nothing, or None: the picture is black or has one colour only; the cloud has no
    points, or all its points are the same.

    Args:
        rgb: [H, W, 3] uint8.
        xyz: [H, W, 3] metres, 0 where nothing was measured; NaN and infinity count as 0.
        clouds: False: no cloud is read, so ``xyz`` does not count.
    """
    picture, cloud = checked_arrays(rgb, xyz)
    for step in (COARSE, 1):  # what a coarse grid shows is there; what it lacks may lie between
        found = _dead(picture[::step, ::step], cloud[::step, ::step], clouds)
        if not found:
            return None
    return "; ".join(found)


def _dead(picture: NDArray[Any], cloud: NDArray[Any], clouds: bool) -> list[str]:
    """Texts on what a sensor did not deliver; arguments as in :func:`dead_sensor`."""
    found = []
    if np.count_nonzero(picture > BLACK) < FEWEST_POINTS:
        found.append("the picture is black: camera or light is off")
    elif (picture == picture[0, 0]).all():
        found.append("the picture has one colour only: the camera gives no picture")
    points = cloud[measured_pixels(cloud)]
    if clouds and len(points) < FEWEST_POINTS:
        found.append(f"the cloud is empty ({len(points)} points): the 3D sensor gives nothing")
    elif clouds and (points == points[0]).all():
        found.append("all points of the cloud are one: the 3D sensor gives nothing")
    return found


def measure(rgb: ArrayLike, xyz: ArrayLike, clouds: bool = True) -> ScanStatistics:
    """:class:`ScanStatistics` of one scan.

    Args:
        rgb, xyz, clouds: as in :func:`dead_sensor`; their sizes may differ if they show the same view.

    Raises:
        DeadSensor: see :func:`dead_sensor`.
        InputError: an array has another shape or type.
    """
    dead = dead_sensor(rgb, xyz, clouds)
    if dead:
        raise DeadSensor(dead)
    whole, points_whole = checked_arrays(rgb, xyz)
    if not clouds:
        picture = _thin(whole)
        everywhere = np.ones(picture.shape[:2], bool)
        return {**dict.fromkeys(KINDS), **_exposure(whole, picture, everywhere)}
    cloud = _thin(points_whole)
    picture, measured = _thin(whole, cloud.shape[:2]), measured_pixels(cloud)
    points = int(np.count_nonzero(measured))
    if points < FEWEST_POINTS:  # the coarse grid misses a few points in a large scan
        raise DeadSensor(
            f"the cloud is empty ({points} points among {measured.size} pixels): the 3D sensor gives nothing"
        )
    outline, lit = _outline(measured), (picture != 0).any(2)
    agreement = None
    if np.count_nonzero(~lit) >= BACKGROUND * lit.size:
        lit = _outline(lit)
        agreement = float(np.count_nonzero(lit & outline) / np.count_nonzero(lit | outline))
    sizes = pixel_areas(cloud)
    return {
        "missing": float(1 - points / np.count_nonzero(outline)),
        "valid_area": float(points * np.nanmedian(sizes)) if not np.isnan(sizes).all() else 0.0,
        **_shape(cloud[measured] * MM),
        **_exposure(whole, picture, outline),
        "outline": agreement,
    }


def _thin(array: NDArray[Any], shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """``array`` at evenly spaced rows and columns: at most SIDE of each, or the numbers in ``shape``."""
    height, width = shape or (min(array.shape[0], SIDE), min(array.shape[1], SIDE))
    rows, columns = (
        ((np.arange(n) + 0.5) * size / n).astype(int) for n, size in ((height, array.shape[0]), (width, array.shape[1]))
    )
    thin: NDArray[Any] = array[rows[:, None], columns]
    return thin


def _outline(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [H, W]: ``pixels`` with narrow gaps closed and holes filled."""
    from scipy import ndimage

    size = 2 * CLOSE + 1
    padded = np.pad(pixels, CLOSE)
    closed = ndimage.minimum_filter(ndimage.maximum_filter(padded, size), size)[CLOSE:-CLOSE, CLOSE:-CLOSE]
    outside = ndimage.label(np.pad(~(closed | pixels), 1, constant_values=True))[0]  # binary_fill_holes, but faster
    inside: NDArray[np.bool_] = (outside != outside[0, 0])[1:-1, 1:-1]
    return inside


def _shape(points: NDArray[Any]) -> dict[str, float]:
    """Extent and pose of points [N, 3] in mm."""
    points = points.astype(np.float64)
    centre = points.mean(0)
    centred = points - centre
    covariance = centred.T @ centred / len(points)
    axes = np.linalg.eigh(covariance)[1][:, ::-1]
    low, high = np.percentile(centred @ axes, (1, 99), axis=0)
    (xx, xy, _), (_, yy, _), _ = covariance
    slope = np.linalg.lstsq(covariance[:2, :2], covariance[:2, 2], rcond=None)[0]  # of depth over x and y
    return {
        **dict(zip(("length", "width", "thickness"), (high - low).tolist())),
        "centre_x": float(centre[0]),
        "centre_y": float(centre[1]),
        "distance": float(np.median(points[:, 2])),
        "tilt": math.degrees(math.atan(np.hypot(*slope))),
        "turn_straight": float((xx - yy) / (xx + yy)) if xx + yy else 0.0,
        "turn_diagonal": float(2 * xy / (xx + yy)) if xx + yy else 0.0,
    }


def _exposure(rgb: NDArray[Any], picture: NDArray[Any], outline: NDArray[np.bool_]) -> dict[str, float]:
    """Brightness, overexposure and sharpness of the part's pixels. Sharpness is measured at the picture's own size and
    away from the outline."""
    from scipy import ndimage

    part = picture[outline]
    inner = ndimage.binary_erosion(outline, iterations=CLOSE)
    inner = inner if inner.any() else outline
    rows, columns = (np.flatnonzero(inner.any(axis)) for axis in (1, 0))
    scale = np.array(rgb.shape[:2]) / outline.shape
    top, left = np.floor((rows[0] * scale[0], columns[0] * scale[1])).astype(int)
    bottom, right = np.ceil(((rows[-1] + 1) * scale[0], (columns[-1] + 1) * scale[1])).astype(int)
    grey = rgb[top:bottom, left:right].astype(np.float32) @ GREY
    where = inner[
        (np.arange(top, bottom) / scale[0]).astype(int)[:, None], (np.arange(left, right) / scale[1]).astype(int)
    ]
    spread = float(grey[where].std())
    return {
        "brightness": float(part.mean() / 255),
        "saturated": float((part.max(1) >= SATURATED).mean()),
        "sharpness": float(ndimage.laplace(grey)[where].std()) / spread if spread > 1e-3 else 0.0,
    }


# ---------------------------------------------------------------- ranges


def learn(scans: Iterable[ScanStatistics]) -> ScanRanges:
    """Learn the :class:`ScanRanges` of good scans.

    Args:
        scans: :class:`ScanStatistics` of at least 3 scans. The outline is used only if all of them have one.

    Raises:
        InputError: fewer than 3 scans.
    """
    scans = list(scans)
    if len(scans) < FEWEST_SCANS:
        raise InputError(
            f"{len(scans)} scans are too few to learn what a good scan looks like; give {FEWEST_SCANS} or more, "
            "or use --no_gate"
        )
    widening = WIDENING[0] + WIDENING[1] / len(scans)
    names = tuple(name for name in KINDS if all(scan[name] is not None for scan in scans))
    values = np.sort(np.array([[scan[name] for name in names] for scan in scans], np.float64), axis=0)
    resolution = np.array([KINDS[name].resolution for name in names])
    margin = np.maximum(widening * (values[-1] - values[0]), resolution)
    limits = values[0] - margin, values[-1] + margin, values[0], values[-1]
    low, high, seen_low, seen_high = (tuple(bound.tolist()) for bound in limits)
    return ScanRanges(names, low, high, seen_low, seen_high, len(scans), widening)


def unlike(statistics: ScanStatistics, ranges: ScanRanges) -> str:
    """Why a scan with these statistics cannot be judged, in one line, what is farthest outside its range first; "" if
    all are like those of good scans."""
    outside = []
    for name, low, high, *seen in zip(*ranges[:5]):
        value = statistics[name]
        if value is None:
            outside.append((math.inf, "the picture has no black background (training: all have)"))
        elif not low <= value <= high:
            far = max(low - value, value - high) / max(high - low, KINDS[name].resolution)
            outside.append((far, _told(name, value, *seen)))
    reason = "; ".join(text for _, text in sorted(outside, key=lambda entry: -entry[0]))
    return f"{reason}: rescan" if reason else ""


def check(rgb: ArrayLike, xyz: ArrayLike, ranges: ScanRanges) -> str:
    """As :func:`unlike`, for a scan: first dead sensors are looked for. Arguments as in :func:`measure`; the cloud
    counts if it is compared."""
    try:
        return unlike(measure(rgb, xyz, "missing" in ranges.names), ranges)
    except DeadSensor as dead:
        return f"{dead}: rescan"


def _told(name: str, value: float, low: float, high: float) -> str:
    """Text on a statistic outside its range, with enough decimals that the value does not look as if it were inside."""
    kind = KINDS[name]
    for decimals in range(kind.decimals, kind.decimals + 4):
        shown, first, last = (f"{number * kind.factor:.{decimals}f}" for number in (value, low, high))
        shown, first, last = (text.lstrip("-") if not float(text) else text for text in (shown, first, last))
        if shown not in (first, last):
            break
    span = first if first == last else f"{first}–{last}" if low >= 0 else f"{first} to {last}"
    return kind.text.format(value=shown + kind.unit, range=f"training: {span}{kind.unit}")
