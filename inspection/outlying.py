"""Names normal parts whose scores lie far from those of the others: a defective part among them, or a bad scan.

They are named and never removed: calibration parts that were chosen by their score promise nothing.

Several parts with the same defect hide each other: each is explained by the rest, and widens the spread that it is
measured in. So training parts in a frame are also compared in place with the median of all, in median absolute
deviations, which up to a half of them cannot move (Rousseeuw and Croux, Journal of the American Statistical
Association 88, 1993).
"""

import logging
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.errors import InputError
from part_frame.reference import PlaceReference

SPREADS, TIMES = 6.0, 1.5  # robust spreads above the median, and times the median of the others
PER_MAD = 1.4826  # standard deviations of a normal distribution in its median absolute deviation
FEWEST, FEWEST_IN_PLACE = 5, 8  # parts of which a median says something; also of their spread at each place
AROUND, CELLS = 9, 64  # cells: width of the square that a spread is taken from, too; how many a score averages
MOST = 60  # parts that the middle and the spread of a place are taken from
FLOOR = 0.02  # mm, and logarithm of the brightness: no spread is smaller
IN_PLACE, TIMES_IN_PLACE = 8.0, 2.5  # robust spreads that normal parts do not reach; times the median of the parts
ALONE = 1.2  # times the next score: the highest one of a calibration that sets the limit by itself
LOOK = "look at it"
MEND = "if it is defective, others like it pass: take it out and fit again, which may show more"


def outlying(names: Sequence[str], scores: ArrayLike) -> dict[str, str]:
    """{name: text} of each part whose score is far above the others'; ``scores`` [n], larger = more abnormal, are
    measured without the part's own rows."""
    values = np.asarray(scores, np.float64)
    if len(values) < FEWEST:
        return {}
    middle = np.median(values)
    far = values > middle + SPREADS * PER_MAD * np.median(np.abs(values - middle))
    far &= values > TIMES * np.median(values[~far])
    span = f"the others {values[~far].min():.2g} to {values[~far].max():.2g}"
    why = f"{span}: {LOOK}; {MEND}"
    return {names[n]: f"{names[n]}: scores {values[n]:.3g}, {why}" for n in np.flatnonzero(far).tolist()}


def alone(names: Sequence[str], scores: ArrayLike) -> str:
    """A sentence where one calibration part scores clearly above all others and so sets the limit at the lowest rates;
    "" elsewhere."""
    values = np.asarray(scores, np.float64)
    if len(values) < FEWEST:
        return ""
    name, (following, highest) = names[int(values.argmax())], np.sort(values)[-2:]
    if name in outlying(names, values) or highest < ALONE * following:
        return ""
    return (
        f"{name}: scores {highest:.3g}, the next {following:.3g}: at the lowest false-alarm rate "
        f"this calibration part alone sets the limit: {LOOK}; with more calibration parts one decides less"
    )


def unlike_in_place(names: Sequence[str], reference: PlaceReference) -> dict[str, str]:
    """{name: text} of each training part that has a place unlike the same place of most others; ``names`` [n]: in the
    order of the ``reference``, which still holds the parts."""
    count = len(names)
    if count < FEWEST_IN_PLACE or reference.parts != count:
        return {}
    maps, compared = np.stack([_maps(reference, n) for n in range(min(count, MOST))]), reference.compared
    middle = np.median(maps, axis=0)
    spread = PER_MAD * np.median(np.abs(maps - middle), axis=0).astype(np.float32) * compared
    share = np.maximum(cv2.blur(compared.astype(np.float32), (AROUND, AROUND)), 1e-3)
    around = [cv2.blur(of, (AROUND, AROUND)) / share for of in spread]
    floor = np.maximum(FLOOR, np.median(spread[:, compared], axis=1))[:, None, None]
    # a registration that is off by a little shows at edges, in each part at others: the median does not know it
    spread = np.hypot(np.maximum(np.maximum(spread, around), floor), reference.steep)
    scores = []
    for n in range(count):
        away = (np.abs(_maps(reference, n) - middle) * compared / spread).astype(np.float32)
        cells = np.stack([cv2.blur(of, (3, 3))[compared] for of in away])
        scores.append(np.sort(cells, axis=1)[:, -CELLS:].mean(axis=1))
    told: dict[str, str] = {}
    for kind, of in zip(("height", "brightness"), np.array(scores).T):
        far = of > max(IN_PLACE, TIMES_IN_PLACE * np.median(of))
        for n in np.flatnonzero(far).tolist():
            text = f"differs at a place by {of[n]:.2g} spreads, that of the others by up to {of[~far].max():.2g}"
            told.setdefault(names[n], f"{names[n]}: {LOOK}: its {kind} {text}; {MEND}")
    return told


def _maps(reference: PlaceReference, number: int) -> NDArray[Any]:
    found = reference.deviation(reference.kept(number), excluding=number)
    return np.asarray(np.nan_to_num(np.stack([found.height, found.colour[..., 0]])))


def check_outlying(
    names: Sequence[str], scores: ArrayLike, strict: bool, reference: PlaceReference | None = None
) -> None:
    """Warn of parts whose scores lie far from the others', or that differ from them in place; ``strict``: refuse those
    with such scores. A place alone refuses none, since good parts may have an unlike one."""
    far = outlying(names, scores)
    if strict and far:
        more = f" (and {len(far) - 1} more)" if len(far) > 1 else ""
        raise InputError(f"{next(iter(far.values()))}{more} (--strict: no model is written)")
    in_place = {} if reference is None else unlike_in_place(names, reference)
    for text in {**far, **in_place}.values():
        logging.warning("%s", text)
