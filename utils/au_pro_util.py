"""Area under the per-region-overlap curve (AU-PRO), as the MVTec 3D-AD evaluation defines it."""

import numpy as np
from scipy import ndimage

from utils.errors import InputError

EIGHT_CONNECTED = np.ones((3, 3), dtype=int)


def calculate_au_pro(gts, predictions, integration_limit=0.3, num_thresholds=100, names=None):
    """AU-PRO of a set of anomaly maps.

    The thresholds are the defect-free pixel scores at ``num_thresholds`` equally spaced positions of
    their sorted list. At a threshold the false-positive rate is the share of sorted defect-free pixels
    behind its position, and PRO is the mean, over all 8-connected defect regions, of the share of the
    region's pixels that score strictly higher.

    With ``num_thresholds="exact"`` (ours) every distinct defect-free score is a threshold, and the
    false-positive rate is the share of defect-free pixels that score strictly higher.

    Args:
        gts: sequence of [H, W] arrays, non-zero where defective.
        predictions: sequence of [H, W] anomaly maps, larger = more anomalous.
        integration_limit: false-positive rate up to which the curve is integrated.
        num_thresholds: number of thresholds, or "exact".
        names: of the parts, for messages; None: they are called by their position.

    Returns:
        (au_pro, (fprs, pros)): the area divided by ``integration_limit``, and the curve in rising order
        of false-positive rate; other limits: ``area_up_to(fprs, pros, limit) / limit``. ``au_pro`` is None
        where the set has no defect region or no defect-free pixel. It is at most 1.

    Raises:
        InputError: a map holds NaN or inf.
    """
    predictions = [np.asarray(prediction) for prediction in predictions]
    check_maps(predictions, names)
    normal, defective, weights = [], [], []
    for gt, prediction in zip(gts, predictions):
        gt = np.asarray(gt) != 0
        normal.append(prediction[~gt])
        if gt.any():
            defective.append(prediction[gt])
            weights.append(region_weights(gt))
    normal = np.sort(np.concatenate(normal)) if normal else np.empty(0)
    if not defective or not len(normal):
        return None, (np.empty(0), np.empty(0))

    if num_thresholds == "exact":
        positions = np.append(np.flatnonzero(normal[1:] != normal[:-1]), len(normal) - 1)  # last of each run of ties
    else:
        positions = threshold_positions(len(normal), num_thresholds)
    weights = np.concatenate(weights)
    pros = weight_above(np.concatenate(defective), weights / weights.sum(), normal[positions])
    fprs = np.append(1.0, 1 - (positions + 1) / len(normal))[::-1]
    pros = np.minimum(np.append(1.0, pros)[::-1], 1.0)  # sums of shares can round to a little more
    return min(float(area_up_to(fprs, pros, integration_limit) / integration_limit), 1.0), (fprs, pros)


def check_maps(maps, names=None):
    """Refuse maps or scores, one a part, that hold NaN or inf, which sort anywhere and make metrics wrong without a
    word.

    Raises:
        InputError: with the part's name.
    """
    for position, values in enumerate(maps):
        if not np.isfinite(values).all():
            name = f"part {position}" if names is None else names[position]
            what = (
                f"{np.count_nonzero(~np.isfinite(values)):,} of {np.size(values):,} values of its score or map "
                "are NaN or inf"
            )
            raise InputError(
                f"{name}: {what}: metrics would be wrong; look at the part's files with tools/check_dataset.py"
            )


def threshold_positions(length, num_thresholds=100):
    """Positions [num_thresholds], rising, of the thresholds in a sorted list of ``length`` defect-free scores."""
    return np.linspace(0, length - 1, num=num_thresholds, dtype=int)


def region_weights(gt):
    """1 / (pixels of its 8-connected region) of each defective pixel of a mask ([H, W] bool) in row order,
    [gt.sum()]."""
    region = ndimage.label(gt, structure=EIGHT_CONNECTED)[0][gt]
    return 1 / np.bincount(region)[region]


def weight_above(scores, weights, thresholds):
    """Summed ``weights`` [n] of the ``scores`` [n] strictly above each threshold [t]: [t]."""
    order = np.argsort(scores)
    sums = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)
    return sums[np.searchsorted(scores[order], thresholds, side="right")]


def area_up_to(x, y, limit):
    """Trapezoid area under the curve (x rising, [..., n]; y, [..., n]) from its start to ``limit``, last point
    interpolated: [...]."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    step = np.diff(x)
    width = np.clip(limit - x[..., :-1], 0, step)
    rise = np.diff(y) * np.divide(width, step, out=np.zeros_like(step), where=step > 0)
    return (width * (y[..., :-1] + rise / 2)).sum(axis=-1)
