"""Finds the pixels of a depth image or an organised cloud that were not measured, whatever stands for that."""

import numpy as np

from data.organised_clouds import is_missing, missing_text, own_missing

SHARE = 0.01  # of the pixels: an exact depth that fills as much is no surface, if it lies apart
FAR = 5.0  # a depth over this many times the largest other depth is no distance
DOUBTFUL = 2.0  # one over this many times is told
# where cameras' ranges end, in counts or in millimetres: all bits of a number, or round
ENDS = {*(2**bits - 1 for bits in range(10, 17)), 10_000, 20_000, 32_000, 50_000, 60_000, 65_000}


def measured_pixels(values):
    """([H, W] bool, notes): the measured pixels of depth [H, W] or points [H, W, 3], and which values count as missing.

    A point was not measured if it has NaN or inf, is (0, 0, 0), or holds a value that
    ``data.organised_clouds.find_missing`` finds; a depth if it is not finite, 0 or less, the largest number of an
    unsigned type, or a value that fills at least 1 % of the pixels and lies far beyond all others (less far, if it is
    where a camera's range ends).
    """
    return _of_points(values) if values.ndim == 3 else _of_depth(values)


def _of_points(points):
    measured = np.isfinite(points).all(2) & points.any(2)
    known = np.where(measured[..., None], points, 0).astype(np.float32)
    values = own_missing(known)
    hidden = is_missing(known, values)
    if hidden is None:
        return measured, []
    share = f"{(hidden & measured).mean():.0%} of the pixels hold {missing_text(values)}"
    return measured & ~hidden, [f"{share}: taken as not measured"]


def _of_depth(depth):
    measured, notes = np.isfinite(depth) & (depth > 0), []
    largest = np.iinfo(depth.dtype).max if depth.dtype.kind == "u" else None
    marks = [] if largest is None or not (depth == largest).any() else [largest]
    while marks or (mark := _far_mark(depth[measured], depth.size)) is not None:
        mark = marks.pop() if marks else mark
        here = depth == mark
        measured &= ~here
        if here.mean() >= SHARE:
            notes.append(f"{here.mean():.0%} of the pixels hold {mark:.10g}: taken as not measured")
    return measured, notes + _doubtful_end(depth[measured], depth.size)


def _far_mark(depths, pixels):
    """The largest of ``depths`` [N] if it marks missing pixels, else None.

    It has to fill 1 % of the pixels, be over five times the largest of the others, and apart from them by three times
    their range: a flat table behind a flat part is apart too, by the part's height. The end of a camera's range (ENDS)
    need only be apart from the others by their own range.
    """
    values, counts = np.unique(depths, return_counts=True)
    if len(values) < 2 or counts[-1] < SHARE * pixels:
        return None
    low, high, mark = float(values[0]), float(values[-2]), float(values[-1])
    ends_range = any(abs(mark * factor - end) < 1e-3 for factor in (1, 1000) for end in ENDS)
    if mark - high > high - low if ends_range else mark > FAR * high and mark - high > 3 * (high - low):
        return values[-1]
    return None


def _doubtful_end(depths, pixels):
    """[text] on a largest depth that may mark missing pixels, else []."""
    values, counts = np.unique(depths, return_counts=True)
    if len(values) < 2 or counts[-1] < SHARE * pixels or values[-1] < DOUBTFUL * float(values[-2]):
        return []
    share = f"{counts[-1] / pixels:.0%} of the pixels hold {values[-1]:g}"
    return [f"{share}, the others at most {values[-2]:g}: taken as measured; if it marks missing ones, save 0 there"]
