"""The numbers of tools/report.py: which parts are shown, how scorings compare."""

import zlib
from typing import Any, NamedTuple

import numpy as np

from scoring.metrics import count_below
from scoring.scorings import BASELINE, CALIBRATED
from scoring.significance import PixelCounts, delong_test, difference_by_draws, difference_by_error, resample_weights

PROPOSED = "disagreement"
COMPARED = {"au_pro": "AU-PRO", "image_rocauc": "image ROCAUC"}  # in the page's first sentence
RESAMPLES = 500


class Summary(NamedTuple):
    """The values of a category that the page's first sections need.

    ``compared``: {scoring: {metric: (scoring minus baseline, uncertainty)}}, for the metrics of COMPARED. The
    uncertainty of image ROCAUC begins with the standard error, that of AU-PRO is an array of resampled differences.
    None stands for a metric that is undefined.
    """

    category: str
    untrained: bool
    meta: Any
    label: np.ndarray
    metrics: dict
    compared: dict = {}


def separation(label, scores):
    """[n] in [0, 1]: how well each part is separated from the other class; None if there are no parts of one class.

    For a defective part: the share of good parts that score lower. For a good part: the share of defective parts that
    score higher. Ties count one half. The mean over either class is the image ROCAUC.
    """
    scores, defective = np.asarray(scores), np.asarray(label) != 0
    if defective.all() or not defective.any():
        return None
    out = np.empty(len(scores))
    out[defective] = count_below(scores[defective], np.sort(scores[~defective])) / np.count_nonzero(~defective)
    out[~defective] = 1 - count_below(scores[~defective], np.sort(scores[defective])) / np.count_nonzero(defective)
    return out


def separations(category):
    """(separations [n] by the baseline, by the proposed score); None if all parts are good or all defective."""
    found = [separation(category.saved.label, category.scored[name].image_preds) for name in (BASELINE, PROPOSED)]
    return None if found[0] is None else tuple(found)


def shown_parts(category, seed):
    """{part number: [why it is shown]}: the largest gain, the largest loss, and one drawn at random.

    The gain is the separation by the proposed score minus that by the baseline. The draw depends on ``seed`` and the
    category's name alone.
    """
    shown, both = {}, separations(category)
    if both is not None:
        gain = both[1] - both[0]
        best, worst = int(np.argmax(gain)), int(np.argmin(gain))
        shown[best] = ["largest gain" if gain[best] > 0 else "largest gain (no part gains)"]
        shown.setdefault(worst, []).append("largest loss" if gain[worst] < 0 else "largest loss (no part loses)")
    drawn = np.random.default_rng([seed, zlib.crc32(category.name.encode())]).integers(len(category.saved.label))
    shown.setdefault(int(drawn), []).append("random draw")
    return shown


def summary_of(category, seed):
    """Summary of a ScoredCategory; ``seed``: of the resamples."""
    saved = category.saved
    return Summary(category.name, saved.untrained, saved.meta, saved.label, category.metrics, _compared(category, seed))


def _compared(category, seed):
    saved, base = category.saved, category.scored[BASELINE]
    labels = np.asarray(saved.label) != 0
    weights = np.vstack([np.ones(len(labels)), resample_weights(labels, RESAMPLES, seed)])

    def pixel(scored):
        defined = saved.complete_masks  # like the pixel metrics
        return PixelCounts(saved.mask, scored.predictions).au_pro(weights) if defined else np.array([np.nan])

    known, found = pixel(base), {}
    for name in (PROPOSED, CALIBRATED):
        if name in category.scored:
            change = pixel(category.scored[name]) - known
            found[name] = {
                "image_rocauc": delong_test(saved.label, category.scored[name].image_preds, base.image_preds),
                "au_pro": None if np.isnan(change[0]) else (float(change[0]), change[1:]),
            }
    return found


def verdict(summaries, scoring):
    """How a scoring compares with the baseline: {metric of COMPARED: (Difference, number of categories)}.

    The Difference is the mean over the categories in which both have the metric; a metric that no category can compare
    is absent. Intervals are over test parts: DeLong's standard errors (image ROCAUC), resampled parts (AU-PRO).
    """
    found = {}
    for metric, of_mean in (("au_pro", difference_by_draws), ("image_rocauc", difference_by_error)):
        known = [of.compared[scoring][metric] for of in summaries if of.compared.get(scoring, {}).get(metric)]
        if known:
            found[metric] = of_mean(known), len(known)
    return found
