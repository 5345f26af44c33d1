"""Names normal parts whose scores lie far from those of the others: a defective part among them, or a bad scan.

They are named and never removed: calibration parts that were chosen by their score promise nothing.
"""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from common.errors import InputError

SPREADS, TIMES = 6.0, 1.5  # robust spreads above the median, and times the median of the others
PER_MAD = 1.4826  # standard deviations of a normal distribution in its median absolute deviation
FEWEST = 5  # parts of which a median says something


def outlying(names: Sequence[str], scores: ArrayLike) -> list[str]:
    """A text on each of the parts ``names`` [n] whose score is far above the others'; ``scores`` [n]: larger = more
    abnormal, each measured without the part's own rows."""
    values = np.asarray(scores, np.float64)
    if len(values) < FEWEST:
        return []
    middle = np.median(values)
    far = values > middle + SPREADS * PER_MAD * np.median(np.abs(values - middle))
    far &= values > TIMES * np.median(values[~far])
    others = values[~far]
    return [
        f"{name}: scores {score:.3g}, the others {others.min():.2g} to {others.max():.2g}: look at it; if it is "
        "defective, others like it pass: take it out and fit again, which may show more"
        for name, score, out in zip(names, values, far)
        if out
    ]


def check_outlying(names: Sequence[str], scores: ArrayLike, strict: bool) -> None:
    """Warn of parts whose scores lie far from the others'.

    Raises:
        InputError: there are such parts, and ``strict`` is set.
    """
    told = outlying(names, scores)
    if strict and told:
        more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
        raise InputError(f"{told[0]}{more} (--strict: no model is written)")
    for text in told:
        logging.warning("%s", text)
