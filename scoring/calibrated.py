"""The scoring ``calibrated``: each bank's map in units of the bank's normal spread, then the largest value per pixel.

This project adds it; it is not in the paper. A bank's unit comes only from normal training parts. Each is measured
against the banks without its own rows:

    level = mean of all pixels of their maps
    peak  = mean over the parts of the K largest pixels' mean
    z     = (map - level) / (peak - level)

So in every bank, 0 is a typical pixel, and 1 is the hottest spot of a typical normal part. The calibrated map is the
largest z of the banks at each pixel. The image score is the mean of its K largest pixels.

With few parts, the peaks are uncertain; the pixels' spread is known better. Therefore the ratio of (peak - level) to
the pixels' standard deviation is shrunk towards the banks' geometric mean, which counts like ``PRIOR_PARTS`` parts.

Raising a pixel of any bank never lowers the map or the score, and both stay within ``LIMIT``. docs/scoring.md compares
the alternatives.

Maps are [S, S], larger = more anomalous; t is the number of training parts; {bank: …} names "xyz", "rgb", "fusion".
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError

TOPK = 64  # pixels that a peak and an image score average: 0.13 % of a map of 224×224
# pixels that an image score averages where the comparison in place takes part, whose maps are sharper than the banks':
# small defects weigh more (docs/scoring.md)
TOPK_IN_PLACE = 32
PRIOR_PARTS = 2
# normal parts of one shape reach 2.5 to 4 normal spreads in the comparison in place. Soft parts reach more, and the
# next one far more: there the maps in place are scaled down by this power of the excess, so that the banks decide
SOFT, SOFTNESS = 4.2, 4
# least scale of the maps of the comparison in place, which come in normal spreads: a map that is 0 on all normal parts
# has no spread of its own
FLOORS = {"height": 1.0, "local_height": 1.0, "colour": 1.0, "local_colour": 1.0, "missing": 3.0, "extra": 3.0}
WHOLE = {"brightness": 2.0}  # the same, of maps that say one thing of the whole part: soft parts have it too
FLOORS |= WHOLE
LIMIT = 1e6  # calibrated values are clipped to -LIMIT and LIMIT
NO_SPREAD = 1e-6  # a peak above the level by less than this, relative to both, is rounding

Array = NDArray[Any]


class BankUnits(NamedTuple):
    """The unit of each bank, learned from normal training parts; immutable and JSON-able."""

    banks: tuple[str, ...]  # names of the banks that are used
    level: tuple[float, ...]  # level of each bank, in the bank's own units
    scale: tuple[float, ...]  # peak - level of each bank, in the bank's own units; positive
    left_out: tuple[str, ...]  # names of banks whose maps have no spread; not used, and callers should warn of them
    parts: int  # number of training parts
    topk: int  # K of the image score
    scores: tuple[float, ...]  # calibrated image scores of the training parts themselves: an estimate, not a guarantee


def bank_units(maps: Mapping[str, Array], topk: int | None = None) -> BankUnits:
    """The BankUnits of maps {bank: [t, S, S]} of t normal parts, each measured without its own rows.

    ``topk``: K, the number of pixels averaged in a peak and in an image score; at most an eighth of a map is used.
    None: TOPK for both; where there are maps of the comparison in place, TOPK_IN_PLACE for the image score.
    Raises InputError: there is no part, or no bank has any spread."""
    maps = {bank: np.asarray(values, dtype=np.float64) for bank, values in maps.items()}
    if not any(map(len, maps.values())):
        raise InputError("calibrated: no training part was measured without its own rows; it needs at least two parts")
    of_peak = TOPK if topk is None else topk
    of_score = TOPK_IN_PLACE if topk is None and not FLOORS.keys().isdisjoint(maps) else of_peak
    found = {bank: _spread(values, of_peak, FLOORS.get(bank)) for bank, values in maps.items()}
    used = tuple(bank for bank, spread in found.items() if spread is not None)
    if not used:
        raise InputError(
            "calibrated: the training parts' maps show no spread in any bank, so there is no unit to measure in; "
            "are the training parts copies of one another?"
        )
    parts = len(maps[used[0]])
    level, deviation, rise = np.array([found[bank] for bank in used]).T
    log_ratio = np.log(rise / deviation)
    learned = np.array([bank not in FLOORS for bank in used])  # the others are in units of their own spread already
    common = log_ratio[learned].mean() if learned.any() else 0.0
    shrunk = np.exp((parts * log_ratio + PRIOR_PARTS * common) / (parts + PRIOR_PARTS))
    of_places = np.array([bank in FLOORS and bank not in WHOLE for bank in used])
    softness = max([1.0, *(rise[of_places] / SOFT)]) ** SOFTNESS
    scale = np.where(learned, deviation * shrunk, rise * np.where(of_places, softness, 1.0))
    left_out = tuple(bank for bank in maps if bank not in used)
    units = BankUnits(used, tuple(level.tolist()), tuple(scale.tolist()), left_out, parts, int(of_score), ())
    return units._replace(scores=tuple(image_score(one, of_score) for one in calibrated_map(maps, units)))


def restored(values: Mapping[str, Any]) -> BankUnits:
    """BankUnits from its ``_asdict()``, which JSON may have turned into lists; TypeError if fields are missing."""
    fields: dict[str, Any] = {name: tuple(of) if isinstance(of, list) else of for name, of in values.items()}
    return BankUnits(**fields)


def calibrated_banks(maps: Mapping[str, Array], units: BankUnits) -> dict[str, Array]:
    """{bank: [..., S, S] float64 from -LIMIT to LIMIT} of each used bank, in its own unit; NaN where its map is NaN.

    ``maps``: {bank: [..., S, S]} of one part, or of several. ValueError: its banks are not those of the units.
    """
    known = {*units.banks, *units.left_out}
    if set(maps) != known:
        raise ValueError(f"calibrated: maps of the banks {sorted(maps)}, statistics of {sorted(known)}")
    with np.errstate(over="ignore"):
        return {
            bank: np.clip((np.asarray(maps[bank], dtype=np.float64) - level) / scale, -LIMIT, LIMIT)
            for bank, level, scale in zip(units.banks, units.level, units.scale)
        }


def calibrated_map(maps: Mapping[str, Array], units: BankUnits) -> Array:
    """The calibrated map [..., S, S], float64 from -LIMIT to LIMIT: the largest value of the banks at each pixel.

    Args and errors as :func:`calibrated_banks`. NaN values of a bank do not count; 0 where all banks are NaN.
    """
    largest = np.fmax.reduce(list(calibrated_banks(maps, units).values()))
    return np.where(np.isnan(largest), 0.0, largest)


def terms(maps: Mapping[str, Array], units: BankUnits) -> dict[str, Array]:
    """{bank: [S, S]} that add up to one part's calibrated map: each pixel is credited to the bank that is largest
    there; equal banks share it. Args as :func:`calibrated_banks`."""
    banks, largest = calibrated_banks(maps, units), calibrated_map(maps, units)
    owners = {bank: values == largest for bank, values in banks.items()}
    count = np.maximum(sum(owner.astype(int) for owner in owners.values()), 1)
    return {bank: np.where(owner, largest / count, 0.0) for bank, owner in owners.items()}


def shares(terms: Mapping[str, Array], topk: int) -> dict[str, float]:
    """{bank: share} that add up to the image score, of a part's :func:`terms`."""
    largest = _largest(np.ravel(sum(terms.values())), topk)
    return {bank: float(term.ravel()[largest].mean()) for bank, term in terms.items()}


def image_score(calibrated: Array, topk: int = TOPK) -> float:
    """Mean of the K largest pixels (at most an eighth) of a calibrated map [S, S]: float, about 1 for a normal part."""
    values = np.ravel(calibrated)
    return float(np.mean(np.sort(values[_largest(values, topk)])))  # sorted, so that rounding is monotone too


def _largest(values: Array, topk: int) -> Array:
    """Indices of the K largest of ``values`` [m], at most an eighth of them."""
    count = min(int(topk), max(1, values.size // 8))
    return np.argpartition(values, values.size - count)[values.size - count :]


def _spread(values: Array, topk: int, floor: float | None = None) -> tuple[float, float, float] | None:
    """(level, standard deviation, peak - level) of maps [t, S, S], or None if they have no spread and no floor."""
    finite = [part[np.isfinite(part)] for part in values if np.isfinite(part).any()]
    if not finite:
        return None
    pixels = np.concatenate(finite)
    level, peak = pixels.mean(), np.mean([part[_largest(part, topk)].mean() for part in finite])
    deviation, rise = pixels.std(), peak - level
    if floor is not None:  # in normal spreads already
        return level, 1.0, max(rise, floor)
    return (level, deviation, rise) if rise > NO_SPREAD * max(abs(level), abs(peak)) else None
