"""Area under the per-region-overlap curve (AU-PRO), as the MVTec 3D-AD evaluation defines it."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from common.errors import InputError

Array = NDArray[Any]
EIGHT_CONNECTED = np.ones((3, 3), dtype=int)


def calculate_au_pro(
    gts: Sequence[Array] | Array,
    predictions: Sequence[Array] | Array,
    integration_limit: float = 0.3,
    num_thresholds: int | str = 100,
) -> tuple[float | None, tuple[Array, Array]]:
    """AU-PRO of a set of anomaly maps.

    All scores of defect-free pixels are sorted. The thresholds are the scores at ``num_thresholds`` equally spaced
    positions of this list. At a threshold, the false-positive rate is the share of the list after its position. PRO is
    the mean over all 8-connected defect regions of the share of the region's pixels with a strictly higher score.

    With ``num_thresholds="exact"`` (an addition of this project), every distinct defect-free score is a threshold, and
    the false-positive rate is the share of defect-free pixels with a strictly higher score.

    Args:
        gts: sequence of [H, W] arrays, non-zero where defective.
        predictions: sequence of [H, W] anomaly maps, larger = more anomalous.
        integration_limit: false-positive rate up to which the curve is integrated.

    Returns:
        (au_pro, (fprs, pros)): the area divided by ``integration_limit``, and the curve, sorted by rising
        false-positive rate. ``au_pro`` is at most 1, and None if there is no defect region or no defect-free pixel.

    Raises InputError: a map holds NaN or inf.
    """
    masks, maps = [np.asarray(gt) != 0 for gt in gts], [np.asarray(prediction) for prediction in predictions]
    check_maps(maps)
    outside = [values[~mask] for values, mask in zip(maps, masks)]
    defective = [(values[mask], region_weights(mask)) for values, mask in zip(maps, masks) if mask.any()]
    normal = np.sort(np.concatenate(outside)) if outside else np.empty(0)
    if not defective or not len(normal):
        return None, (np.empty(0), np.empty(0))

    if num_thresholds == "exact":
        positions = np.append(np.flatnonzero(normal[1:] != normal[:-1]), len(normal) - 1)  # last of each run of ties
    else:
        positions = threshold_positions(len(normal), int(num_thresholds))
    scores, weights = map(np.concatenate, zip(*defective))
    pros = weight_above(scores, weights / weights.sum(), normal[positions])
    fprs = np.append(1.0, 1 - (positions + 1) / len(normal))[::-1]
    pros = np.minimum(np.append(1.0, pros)[::-1], 1.0)  # sums of shares can round to a little more
    return min(float(area_up_to(fprs, pros, integration_limit) / integration_limit), 1.0), (fprs, pros)


def check_maps(maps: Iterable[Array], names: Sequence[str] | None = None) -> None:
    """InputError that names the part whose map or score holds NaN or inf, since metrics would silently be wrong."""
    for position, values in enumerate(maps):
        if not np.isfinite(values).all():
            name = f"part {position}" if names is None else names[position]
            count = np.count_nonzero(~np.isfinite(values))
            raise InputError(
                f"{name}: {count:,} of {np.size(values):,} values of its score or map are NaN or inf: metrics would be "
                "wrong; look at the part's files with tools/check_dataset.py"
            )


def threshold_positions(length: int, num_thresholds: int = 100) -> Array:
    """Ascending positions [num_thresholds] of the thresholds in a sorted list of ``length`` defect-free scores."""
    return np.linspace(0, length - 1, num=num_thresholds, dtype=int)


def region_weights(gt: Array) -> Array:
    """1 / (pixels of the 8-connected region) for each defective pixel of a mask [H, W] bool, row-major: [gt.sum()]."""
    region = ndimage.label(gt, structure=EIGHT_CONNECTED)[0][gt]
    weights: Array = 1 / np.bincount(region)[region]
    return weights


def weight_above(scores: Array, weights: Array, thresholds: Array) -> Array:
    """For each threshold [t], the sum of the ``weights`` [n] whose ``scores`` [n] lie strictly above it: [t]."""
    order = np.argsort(scores)
    sums = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)
    return sums[np.searchsorted(scores[order], thresholds, side="right")]


def area_up_to(x: ArrayLike, y: ArrayLike, limit: float) -> Any:
    """Trapezoid area [...] under a curve from its start to ``limit``, where it is interpolated.

    x: [..., n], rising; y: [..., n].
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    step = np.diff(x)
    width = np.clip(limit - x[..., :-1], 0, step)
    rise = np.diff(y) * np.divide(width, step, out=np.zeros_like(step), where=step > 0)
    return (width * (y[..., :-1] + rise / 2)).sum(axis=-1)
