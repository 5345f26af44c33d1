"""Metrics that a user decides by: what is found while hardly any normal pixel, or hardly any good part, is disturbed.

All are shares from 0 to 1, larger is better. A metric that the test set leaves undefined is None.

| name | what it is |
|---|---|
| AUPIMO | mean share of a part's defect found, over 1e-5 to 1e-4 of the pixels of good parts being false alarms |
| PG at a miss rate | share of good parts passed where at most that share of the defective ones is missed |
| PB at a false-alarm rate | share of defective parts failed where at most that share of the good ones fails |

Sources: AUPIMO: Bertoldo, Ameln, Vaidya and Akçay, "AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High
Speed and Low Tolerance", BMVC 2024 (arXiv 2401.01984). PG and PB ("presorted good", "presorted bad") are the names that
anomalib uses for the true-negative rate at a given miss rate and the true-positive rate at a given false-alarm rate.
"""

from typing import NamedTuple, Optional

import numpy as np

from utils.metrics import one_class

AUPIMO_BOUNDS = (1e-5, 1e-4)
_ROUNDING = 1e-9  # 0.07 of 100 parts are 7 parts, though 0.07 * 100 > 7 in binary


class OperatingPoint(NamedTuple):
    """A share of parts judged right, and the score from which on a part fails (``score >= threshold``)."""

    share: float
    threshold: Optional[float]  # None: above every score of the test set, so that no part of it fails


def aupimo_per_image(gts, predictions, bounds=AUPIMO_BOUNDS):
    """Area under the per-image overlap curve of each defective image.

    At a threshold, the false-positive rate is the mean, over the normal images (no defective pixel), of the share of
    their pixels at or above it; the overlap of a defective image is the share of its defective pixels at or above it.
    The overlap is averaged over the logarithm of the false-positive rate between ``bounds``. Every distinct score of
    the normal images is a threshold (the published implementation takes many evenly spaced ones; the difference shrinks
    with their number).

    Args:
        gts: sequence of n [H, W] masks, non-zero where defective.
        predictions: sequence of n anomaly maps, larger = more anomalous.
        bounds: (lowest, highest) false-positive rate.

    Returns:
        [n] float64 from 0 to 1, nan for normal images; or None where there is no defective image, or where the normal
        images have too few pixels to show the lowest rate (it needs 1 / ``bounds[0]`` of them: two 224×224 images).

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


def aupimo(gts, predictions, bounds=AUPIMO_BOUNDS):
    """Mean of :func:`aupimo_per_image` over the defective images, or None."""
    values = aupimo_per_image(gts, predictions, bounds)
    return None if values is None else float(np.nanmean(values))


def _false_positive_rates(normal):
    """(distinct scores of n images, from the highest; mean share of an image's pixels at or above each)."""
    scores = np.concatenate(normal)
    if np.isnan(scores).any():
        raise ValueError("a score of a normal image is NaN")
    share = np.concatenate([np.full(m.size, 1 / (m.size * len(normal))) for m in normal])
    order = np.argsort(-scores, kind="stable")
    scores, rates = scores[order], np.cumsum(share[order])
    last = np.append(scores[1:] != scores[:-1], True)  # the last of each run of ties
    return scores[last], rates[last]


def _overlap(scores, thresholds):
    """Share of the ``scores`` [m] at or above each of the ``thresholds`` [t], those equal to one counting one half:
    [t].

    The one half is what the trapezoid rule makes of the step at a threshold.
    """
    ordered = np.sort(scores)
    below = np.searchsorted(ordered, thresholds, side="left") + np.searchsorted(ordered, thresholds, side="right")
    return 1 - below / (2 * len(ordered))


def good_passed(labels, scores, miss_rate):
    """PG: how many good parts pass where at most ``miss_rate`` of the defective ones pass as well.

    Args:
        labels: [n], 0 good, 1 defective.
        scores: [n], larger = more anomalous.
        miss_rate: share of the defective parts, 0 to below 1; with m of them, floor(miss_rate · m) may pass.

    Returns:
        OperatingPoint, or None where only one class is present.

    Raises:
        ValueError: a rate outside 0 to 1, or a NaN score.
    """
    split = _split(labels, scores, miss_rate)
    if split is None:
        return None
    good, defective = split
    threshold = np.sort(defective)[_allowed(miss_rate, len(defective))]  # ties with it fail
    return OperatingPoint(float(np.mean(good < threshold)), float(threshold))


def defective_failed(labels, scores, false_alarm_rate):
    """PB: how many defective parts fail where at most ``false_alarm_rate`` of the good ones fail as well.

    Args, returns and errors as :func:`good_passed`; with m good parts, floor(false_alarm_rate · m) may fail.
    """
    split = _split(labels, scores, false_alarm_rate)
    if split is None:
        return None
    good, defective = split
    passed = -np.sort(-good)[_allowed(false_alarm_rate, len(good))]  # the highest score that has to pass
    caught = defective[defective > passed]
    return OperatingPoint(len(caught) / len(defective), float(caught.min()) if len(caught) else None)


def _split(labels, scores, rate):
    labels, scores = np.ravel(labels) != 0, np.ravel(np.asarray(scores, dtype=np.float64))
    if not 0 <= rate < 1:
        raise ValueError(f"rate {rate}: has to be at least 0 and below 1")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    return None if not len(labels) or one_class(labels) else (scores[~labels], scores[labels])


def _allowed(rate, count):
    """How many of ``count`` parts a rate allows."""
    return int(np.floor(rate * count + _ROUNDING))
