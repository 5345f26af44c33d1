"""The numbers of tools/report.py: the scorings of a category, the parts that are shown, and the comparison of the
scorings with the baseline over all categories."""

import zlib
from typing import NamedTuple, Optional

import numpy as np

from common.errors import InputError
from reports.saved_scorings import saved_scorings
from scoring import ablation
from scoring.evaluation import metrics, read, score
from scoring.metrics import count_below
from scoring.scorings import CALIBRATED
from scoring.significance import PixelCounts, delong_test, difference_by_draws, difference_by_error, resample_weights

BASELINE, PROPOSED = "baseline", "disagreement"
COMPARED = {"au_pro": "AU-PRO", "image_rocauc": "image ROCAUC"}  # in the page's first sentence
RESAMPLES = 500


class Category(NamedTuple):
    """The numbers about one file of saved maps.

    Attributes:
        saved: Evaluation.
        scored, metrics: {scoring: Scored}, {scoring: Metrics}.
        separation: {BASELINE or PROPOSED: [n]}, see :func:`separation`; None if all parts are good or all defective.
        shown: {part number: [why it is shown]}.
        lacks: why calibrated is not among the scorings; "" if it is.
    """

    saved: object
    scored: dict
    metrics: dict
    separation: Optional[dict]
    shown: dict
    lacks: str

    @property
    def gain(self):
        """[n] separation of each part by the proposed score minus that by the baseline; None if there are no good or
        no defective parts."""
        return None if self.separation is None else self.separation[PROPOSED] - self.separation[BASELINE]

    @property
    def explained(self):
        """Number of the part whose score the page explains: the defective one that gains most; None if there is
        none."""
        defective = np.flatnonzero(self.saved.label)
        if not len(defective):
            return None
        return int(defective[0] if self.gain is None else defective[np.argmax(self.gain[defective])])


class Summary(NamedTuple):
    """The values of a category that the page's first sections need.

    ``compared``: {scoring: {metric: (scoring minus baseline, uncertainty)}}, for the metrics of COMPARED. The
    uncertainty of image ROCAUC begins with the standard error, that of AU-PRO is an array of resampled differences.
    None stands for a metric that is undefined.
    """

    category: str
    untrained: bool
    meta: dict
    label: np.ndarray
    metrics: dict
    compared: dict = {}


class Breakdown(NamedTuple):
    """How one part's score is computed (Xu et al., sections 3.5 and 3.6): statistics, the three terms of S_robust and
    their sum, normalised statistics, R, C and w, the three terms of S_final and their sum."""

    base: float
    q95: float
    mean: float
    mean_dis: float
    robust_q95: float
    robust_mean: float
    robust_dis: float
    robust: float
    base_n: float
    q95_n: float
    robust_n: float
    r: float
    c: float
    w: float
    final_base: float
    final_robust: float
    rec: float
    final: float


def read_category(path, seed, parameters):
    """The Category of one file. The randomly drawn part depends only on ``seed`` and the category's name.

    Raises:
        InputError: the file cannot be read or scored.
    """
    saved = read(path)
    try:
        lacks = saved_scorings(saved)[1]
        names = [*ablation.SCORINGS, *([] if lacks else [CALIBRATED])]
        scored = score(saved, names, parameters)
        unfit = [name for name, of in scored.items() if not np.isfinite(of.image_preds).all()]
        if unfit:
            raise ValueError(f"scoring {unfit[0]} gives scores that are not finite")
        found = metrics(saved, scored)
    except (InputError, ValueError) as error:
        raise InputError(f"{path}: cannot be scored: {error}") from None
    separations = {name: separation(saved.label, scored[name].image_preds) for name in (BASELINE, PROPOSED)}
    category = Category(saved, scored, found, None if separations[BASELINE] is None else separations, {}, lacks)
    drawn = int(np.random.default_rng([seed, zlib.crc32(saved.category.encode())]).integers(len(saved.label)))
    if category.gain is not None:
        best, worst = int(np.argmax(category.gain)), int(np.argmin(category.gain))
        category.shown[best] = ["largest gain" if category.gain[best] > 0 else "largest gain (no part gains)"]
        category.shown.setdefault(worst, []).append(
            "largest loss" if category.gain[worst] < 0 else "largest loss (no part loses)"
        )
    category.shown.setdefault(drawn, []).append("random draw")
    return category


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


def summary_of(category, seed):
    """Summary of a Category; ``seed``: of the resamples."""
    saved = category.saved
    return Summary(
        saved.category, saved.untrained, saved.meta, saved.label, category.metrics, _compared(category, seed)
    )


def _compared(category, seed):
    saved, base = category.saved, category.scored[BASELINE]
    labels = np.asarray(saved.label) != 0
    weights = np.vstack([np.ones(len(labels)), resample_weights(labels, RESAMPLES, seed)])

    def pixel(scored):
        defined = saved.has_mask.all()  # like the pixel metrics
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


def find_sample(paths, sample):
    """(file number, part number) of the part with the path ``sample``.

    Raises:
        InputError: no file has it.
    """
    for place, path in enumerate(paths):
        saved = read(path)
        if sample in saved.path:
            return place, saved.path.index(sample)
    raise InputError(f"{sample}: no part with this path in the saved maps; give --sample one like {saved.path[0]}")


def breakdown(saved, index, parameters):
    """Breakdown of part ``index`` of an Evaluation."""
    stats = ablation.modulate_all(saved.decision_map, saved.samples, parameters)[1]
    terms = ablation.calibrate(stats, parameters)
    s, t = (type(of)(*(float(column[index]) for column in of)) for of in (stats, terms))
    alpha, beta, gamma = parameters.weights
    return Breakdown(
        base=s.base,
        q95=s.q95,
        mean=s.mean,
        mean_dis=s.mean_dis,
        robust_q95=alpha * s.q95,
        robust_mean=beta * s.mean,
        robust_dis=gamma * s.mean_dis,
        robust=t.robust,
        base_n=t.base_n,
        q95_n=t.q95_n,
        robust_n=t.robust_n,
        r=t.r,
        c=t.c,
        w=t.w,
        final_base=(1 - t.w) * t.base,
        final_robust=t.w * t.robust,
        rec=t.rec,
        final=t.final,
    )
