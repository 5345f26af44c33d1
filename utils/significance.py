"""How far the differences between scorings can be trusted: DeLong's test and bootstrap intervals.

The test parts of one category are the sample; training, seed and category stay fixed.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from utils.au_pro_util import area_up_to, region_weights, threshold_positions, weight_above
from utils.metrics import count_below

METRICS = ("image_rocauc", "pixel_rocauc", "au_pro")
LIMIT = 0.3
LEVEL = 0.95


class Difference(NamedTuple):
    """A paired difference and its 95 % interval over test parts."""

    value: float
    low: float
    high: float

    @property
    def sign(self):
        """1 above 0, -1 below, 0 where the interval holds 0."""
        return int(self.low > 0) - int(self.high < 0)


def difference_by_error(found):
    """Difference of the mean of independent differences.

    Args:
        found: [(difference, standard error, ...)], one per category, as :func:`delong_test` returns them.
    """
    value = float(np.mean([of[0] for of in found]))
    half = float(norm.ppf((1 + LEVEL) / 2)) * math.sqrt(sum(of[1] ** 2 for of in found)) / len(found)
    return Difference(value, value - half, value + half)


def difference_by_draws(found):
    """Difference of the mean of independent differences.

    Args:
        found: [(difference, resampled differences [r], nan where undefined)], one per category.
    """
    drawn = np.mean([of[1] for of in found], axis=0)
    low, high = np.nanquantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Difference(float(np.mean([of[0] for of in found])), float(low), float(high))


def delong_test(labels, scores_a, scores_b):
    """Paired test of two ROC AUCs on the same samples (DeLong et al., Biometrics 44, 1988).

    The structural components are counted in sorted lists, O(n log n), as Sun and Xu (IEEE SPL 21, 2014) do by midranks.

    Args:
        labels: [n], 0/1.
        scores_a, scores_b: [n]; or [s, n], of s trainings: then their mean AUCs are compared, whose structural
            components are the means of the trainings' own.

    Returns:
        (AUC a - AUC b, its standard error, two-sided p), or None with fewer than two samples of a class.
        A standard error of 0 gives p = 1 for equal AUCs and 0 otherwise.
    """
    positive = np.asarray(labels) != 0
    m, n = np.count_nonzero(positive), np.count_nonzero(~positive)
    if min(m, n) < 2:
        return None
    (ones_a, zeros_a), (ones_b, zeros_b) = (
        _mean_placements(positive, np.atleast_2d(scores)) for scores in (scores_a, scores_b)
    )
    difference = (ones_a - ones_b).sum() / (m * n)
    variance = np.var((ones_a - ones_b) / n, ddof=1) / m + np.var((zeros_a - zeros_b) / m, ddof=1) / n
    if variance == 0:
        return float(difference), 0.0, float(difference == 0)
    error = math.sqrt(variance)
    return float(difference), error, float(2 * norm.sf(abs(difference) / error))


def _mean_placements(positive, trainings):
    """:func:`_placements` of each of [s, n] scores, averaged."""
    ones, zeros = zip(*(_placements(positive, scores) for scores in trainings))
    return np.mean(ones, axis=0), np.mean(zeros, axis=0)


def _placements(positive, scores):
    """(zeros below each one [m], ones below each zero [n]), ties counting one half."""
    ones, zeros = scores[positive], scores[~positive]
    return count_below(ones, np.sort(zeros)), count_below(zeros, np.sort(ones))


def bootstrap_intervals(labels, gts, scored, resamples=1000, seed=0):
    """Percentile bootstrap intervals (95 %) of each scoring's metrics and of their differences to the baseline's.

    Test images are drawn with replacement, good ones among the good and defective ones among the defective, the
    same draw for all scorings. The two ROC AUCs are exact for every resample. The AU-PRO of a resample
    keeps the thresholds of the full set, see :class:`PixelCounts`.

    Args:
        labels: [n] image labels, 0/1.
        gts: n masks [H, W], non-zero where defective.
        scored: {name: Scored} with "baseline"; scorings that share a list of maps share its work.
        resamples: number of resamples.
        seed: of the draws.

    Returns:
        {name: {metric: interval, ..., "difference": {metric: interval, ...}}} for METRICS, where an interval is
        {"value", "low", "high"} (the full set's value first), or None where the full set leaves the metric undefined.
        Resamples that leave a metric undefined are left out of its interval.
    """
    labels = np.ravel(labels) != 0
    weights = np.vstack([np.ones(len(labels)), resample_weights(labels, resamples, seed)])
    pixel, values = {}, {}
    for name, (image_preds, maps) in scored.items():
        if id(maps) not in pixel:
            counts = PixelCounts(gts, maps)
            pixel[id(maps)] = {"pixel_rocauc": counts.rocauc(weights), "au_pro": counts.au_pro(weights)}
        values[name] = {"image_rocauc": image_rocauc(labels, image_preds, weights), **pixel[id(maps)]}
    base = values["baseline"]
    return {
        name: {
            **{metric: _interval(own[metric]) for metric in METRICS},
            "difference": {metric: _interval(own[metric] - base[metric]) for metric in METRICS},
        }
        for name, own in values.items()
    }


def resample_weights(labels, resamples, seed):
    """How often each image stands in each resample, stratified by ``labels`` [n] bool: [resamples, n]."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((resamples, len(labels)))
    for members in (np.flatnonzero(~labels), np.flatnonzero(labels)):
        if len(members):
            weights[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=resamples)
    return weights


def image_rocauc(labels, scores, weights):
    """Image ROC AUC ([r], nan where undefined) of ``labels`` [n] bool and ``scores`` [n] under image weights [r, n]."""
    scores = np.ravel(scores)
    ones, zeros = scores[labels][:, None], scores[~labels][None]
    wins = (ones > zeros) + (ones == zeros) / 2
    return _pairs(weights[:, labels], wins, weights[:, ~labels], np.ones(len(ones)), np.ones(zeros.size))


class PixelCounts:
    """What pixel metrics of resampled images are sums of, counted once per image.

    Attributes, for n images:
        defective, normal: [n], pixels inside and outside the mask.
        wins: [n, n], [i, j]: pairs of a defective pixel of image i and a defect-free one of image j in which the
            former scores higher, ties counting one half.
        regions: [n], 8-connected defect regions.
        overlap: [n, t], summed over the image's regions: share of the region's pixels above the threshold.
        above: [n, t], defect-free pixels above the threshold.

    The t thresholds are those of calculate_au_pro for the full set, from the lowest score to the highest. Where several
    defect-free pixels equal a threshold, calculate_au_pro counts those behind its position as above; here every image
    gets that share of its equal pixels, so that the full set keeps its AU-PRO.
    """

    def __init__(self, gts, maps):
        """gts: n masks [H, W], non-zero where defective; maps: n anomaly maps [H, W]."""
        masks, maps = [np.asarray(gt) != 0 for gt in gts], [np.asarray(m) for m in maps]
        n = len(maps)
        inside = [m[mask] for m, mask in zip(maps, masks)]
        outside = [np.sort(m[~mask]) for m, mask in zip(maps, masks)]
        self.defective, self.normal = np.array([len(s) for s in inside]), np.array([len(s) for s in outside])

        scores, image = np.concatenate(inside), np.repeat(np.arange(n), self.defective)
        order = np.argsort(scores)
        scores, image = scores[order], image[order]
        self.wins = np.stack([np.bincount(image, count_below(scores, other), minlength=n) for other in outside], axis=1)

        normal = np.sort(np.concatenate(outside))
        positions = threshold_positions(len(normal)) if len(normal) else np.empty(0, int)
        thresholds = normal[positions]
        weights = [region_weights(mask) for mask in masks]
        self.regions = np.round([w.sum() for w in weights])
        self.overlap = np.stack([weight_above(s, w, thresholds) for s, w in zip(inside, weights)])
        above = np.stack([len(s) - np.searchsorted(s, thresholds, side="right") for s in outside])
        equal = np.stack([len(s) - np.searchsorted(s, thresholds, side="left") for s in outside]) - above
        behind = len(normal) - 1 - positions
        self.above = above + equal * ((behind - above.sum(axis=0)) / equal.sum(axis=0))

    def rocauc(self, weights):
        """Pixel ROC AUC under image weights [r, n]: [r], nan where undefined."""
        return _pairs(weights, self.wins, weights, self.defective, self.normal)

    def au_pro(self, weights):
        """AU-PRO under image weights [r, n]: [r], nan where undefined."""
        regions, normal = weights @ self.regions, weights @ self.normal
        defined = (regions > 0) & (normal > 0)
        out = np.full(len(weights), np.nan)
        w, end = weights[defined], np.ones((np.count_nonzero(defined), 1))
        fprs = np.hstack([end, w @ self.above / normal[defined, None]])[:, ::-1]
        pros = np.hstack([end, w @ self.overlap / regions[defined, None]])[:, ::-1]
        out[defined] = area_up_to(fprs, pros, LIMIT) / LIMIT
        return out


def _pairs(w_ones, wins, w_zeros, ones, zeros):
    """Weighted share of won pairs [r]: weights [r, a] and [r, b], wins [a, b], and how many ones [a] and zeros [b]
    there are."""
    won, pairs = np.sum((w_ones @ wins) * w_zeros, axis=1), (w_ones @ ones) * (w_zeros @ zeros)
    return np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def _interval(values):
    """{"value", "low", "high"} of [1 + resamples] values, the full set's first; None where that one is undefined."""
    if np.isnan(values[0]):
        return None
    low, high = np.nanquantile(values[1:], ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return {"value": float(values[0]), "low": float(low), "high": float(high)}
