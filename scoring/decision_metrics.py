"""Metrics for decisions: how many defects are found while very few normal pixels or good parts raise a false alarm.

All are shares from 0 to 1, larger is better. A metric is None if the test set leaves it undefined.

| name | what it is |
|---|---|
| AUPIMO | mean share of a part's defect found, over 1e-5 to 1e-4 of the pixels of good parts being false alarms |
| PG at a miss rate | share of good parts passed where at most that share of the defective ones is missed |
| PB at a false-alarm rate | share of defective parts failed where at most that share of the good ones fails |

Sources: AUPIMO: Bertoldo, Ameln, Vaidya and Akçay, "AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High
Speed and Low Tolerance", BMVC 2024 (arXiv 2401.01984). PG and PB ("presorted good", "presorted bad") are the names that
anomalib uses for the true-negative rate at a given miss rate and the true-positive rate at a given false-alarm rate.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scoring.metrics import one_class

Array = NDArray[Any]
AUPIMO_BOUNDS = (1e-5, 1e-4)
_ROUNDING = 1e-9  # 0.07 of 100 parts are 7 parts, though 0.07 * 100 > 7 in binary


class OperatingPoint(NamedTuple):
    """The share of parts judged correctly, and the threshold: a part fails if ``score >= threshold``."""

    share: float
    threshold: float | None  # None: the threshold is above every score of the test set, so no part fails


def aupimo_per_image(
    gts: Sequence[Array] | Array, predictions: Sequence[Array] | Array, bounds: tuple[float, float] = AUPIMO_BOUNDS
) -> Array | None:
    """Area under the per-image overlap curve of each defective image.

    At a threshold, the false-positive rate is the share of a normal image's pixels at or above it, averaged over the
    normal images (those without a defective pixel). The overlap of a defective image is the share of its defective
    pixels at or above it. The overlap is averaged over the logarithm of the false-positive rate between ``bounds``.
    Every distinct score of the normal images is a threshold. (The published implementation uses many evenly spaced
    thresholds; the difference shrinks with their number.)

    Args:
        gts: sequence of n [H, W] masks, non-zero where defective.
        predictions: sequence of n anomaly maps, larger = more anomalous.
        bounds: (lowest, highest) false-positive rate.

    Returns:
        [n] float64 from 0 to 1, nan for normal images. None if there is no defective image, or if the normal images
        have too few pixels for the lowest rate (1 / ``bounds[0]`` are needed: two 224×224 images).

    Raises:
        ValueError: the bounds are not 0 < lowest < highest <= 1, or a score of a normal image is NaN.
    """
    low, high = bounds
    if not 0 < low < high <= 1:
        raise ValueError(f"bounds {low}, {high}: need 0 < lowest < highest <= 1")
    masks, maps = [np.asarray(gt) != 0 for gt in gts], [np.asarray(m) for m in predictions]
    normal = [np.ravel(m) for m, mask in zip(maps, masks) if not mask.any()]
    if len(normal) == len(masks) or not normal:
        return None
    scores, rates = _false_positive_rates(normal)
    if rates[0] > low:
        return None
    kept = (
        int(np.searchsorted(rates, high, side="left")) + 1
    )  # the first rate at or above the upper bound closes the range
    scores, rates = scores[:kept], rates[:kept]
    edges = np.log(np.clip(np.append(0.0, rates), low, high))
    width = np.diff(edges) / (edges[-1] - edges[0])
    out = np.full(len(masks), np.nan)
    for i, mask in enumerate(masks):
        if mask.any():
            out[i] = width @ _overlap(maps[i][mask], scores)
    return out


def aupimo(
    gts: Sequence[Array] | Array, predictions: Sequence[Array] | Array, bounds: tuple[float, float] = AUPIMO_BOUNDS
) -> float | None:
    """Mean of :func:`aupimo_per_image` over the defective images, or None."""
    values = aupimo_per_image(gts, predictions, bounds)
    return None if values is None else float(np.nanmean(values))


def _false_positive_rates(normal: Sequence[Array]) -> tuple[Array, Array]:
    """(distinct scores of n images, highest first; for each, the mean share of an image's pixels at or above it)."""
    scores = np.concatenate(normal)
    if np.isnan(scores).any():
        raise ValueError("a score of a normal image is NaN")
    share = np.concatenate([np.full(m.size, 1 / (m.size * len(normal))) for m in normal])
    order = np.argsort(-scores, kind="stable")
    scores, rates = scores[order], np.cumsum(share[order])
    last = np.append(scores[1:] != scores[:-1], True)  # the last of each run of ties
    return scores[last], rates[last]


def _overlap(scores: Array, thresholds: Array) -> Array:
    """For each of the ``thresholds`` [t], the share of ``scores`` [m] above it plus half the share equal to it: [t].

    The half follows from the trapezoid rule at the curve's step.
    """
    ordered = np.sort(scores)
    below = np.searchsorted(ordered, thresholds, side="left") + np.searchsorted(ordered, thresholds, side="right")
    return 1 - below / (2 * len(ordered))


def good_passed(labels: ArrayLike, scores: ArrayLike, miss_rate: float) -> OperatingPoint | None:
    """PG: the share of good parts that pass while at most ``miss_rate`` of the defective parts pass.

    Args:
        labels: [n], 0 good, 1 defective.
        scores: [n], larger = more anomalous.
        miss_rate: share of the defective parts, at least 0 and below 1; of m parts, floor(miss_rate · m) may pass.

    Returns:
        OperatingPoint, or None if only one class is present.

    Raises:
        ValueError: the rate is out of range, or a score is NaN.
    """
    split = _split(labels, scores, miss_rate)
    if split is None:
        return None
    good, defective = split
    threshold = np.sort(defective)[_allowed(miss_rate, len(defective))]  # a score equal to it fails
    return OperatingPoint(float(np.mean(good < threshold)), float(threshold))


def defective_failed(labels: ArrayLike, scores: ArrayLike, false_alarm_rate: float) -> OperatingPoint | None:
    """PB: the share of defective parts that fail while at most ``false_alarm_rate`` of the good parts fail.

    Args, returns and errors as :func:`good_passed`; of m good parts, floor(false_alarm_rate · m) may fail.
    """
    split = _split(labels, scores, false_alarm_rate)
    if split is None:
        return None
    good, defective = split
    passed = -np.sort(-good)[_allowed(false_alarm_rate, len(good))]  # the highest score that has to pass
    caught = defective[defective > passed]
    return OperatingPoint(len(caught) / len(defective), float(caught.min()) if len(caught) else None)


def _split(labels: ArrayLike, scores: ArrayLike, rate: float) -> tuple[Array, Array] | None:
    bad, values = np.ravel(labels) != 0, np.ravel(np.asarray(scores, dtype=np.float64))
    if not 0 <= rate < 1:
        raise ValueError(f"rate {rate}: has to be at least 0 and below 1")
    if np.isnan(values).any():
        raise ValueError("a score is NaN")
    return None if not len(bad) or one_class(bad) else (values[~bad], values[bad])


def _allowed(rate: float, count: int) -> int:
    """The number of parts that a rate allows among ``count`` parts."""
    return int(np.floor(rate * count + _ROUNDING))
