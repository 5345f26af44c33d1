"""The scoring ``calibrated`` (ours): each bank's map in units of that bank's normal spread, then the larger per pixel.

A bank's unit comes from normal training parts alone, each measured against the banks without its own rows:

    level = mean of all pixels of their maps
    peak  = mean over the parts of the K largest pixels' mean
    z     = (map - level) / (peak - level)

So 0 is a typical pixel and 1 the hottest spot of a typical normal part, in every bank alike. The calibrated map is the
larger z of the banks, the image score the mean of its K largest pixels. No test part is read: one part alone can be
scored.

Peaks of few parts say little, the spread of their pixels much more. Therefore the ratio of (peak - level) to the
pixels' standard deviation is shrunk towards the banks' geometric mean of it, which counts like ``PRIOR_PARTS`` parts.

Raising a pixel of any bank never lowers the map or the score, and both stay within ``LIMIT``. Background needs no mask:
it moves the level a little and the peak not at all. docs/scoring.md shows what this was chosen against. Needs numpy.

Maps are [S, S], larger = more anomalous; t is the number of training parts; {bank: …} names "xyz", "rgb", "fusion".
"""

from typing import Any, NamedTuple

import numpy as np

from utils.errors import InputError

TOPK = 64  # pixels that an image score averages: 0.13 % of a map of 224×224
PRIOR_PARTS = 2
LIMIT = 1e6  # of a calibrated value, either way
NO_SPREAD = 1e-6  # a peak this little above the level, relative to both, is rounding


class TrainingStatistics(NamedTuple):
    """What ``calibrated`` has learned from normal training parts; immutable, and all of it fits into JSON."""

    banks: tuple  # names of the banks that are used
    level: tuple  # of each, in its own units
    scale: tuple  # of each, peak - level, in its own units, positive
    left_out: tuple  # names of banks whose maps show no spread: they are not used, and a caller should say so
    parts: int  # training parts
    topk: int  # K
    scores: tuple  # calibrated image scores of the training parts themselves: an estimate, no promise


def training_statistics(maps, topk=TOPK):
    """What the training parts' maps teach.

    Args:
        maps: {bank: [t, S, S]} of t normal parts, each measured without its own rows. Pixels that are not finite are
            not counted.
        topk: K, pixels that a peak and an image score average; at most an eighth of a map.

    Returns:
        TrainingStatistics.

    Raises:
        InputError: there is no part, or no bank with any spread.
        ValueError: maps that do not fit each other, or K below 1.
    """
    maps = {bank: np.asarray(values, dtype=np.float64) for bank, values in maps.items()}
    shapes = {values.shape for values in maps.values()}
    if topk < 1 or len(shapes) > 1 or any(len(shape) != 3 for shape in shapes):
        raise ValueError(f"need K of at least 1 and maps [t, S, S] of one shape, got K = {topk} and {sorted(shapes)}")
    if not maps or 0 in next(iter(shapes)):
        raise InputError("calibrated: no training part was measured without its own rows; it needs at least two parts")
    found = {bank: _spread(values, topk) for bank, values in maps.items()}
    used = [bank for bank, spread in found.items() if spread is not None]
    if not used:
        raise InputError(
            "calibrated: the training parts' maps show no spread in any bank, so there is no unit to measure in; "
            "are the training parts copies of one another?"
        )
    parts = len(maps[used[0]])
    level, deviation, rise = np.array([found[bank] for bank in used]).T
    log_ratio = np.log(rise / deviation)
    shrunk = np.exp((parts * log_ratio + PRIOR_PARTS * log_ratio.mean()) / (parts + PRIOR_PARTS))
    left_out = tuple(bank for bank in maps if bank not in used)
    scale = tuple((deviation * shrunk).tolist())
    statistics = TrainingStatistics(tuple(used), tuple(level.tolist()), scale, left_out, parts, int(topk), ())
    scores = tuple(image_score(one, topk) for one in calibrated_map(maps, statistics))
    return statistics._replace(scores=scores)


def restored(values):
    """TrainingStatistics from its ``_asdict()`` after a way through JSON.

    Raises:
        ValueError: fields are missing, foreign, or do not fit each other.
    """
    try:
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, (list, tuple)) else v for name, v in values.items()}
        s = TrainingStatistics(**fields)
        sound = (
            len(s.banks) == len(s.level) == len(s.scale) > 0
            and np.isfinite([*s.level, *s.scale]).all()
            and min(s.scale) > 0
            and s.parts == len(s.scores) > 0
            and s.topk >= 1
        )
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not calibrated's training statistics: {error}") from None
    if not sound:
        raise ValueError("not calibrated's training statistics: the fields do not fit each other")
    return s


def calibrated_banks(maps, statistics):
    """Each used bank's map in its own unit.

    Args:
        maps: {bank: [..., S, S]} of one part (or of several, stacked) with all the banks of ``statistics``.
        statistics: TrainingStatistics.

    Returns:
        {bank: [..., S, S] float64 from -LIMIT to LIMIT}, NaN where the map is.

    Raises:
        ValueError: banks that do not fit the statistics.
    """
    known = {*statistics.banks, *statistics.left_out}
    if set(maps) != known:
        raise ValueError(f"calibrated: maps of the banks {sorted(maps)}, statistics of {sorted(known)}")
    with np.errstate(over="ignore"):
        return {
            bank: np.clip((np.asarray(maps[bank], dtype=np.float64) - level) / scale, -LIMIT, LIMIT)
            for bank, level, scale in zip(statistics.banks, statistics.level, statistics.scale)
        }


def calibrated_map(maps, statistics):
    """The calibrated map: per pixel the largest of the banks, each in its own unit.

    Args and errors as :func:`calibrated_banks`.

    Returns:
        [..., S, S] float64 from -LIMIT to LIMIT. A bank that is NaN at a pixel does not count there; where all are, 0.
    """
    largest = np.fmax.reduce(list(calibrated_banks(maps, statistics).values()))
    return np.where(np.isnan(largest), 0.0, largest)


def image_score(calibrated, topk=TOPK):
    """Mean of the K largest pixels (at most an eighth) of a calibrated map [S, S]: float, about 1 for a normal part."""
    values = np.ravel(calibrated)
    return float(np.mean(np.sort(values[_largest(values, topk)])))  # in one order, so that rounding is monotone too


def score_shares(maps, statistics, pixels=None):
    """How much of a part's score comes from which bank.

    A pixel's value belongs to the bank that is largest there, in equal parts where several are.

    Args:
        maps: {bank: [S, S]} of one part, as for :func:`calibrated_map`.
        statistics: TrainingStatistics.
        pixels: [S, S] bool, a region to explain by the mean of its pixels; None: the pixels of the image score.

    Returns:
        {bank: float}; they add up to the image score (or to the region's mean calibrated value). A left-out bank has 0.

    Raises:
        ValueError: banks that do not fit the statistics, or an empty region.
    """
    stack = np.stack([np.ravel(z) for z in calibrated_banks(maps, statistics).values()])
    value = np.ravel(calibrated_map(maps, statistics))
    chosen = _largest(value, statistics.topk) if pixels is None else np.flatnonzero(pixels)
    if not len(chosen):
        raise ValueError("no pixel to explain")
    owners = stack[:, chosen] == value[chosen]
    owned = owners / np.maximum(owners.sum(axis=0), 1) * value[chosen]  # 0 where no bank has a value
    return {**dict(zip(statistics.banks, owned.mean(axis=1).tolist())), **dict.fromkeys(statistics.left_out, 0.0)}


def _largest(values, topk):
    """Indices of the K largest of ``values`` [m]."""
    count = min(int(topk), max(1, values.size // 8))
    return np.argpartition(values, values.size - count)[values.size - count :]


def _spread(values, topk):
    """(level, standard deviation, peak - level) of maps [t, S, S], or None where they show no spread."""
    finite = [part[np.isfinite(part)] for part in values]
    finite = [part for part in finite if part.size]
    if not finite:
        return None
    pixels = np.concatenate(finite)
    level, peak = pixels.mean(), np.mean([part[_largest(part, topk)].mean() for part in finite])
    deviation, rise = pixels.std(), peak - level
    return (level, deviation, rise) if rise > NO_SPREAD * max(abs(level), abs(peak)) else None
