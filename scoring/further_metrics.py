"""Metrics beyond the three of the tables: for defects that are rare, and for decisions about parts.

All are shares from 0 to 1, larger is better. A metric is None if the test set leaves it undefined.

| name | what it is |
|---|---|
| au_pro_n | AU-PRO up to a false-positive rate of n %, with all distinct thresholds |
| aupimo | mean share of a part's defect found, over 1e-5 to 1e-4 of the pixels of good parts being false alarms |
| pixel_ap, image_ap | average precision |
| image_f1_max | largest F1 over all thresholds |
| pg_n | share of good parts passed where at most n % of the defective ones are missed |
| pb_n | share of defective parts failed where at most n % of the good ones fail |

Sources: AUPIMO: Bertoldo, Ameln, Vaidya and Akçay, "AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High
Speed and Low Tolerance", BMVC 2024 (arXiv 2401.01984). PG and PB ("presorted good", "presorted bad") are the names that
anomalib uses for the true-negative rate at a given miss rate and the true-positive rate at a given false-alarm rate.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scoring.au_pro import area_up_to, calculate_au_pro
from scoring.metrics import count_below, flat_pixels, one_class

Array = NDArray[Any]
Images = Sequence[Array] | Array  # n masks or maps [H, W]
Value = tuple[float | None, float | None]  # a metric, and its threshold: a part fails if score >= threshold

PIXEL_METRICS = ("au_pro_1", "au_pro_5", "au_pro_30", "aupimo", "pixel_ap")
AUPIMO_BOUNDS = (1e-5, 1e-4)
UNDEFINED = None, None
_ROUNDING = 1e-9  # 0.07 of 100 parts are 7 parts, though 0.07 * 100 > 7 in binary


def pixel_metrics(gts: Images | None, maps: Sequence[Array], names: Sequence[str]) -> dict[str, Value]:
    """{name: (value, None)} of the pixel metrics in ``names``; ``gts``: None if masks are missing."""
    limits = {name: int(name.removeprefix("au_pro_")) / 100 for name in names if name.startswith("au_pro_")}
    out: dict[str, float | None] = dict.fromkeys([*limits, *(name for name in names if name in ("aupimo", "pixel_ap"))])
    if gts is not None and limits:
        whole, (fprs, pros) = calculate_au_pro(gts, maps, max(limits.values()), "exact")  # one curve for all limits
        if whole is not None:
            out |= {name: float(area_up_to(fprs, pros, limit) / limit) for name, limit in limits.items()}
    if gts is not None and "aupimo" in out:
        values = aupimo_per_image(gts, maps)
        out["aupimo"] = None if values is None else float(np.nanmean(values))
    if gts is not None and "pixel_ap" in out:
        out["pixel_ap"] = average_precision(*flat_pixels(gts, maps))
    return {name: (value, None) for name, value in out.items()}


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """scikit-learn's average precision of 0/1 ``labels`` [n] and ``scores`` [n]; None if only one class is present."""
    if one_class(labels):
        return None
    from sklearn.metrics import average_precision_score  # imported here, since that takes a second

    return float(average_precision_score(labels, scores))


def f1_max(labels: ArrayLike, scores: ArrayLike) -> Value:
    """The largest F1 over all thresholds, and the lowest threshold that reaches it; of 0/1 ``labels`` and ``scores``
    [n]."""
    if one_class(labels):
        return UNDEFINED
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(labels, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = int(np.argmax(f1[:-1]))  # the last point has no threshold
    return float(f1[best]), float(thresholds[best])


def good_passed(labels: ArrayLike, scores: ArrayLike, miss_rate: float) -> Value:
    """PG: the share of good parts that pass while at most ``miss_rate`` of the defective parts pass.

    Args:
        labels: [n], 0 good, 1 defective.
        scores: [n], larger = more anomalous.
        miss_rate: share of the defective parts, at least 0 and below 1; of m parts, floor(miss_rate · m) may pass.
    """
    if one_class(labels):
        return UNDEFINED
    good, defective = _split(labels, scores)
    threshold = _next_after(defective, miss_rate)  # a score equal to it fails
    return float(np.mean(good < threshold)), float(threshold)


def defective_failed(labels: ArrayLike, scores: ArrayLike, false_alarm_rate: float) -> Value:
    """PB: the share of defective parts that fail while at most ``false_alarm_rate`` of the good parts fail.

    Arguments as of :func:`good_passed`; of m good parts, floor(false_alarm_rate · m) may fail. The threshold is None if
    it is above every score of the test set, so that no part fails.
    """
    if one_class(labels):
        return UNDEFINED
    good, defective = _split(labels, scores)
    caught = defective[defective > -_next_after(-good, false_alarm_rate)]  # above the highest score that has to pass
    return len(caught) / len(defective), float(caught.min()) if len(caught) else None


IMAGE_METRICS: dict[str, Callable[[Array, Array], Value]] = {  # name: function of labels and scores [n]
    "image_ap": lambda labels, scores: (average_precision(labels, scores), None),
    "image_f1_max": f1_max,
    **{f"pg_{n}": partial(good_passed, miss_rate=n / 100) for n in (0, 1, 5)},
    **{f"pb_{n}": partial(defective_failed, false_alarm_rate=n / 100) for n in (0, 1, 5)},
}
EXTRA_METRICS = (*PIXEL_METRICS, *IMAGE_METRICS)


def _split(labels: ArrayLike, scores: ArrayLike) -> tuple[Array, Array]:
    """(scores of the good parts, of the defective ones), float64."""
    bad, values = np.ravel(labels) != 0, np.ravel(np.asarray(scores, dtype=np.float64))
    return values[~bad], values[bad]


def _next_after(values: Array, rate: float) -> Any:
    """The smallest of ``values`` [m] behind the first floor(rate · m)."""
    return np.sort(values)[int(np.floor(rate * len(values) + _ROUNDING))]


def aupimo_per_image(gts: Images, maps: Images, bounds: tuple[float, float] = AUPIMO_BOUNDS) -> Array | None:
    """Area under the per-image overlap curve of each defective image.

    At a threshold, the false-positive rate is the share of a normal image's pixels at or above it, averaged over the
    normal images (those without a defective pixel). The overlap of a defective image is the share of its defective
    pixels at or above it. The overlap is averaged over the logarithm of the false-positive rate between ``bounds``.
    Every distinct score of the normal images is a threshold. (The published implementation uses many evenly spaced
    thresholds; the difference shrinks with their number.)

    Args:
        gts: n masks [H, W], non-zero where defective.
        maps: n anomaly maps of one size, larger = more anomalous.
        bounds: (lowest, highest) false-positive rate.

    Returns:
        [n] float64 from 0 to 1, nan for normal images. None if there is no defective image, or if the normal images
        have too few pixels for the lowest rate (1 / ``bounds[0]`` are needed: two 224×224 images).
    """
    low, high = bounds
    masks, pixels = np.asarray(gts) != 0, np.asarray(maps)
    normal = ~masks.any(axis=(1, 2))
    if normal.all() or not normal.any():
        return None
    scores, counts = np.unique(pixels[normal], return_counts=True)
    scores, rates = scores[::-1], np.cumsum(counts[::-1]) / counts.sum()
    if rates[0] > low:
        return None
    kept = int(np.searchsorted(rates, high, side="left")) + 1  # the first rate at or above the upper bound closes it
    edges = np.log(np.clip(np.append(0.0, rates[:kept]), low, high))
    width = np.diff(edges) / (edges[-1] - edges[0])
    out = np.full(len(masks), np.nan)
    for i in np.flatnonzero(~normal):
        inside = np.sort(pixels[i][masks[i]])
        # of pixels equal to the threshold half count: the trapezoid rule at the curve's step
        out[i] = width @ (1 - count_below(scores[:kept], inside) / len(inside))
    return out
