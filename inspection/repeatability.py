"""How well an inspection repeats itself: the spread of scans of one part against the spread between parts.

The model has one-way random effects: score = mean + part + repetition. The pooled variance within parts (MS within) is
the repeatability. The variance between parts is (MS between - MS within) / n0, where n0 is the number of scans per part
(for unequal numbers (N - sum n_i² / N) / (m - 1)). %GRR and the number of distinct categories are those of the AIAG
manual on measurement systems analysis. There is one instrument and no operator, so GRR is the repeatability alone. Its
interval uses F, which is exact for normal scores and equal numbers of scans per part, and approximate otherwise.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from common.errors import InputError
from inspection.verdict import CONFIDENCE, Rate, rate


class Spread(NamedTuple):
    """Spread of a value within and between parts; None for what cannot be computed."""

    mean: float
    within: float | None = None  # standard deviation of scans of one part; None if no part was scanned twice
    between: float | None = None  # standard deviation of parts; None with one part
    grr: float | None = None  # within / sqrt(within² + between²)
    grr_low: float | None = None
    grr_high: float | None = None
    categories: int | None = None  # floor(1.41 between / within), at least 1; None also if within is 0: then unlimited


def spread(values: ArrayLike, parts: Sequence[Any]) -> Spread:
    """The :class:`Spread` of n scans with ``values`` [n]; ``parts`` [n]: the name of each scan's part.

    Raises:
        InputError: there is no value, or one is not finite.
    """
    from scipy.stats import f

    scores = np.asarray(values, np.float64)
    if not len(scores) or not np.isfinite(scores).all():
        broken = f"{np.count_nonzero(~np.isfinite(scores))} of {len(scores)} values are not finite"
        raise InputError(f"{broken}; at least one value is needed, and all finite")
    index, sizes = np.unique(np.asarray(parts, str), return_inverse=True, return_counts=True)[1:]
    n, m, mean = len(scores), len(sizes), float(scores.mean())
    means = np.bincount(index, scores) / sizes
    free = n - m  # degrees of freedom within parts
    if not free:
        return Spread(mean)
    squares = float(((scores - means[index]) ** 2).sum())
    squares = 0.0 if all(np.ptp(scores[index == i]) == 0 for i in range(m)) else squares  # means are rounded
    within = math.sqrt(squares / free)
    if m < 2:
        return Spread(mean, within)
    square_between = float((sizes * (means - mean) ** 2).sum()) / (m - 1)
    scans_a_part = (n - (sizes**2).sum() / n) / (m - 1)
    between = math.sqrt(max(0.0, (square_between - within**2) / scans_a_part))
    if not within:
        nothing = 0.0 if between else None
        return Spread(mean, within, between, nothing, nothing, nothing)
    tail, ratio = (1 - CONFIDENCE) / 2, square_between / within**2
    grr_low, grr_high = (
        1 / math.sqrt(1 + max(0.0, (ratio / f.ppf(q, m - 1, free) - 1) / scans_a_part)) for q in (tail, 1 - tail)
    )
    categories = max(1, math.floor(1.41 * between / within))
    return Spread(mean, within, between, within / math.hypot(within, between), grr_low, grr_high, categories)


def same_verdicts(verdicts: Sequence[str], parts: Sequence[str]) -> Rate:
    """The :class:`Rate` of parts, among those scanned more than once, whose scans all got the same verdict; "cannot
    judge" counts as a verdict."""
    own = [[v for v, p in zip(verdicts, parts) if p == part] for part in dict.fromkeys(parts)]
    repeated = [set(of) for of in own if len(of) > 1]
    return rate(sum(len(of) == 1 for of in repeated), len(repeated))
