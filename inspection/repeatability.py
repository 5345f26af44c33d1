"""How well an inspection repeats itself: the spread of scans of one part against the spread between parts, and verdicts
against labels.

The model has one-way random effects: score = mean + part + repetition. The pooled variance within parts (MS within) is
the repeatability. The variance between parts is (MS between - MS within) / n0, where n0 is the number of scans per part
(for unequal numbers (N - sum n_i² / N) / (m - 1)). %GRR and the number of distinct categories are those of the AIAG
manual on measurement systems analysis. There is one instrument and no operator, so GRR is the repeatability alone. The
interval for the spread within parts uses chi-squared, that for %GRR uses F. The latter is exact for normal scores and
equal numbers of scans per part, approximate otherwise.
"""

import math
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.errors import InputError
from inspection.verdict import CANNOT_JUDGE, CONFIDENCE, FAIL, Rate, rate


class Spread(NamedTuple):
    """Spread of a value within and between parts; None for what cannot be computed."""

    scans: int
    parts: int
    mean: float
    within: float | None  # standard deviation of scans of one part; None if no part was scanned twice
    within_low: float | None
    within_high: float | None
    between: float | None  # standard deviation of parts; None with one part
    grr: float | None  # within / sqrt(within² + between²)
    grr_low: float | None
    grr_high: float | None
    categories: int | None  # floor(1.41 between / within), at least 1; None also if within is 0: then unlimited


class Kappa(NamedTuple):
    """Cohen's kappa of verdicts and labels, its bootstrap interval over parts, and the agreement; None if
    undefined."""

    value: float | None
    low: float | None
    high: float | None
    agreement: float
    scans: int
    parts: int


def part_of(path: str, pattern: str | None = None) -> str:
    """The part that a scan's path names: what the first group (without groups the whole) of the regular expression
    ``pattern`` finds in it; None: the scan's folder, for ``PART/rgb/000.png`` the one above ``rgb``.

    Raises:
        InputError: the pattern does not match the path.
    """
    if pattern is None:
        folder = PurePosixPath(path).parent
        return str(folder.parent if folder.name == "rgb" else folder)
    found = re.search(pattern, path)
    name = found and (found[1] if found.re.groups else found[0])
    if not name:
        raise InputError(f"{path}: the pattern {pattern} finds no part's name in it")
    return name


def spread(values: ArrayLike, parts: Sequence[Any], confidence: float = CONFIDENCE) -> Spread:
    """The :class:`Spread` of n scans with ``values`` [n]; ``parts`` [n]: the name of each scan's part.

    Raises:
        InputError: there is no value, or one is not finite.
    """
    from scipy.stats import chi2, f

    scores = np.asarray(values, np.float64)
    if not len(scores) or not np.isfinite(scores).all():
        broken = f"{np.count_nonzero(~np.isfinite(scores))} of {len(scores)} values are not finite"
        raise InputError(f"{broken}; at least one value is needed, and all finite")
    index, sizes = np.unique(np.asarray(parts, str), return_inverse=True, return_counts=True)[1:]
    n, m, mean = len(scores), len(sizes), float(scores.mean())
    means = np.bincount(index, scores) / sizes
    free = n - m  # degrees of freedom within parts
    if not free:
        return Spread(n, m, mean, None, None, None, None, None, None, None, None)
    tail = (1 - confidence) / 2
    squares = float(((scores - means[index]) ** 2).sum())
    squares = 0.0 if all(np.ptp(scores[index == i]) == 0 for i in range(m)) else squares  # means are rounded
    within = math.sqrt(squares / free)
    low, high = (math.sqrt(squares / chi2.ppf(q, free)) for q in (1 - tail, tail))
    if m < 2:
        return Spread(n, m, mean, within, low, high, None, None, None, None, None)
    square_between = float((sizes * (means - mean) ** 2).sum()) / (m - 1)
    scans_a_part = (n - (sizes**2).sum() / n) / (m - 1)
    between = math.sqrt(max(0.0, (square_between - within**2) / scans_a_part))
    total = math.hypot(within, between)
    if not within:
        known = 0.0 if total else None
        return Spread(n, m, mean, within, low, high, between, known, known, known, None)
    ratio = square_between / within**2
    grr_low, grr_high = (_grr(ratio / f.ppf(q, m - 1, free), scans_a_part) for q in (tail, 1 - tail))
    categories = max(1, math.floor(1.41 * between / within))
    return Spread(n, m, mean, within, low, high, between, within / total, grr_low, grr_high, categories)


def _grr(ratio: float, scans_a_part: float) -> float:
    """GRR as a share of the total spread, where MS between / MS within is ``ratio``."""
    return 1 / math.sqrt(1 + max(0.0, (ratio - 1) / scans_a_part))


def same_verdicts(verdicts: Sequence[str], parts: Sequence[str]) -> Rate:
    """The :class:`Rate` of parts, among those scanned more than once, whose scans all got the same verdict; "cannot
    judge" counts as a verdict."""
    own = [[v for v, p in zip(verdicts, parts) if p == part] for part in dict.fromkeys(parts)]
    repeated = [set(of) for of in own if len(of) > 1]
    return rate(sum(len(of) == 1 for of in repeated), len(repeated))


def kappa(
    verdicts: Sequence[str], defective: Sequence[Any], parts: Sequence[str], resamples: int = 2000, seed: int = 0
) -> Kappa:
    """The :class:`Kappa` of the scans that were judged.

    Scans of one part depend on each other. So the bootstrap draws whole parts with replacement: good parts among the
    good, defective parts among the defective. If all verdicts agree with the labels, every draw gives 1, which says
    little; then the rates of ``inspection.verdict.outcome`` say more.

    Args:
        verdicts: [n]; scans with "cannot judge" are left out.
        defective: [n] truth values, the same for all scans of a part.
        parts: [n] names.

    Raises:
        InputError: no scan was judged.
    """
    entries = [(v == FAIL, bool(d), p) for v, d, p in zip(verdicts, defective, parts) if v != CANNOT_JUDGE]
    if not entries:
        raise InputError("no scan with a label was judged")
    label = {part: bad for _, bad, part in entries}
    names = list(label)
    counts = np.zeros((len(names), 2, 2))  # part, label, verdict
    for failed, bad, part in entries:
        counts[names.index(part), int(bad), int(failed)] += 1
    rng, weights = np.random.default_rng(seed), np.zeros((resamples, len(names)))
    for bad in (False, True):
        own = [i for i, name in enumerate(names) if label[name] is bad]
        weights[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), resamples) if own else 0
    total = counts.sum(0)
    value, *drawn = _kappa(np.concatenate([total[None], np.tensordot(weights, counts, 1)]))
    agreed, tail = float(np.trace(total) / total.sum()), (1 - CONFIDENCE) / 2
    if np.isnan(value):
        return Kappa(None, None, None, agreed, len(entries), len(names))
    low, high = np.nanquantile(drawn, (tail, 1 - tail))
    return Kappa(float(value), float(low), float(high), agreed, len(entries), len(names))


def _kappa(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cohen's kappa of tables [..., 2, 2]; NaN if chance alone would give full agreement."""
    n = tables.sum((-2, -1))
    agreed = np.trace(tables, axis1=-2, axis2=-1) / n
    chance = (tables.sum(-1) * tables.sum(-2)).sum(-1) / n**2
    undefined = np.full(np.shape(n), np.nan)
    found: NDArray[np.float64] = np.divide(agreed - chance, 1 - chance, out=undefined, where=chance < 1)
    return found
