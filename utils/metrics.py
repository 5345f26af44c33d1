"""The three numbers of the result tables."""
from dataclasses import astuple, dataclass
from typing import Optional

import numpy as np
from sklearn.metrics import roc_auc_score

from utils.au_pro_util import calculate_au_pro


@dataclass
class Metrics:
    """Image ROCAUC, pixel ROCAUC and AU-PRO; None where the test split leaves a metric undefined."""

    image_rocauc: Optional[float]
    pixel_rocauc: Optional[float]
    au_pro: Optional[float]

    def __iter__(self):
        return iter(astuple(self))


def roc_auc(labels, scores):
    """ROC AUC of 0/1 ``labels`` [n] and ``scores`` [n], or None where only one class is present."""
    labels = np.asarray(labels)
    if labels.min() == labels.max():
        return None
    return float(roc_auc_score(labels, scores))


def compute_metrics(image_labels, image_preds, pixel_labels, pixel_preds, gts, predictions):
    """The three metrics of one category.

    Args:
        image_labels, image_preds: [n] 0/1 labels and image scores.
        pixel_labels, pixel_preds: [n·H·W] 0/1 labels and pixel scores.
        gts, predictions: sequences of n masks and n anomaly maps, [H, W] each.

    Returns:
        Metrics.
    """
    return Metrics(
        roc_auc(np.ravel(image_labels), np.ravel(image_preds)),
        roc_auc(pixel_labels, pixel_preds),
        calculate_au_pro(gts, predictions)[0],
    )
