"""Area under the per-region-overlap curve (AU-PRO), as the MVTec 3D-AD evaluation defines it."""
import numpy as np
from scipy import ndimage
from sklearn.metrics import auc

EIGHT_CONNECTED = np.ones((3, 3), dtype=int)


def calculate_au_pro(gts, predictions, integration_limit=0.3, num_thresholds=100):
    """AU-PRO of a set of anomaly maps.

    The thresholds are the defect-free pixel scores at ``num_thresholds`` equally spaced positions of
    their sorted list. At a threshold the false-positive rate is the share of sorted defect-free pixels
    behind its position, and PRO is the mean, over all 8-connected defect regions, of the share of the
    region's pixels that score strictly higher.

    Args:
        gts: sequence of [H, W] arrays, non-zero where defective.
        predictions: sequence of [H, W] anomaly maps, larger = more anomalous.
        integration_limit: false-positive rate up to which the curve is integrated.
        num_thresholds: number of thresholds.

    Returns:
        (au_pro, (fprs, pros)): the area divided by ``integration_limit``, and the curve in rising order
        of false-positive rate. ``au_pro`` is None where the set has no defect region or no defect-free pixel.
    """
    normal, regions = [], []
    for gt, prediction in zip(gts, predictions):
        gt, prediction = np.asarray(gt) != 0, np.asarray(prediction)
        labels, count = ndimage.label(gt, structure=EIGHT_CONNECTED)
        normal.append(prediction[~gt])
        regions += [np.sort(prediction[labels == i]) for i in range(1, count + 1)]
    normal = np.sort(np.concatenate(normal)) if normal else np.empty(0)
    if not regions or not len(normal):
        return None, (np.empty(0), np.empty(0))

    positions = np.linspace(0, len(normal) - 1, num=num_thresholds, dtype=int)
    thresholds = normal[positions]
    overlap = sum(1 - np.searchsorted(region, thresholds, side="right") / len(region) for region in regions)
    fprs = np.concatenate(([1.0], 1 - (positions + 1) / len(normal)))[::-1]
    pros = np.concatenate(([1.0], overlap / len(regions)))[::-1]
    return area_up_to(fprs, pros, integration_limit) / integration_limit, (fprs, pros)


def area_up_to(x, y, limit):
    """Trapezoid area under the curve (x rising, [n]; y, [n]) from its start to ``limit``, last point interpolated."""
    inside = x <= limit
    return float(auc(np.append(x[inside], limit), np.append(y[inside], np.interp(limit, x, y))))
