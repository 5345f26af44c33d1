"""The three numbers of the result tables, and two more that defects being rare asks for."""

from dataclasses import astuple, dataclass
from typing import Optional

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve
from sklearn.utils import assert_all_finite

from utils.au_pro_util import calculate_au_pro, check_maps


@dataclass
class Metrics:
    """Image ROCAUC, pixel ROCAUC and AU-PRO; None where the test split leaves a metric undefined."""

    image_rocauc: Optional[float]
    pixel_rocauc: Optional[float]
    au_pro: Optional[float]

    def __iter__(self):
        return iter(astuple(self))


def mean(values):
    """Mean of the defined values, None where there is none."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def roc_auc(labels, scores, names=None):
    """ROC AUC of 0/1 ``labels`` [n] and ``scores`` [n], or None where only one class is present.

    The Mann-Whitney statistic: the share of (1, 0) pairs in which the 1 scores higher, ties counting one half.
    scikit-learn's roc_auc_score gives the same number, and takes four seconds for 110 maps.

    Args:
        names: of the parts that the scores belong to in equal shares, for messages.

    Raises:
        InputError: with ``names``: a part has a score that is NaN or inf.
        ValueError: without: some score is.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    if one_class(labels):
        return None
    if names is not None and len(names) and len(scores) % len(names) == 0:
        check_maps(scores.reshape(len(names), -1), names)
    assert_all_finite(scores, input_name="scores")
    positive = labels != labels.min()
    ones, zeros = np.sort(scores[positive]), np.sort(scores[~positive])
    return float(count_below(ones, zeros).sum() / (float(len(ones)) * len(zeros)))


def count_below(scores, others):
    """How many of ``others`` ([n], sorted) each of ``scores`` [m] exceeds, ties counting one half: [m] float64.

    Half-integers, so that their sums are exact.
    """
    return (np.searchsorted(others, scores, side="left") + np.searchsorted(others, scores, side="right")) / 2


def average_precision(labels, scores):
    """Average precision (scikit-learn's) of 0/1 ``labels`` [n] and ``scores`` [n], or None where only one class is
    present."""
    return None if one_class(labels) else float(average_precision_score(labels, scores))


def f1_max(labels, scores):
    """The largest F1 over all thresholds, label 1 where score >= threshold.

    Args:
        labels, scores: [n] 0/1 labels and scores.

    Returns:
        (F1, the lowest threshold that reaches it), or None where only one class is present.
    """
    if one_class(labels):
        return None
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)[
        :-1
    ]  # the last point has no threshold
    best = int(np.argmax(f1))
    return float(f1[best]), float(thresholds[best])


def one_class(labels):
    """Whether ``labels`` [n] are all the same."""
    labels = np.asarray(labels)
    return bool(labels.min() == labels.max())


def compute_metrics(image_labels, image_preds, pixel_labels, pixel_preds, gts, predictions, names=None):
    """The three metrics of one category.

    Args:
        image_labels, image_preds: [n] 0/1 labels and image scores.
        pixel_labels, pixel_preds: [n·H·W] 0/1 labels and pixel scores.
        gts, predictions: sequences of n masks and n anomaly maps, [H, W] each; None where defective parts have no
            masks: the pixel metrics are undefined.
        names: of the n parts, for messages.

    Returns:
        Metrics.

    Raises:
        InputError: with ``names``: a part's score or map holds NaN or inf.
    """
    image = roc_auc(np.ravel(image_labels), np.ravel(image_preds), names)
    if gts is None:
        return Metrics(image, None, None)
    return Metrics(image, roc_auc(pixel_labels, pixel_preds, names), calculate_au_pro(gts, predictions, names=names)[0])
