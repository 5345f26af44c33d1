"""How far differences between scorings can be trusted: bootstrap intervals over the test parts of one category."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scoring.ablation import Scored
from scoring.au_pro import area_up_to, region_weights, threshold_positions, weight_above
from scoring.metrics import METRICS, count_below

Array = NDArray[Any]
LIMIT = 0.3
LEVEL = 0.95
BOUNDS = (1 - LEVEL) / 2, (1 + LEVEL) / 2


def bootstrap_intervals(
    labels: ArrayLike, gts: Sequence[Array] | Array, scored: Mapping[str, Scored], resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Percentile bootstrap intervals (95 %) of each scoring's metrics and of their differences to the baseline's.

    Test images are drawn with replacement: good ones among the good, defective ones among the defective, with the same
    draws for all scorings. The AU-PRO of a resample uses the thresholds of the full set, see :class:`PixelCounts`.

    Args:
        labels: [n] image labels, 0/1.
        gts: n masks [H, W], non-zero where defective.
        scored: {name: Scored} with "baseline"; scorings with the same list of maps share the computation.

    Returns:
        {name: {metric: interval, ..., "difference": {metric: interval, ...}}} for METRICS, where an interval is (the
        full set's value, low, high), or three times None where the full set leaves the metric undefined. Resamples
        that leave a metric undefined are left out of its interval.
    """
    defective = np.ravel(labels) != 0
    weights = resample_weights(defective, resamples, seed)
    pixel: dict[int, dict[str, Array]] = {}
    values: dict[str, dict[str, Array]] = {}
    for name, (image_preds, maps) in scored.items():
        if id(maps) not in pixel:
            counts = PixelCounts(gts, maps)
            pixel[id(maps)] = {"pixel_rocauc": counts.rocauc(weights), "au_pro": counts.au_pro(weights)}
        values[name] = {"image_rocauc": image_rocauc(defective, image_preds, weights), **pixel[id(maps)]}
    base = values["baseline"]
    return {
        name: {
            **{metric: _interval(own[metric]) for metric in METRICS},
            "difference": {metric: _interval(own[metric] - base[metric]) for metric in METRICS},
        }
        for name, own in values.items()
    }


def resample_weights(labels: Array, resamples: int, seed: int) -> Array:
    """[1 + resamples, n]: how often each resample contains each image; drawn separately for each class of ``labels``
    [n] bool. The full set, with every image once, comes first."""
    rng = np.random.default_rng(seed)
    weights = np.ones((1 + resamples, len(labels)))
    for members in (np.flatnonzero(~labels), np.flatnonzero(labels)):
        if len(members):
            share = np.full(len(members), 1 / len(members))
            weights[1:, members] = rng.multinomial(len(members), share, size=resamples)
    return weights


def image_rocauc(labels: Array, scores: ArrayLike, weights: Array) -> Array:
    """[r] image ROC AUCs of ``labels`` [n] bool and ``scores`` [n] for ``weights`` [r, n]; nan where undefined."""
    flat = np.ravel(scores)
    ones, zeros = flat[labels][:, None], flat[~labels][None]
    wins = (ones > zeros) + (ones == zeros) / 2
    return _pairs(weights[:, labels], wins, weights[:, ~labels], np.ones(len(ones)), np.ones(zeros.size))


class PixelCounts:
    """Counts per image from which the pixel metrics of resampled images are sums. Attributes, for n images:

        defective, normal: [n], pixels inside and outside the mask.
        wins: [n, n]; [i, j] is the number of pairs of a defective pixel of image i and a defect-free pixel of image j
            in which the defective one scores higher; ties count one half.
        regions: [n], numbers of 8-connected defect regions.
        overlap: [n, t], shares of a region's pixels above the threshold, summed over the image's regions.
        above: [n, t], numbers of defect-free pixels above the threshold.

    The t thresholds are those of calculate_au_pro for the full set, from the lowest score to the highest. If several
    defect-free pixels are equal to a threshold, calculate_au_pro counts those sorted behind it as above. Here that
    share of each image's equal pixels counts as above, so the full set has the same AU-PRO.
    """

    def __init__(self, gts: Sequence[Array] | Array, maps: Sequence[Array] | Array) -> None:
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

    def rocauc(self, weights: Array) -> Array:
        """[r] pixel ROC AUCs for image ``weights`` [r, n]; nan where undefined."""
        return _pairs(weights, self.wins, weights, self.defective, self.normal)

    def au_pro(self, weights: Array) -> Array:
        """[r] AU-PROs for image ``weights`` [r, n]; nan where undefined."""
        regions, normal = weights @ self.regions, weights @ self.normal
        defined = (regions > 0) & (normal > 0)
        out = np.full(len(weights), np.nan)
        w, end = weights[defined], np.ones((np.count_nonzero(defined), 1))
        fprs = np.hstack([end, w @ self.above / normal[defined, None]])[:, ::-1]
        pros = np.hstack([end, w @ self.overlap / regions[defined, None]])[:, ::-1]
        out[defined] = area_up_to(fprs, pros, LIMIT) / LIMIT
        return out


def _pairs(w_ones: Array, wins: Array, w_zeros: Array, ones: Array, zeros: Array) -> Array:
    """[r] weighted shares of pairs that the ones win. ``w_ones`` [r, a] and ``w_zeros`` [r, b]: weights; ``wins``
    [a, b]: pairs won; ``ones`` [a], ``zeros`` [b]: how many there are."""
    won, pairs = np.sum((w_ones @ wins) * w_zeros, axis=1), (w_ones @ ones) * (w_zeros @ zeros)
    shares: Array = np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return shares


def _interval(values: Array) -> tuple[float | None, ...]:
    """(value, low, high) of [1 + resamples] values, the full set's first; None if the full set's is nan."""
    if np.isnan(values[0]):
        return None, None, None
    return (float(values[0]), *map(float, np.nanquantile(values[1:], BOUNDS)))
