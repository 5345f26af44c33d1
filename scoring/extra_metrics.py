"""Metrics in addition to the three in the tables, for several scorings of one category."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.ablation import Scored
from scoring.au_pro import area_up_to, calculate_au_pro
from scoring.decision_metrics import aupimo, defective_failed, good_passed
from scoring.metrics import average_precision, f1_max

Value = tuple[float | None, float | None]  # a metric and its threshold

EXTRA_METRICS = (
    *("au_pro_1", "au_pro_5", "au_pro_30", "aupimo", "pixel_ap"),
    *("image_ap", "image_f1_max", "pg_0", "pg_1", "pg_5", "pb_0", "pb_1", "pb_5"),
)


def extra_metrics(
    labels: NDArray[Any],
    gts: Sequence[NDArray[Any]] | NDArray[Any] | None,
    scored: Mapping[str, Scored],
    names: Sequence[str],
) -> dict[str, dict[str, Value]]:
    """Metrics in addition to the three in the tables.

    Args:
        labels: [n] image labels.
        gts: n masks [H, W]; None if masks are missing, then pixel metrics are None.
        scored: {scoring: Scored}; the pixel metrics of a shared list of maps are computed once.
        names: names of metrics; EXTRA_METRICS are the usual ones:
            au_pro_<percent>: AU-PRO up to a false-positive rate of <percent> %, with all distinct thresholds;
            aupimo; pixel_ap and image_ap: average precision; image_f1_max;
            pg_<percent>: good parts that pass while at most <percent> % of the defective parts pass;
            pb_<percent>: defective parts that fail while at most <percent> % of the good parts fail.

    Returns:
        {scoring: {name: (value, threshold)}}; the value is None if undefined, and only image_f1_max, pg and pb have a
        threshold.
    """
    known: dict[int, dict[str, float | None]] = {}
    out: dict[str, dict[str, Value]] = {}
    for scoring, (image_preds, maps) in scored.items():
        if id(maps) not in known:
            known[id(maps)] = _pixel_metrics(gts, maps, names)
        pixel = known[id(maps)]
        out[scoring] = {
            name: (pixel[name], None) if name in pixel else _image_metric(name, labels, image_preds) for name in names
        }
    return out


def _pixel_metrics(
    gts: Sequence[NDArray[Any]] | NDArray[Any] | None, maps: Sequence[NDArray[Any]], names: Sequence[str]
) -> dict[str, float | None]:
    """{name: value} of the pixel metrics in ``names``; all AU-PROs are computed from one curve."""
    if gts is None:
        return {name: None for name in names if name.startswith("au_pro_") or name in ("aupimo", "pixel_ap")}
    limits = {name: int(name.removeprefix("au_pro_")) / 100 for name in names if name.startswith("au_pro_")}
    out: dict[str, float | None] = {}
    if limits:
        largest = max(limits.values())
        whole, (fprs, pros) = calculate_au_pro(gts, maps, largest, "exact")
        out = {
            name: None if whole is None else float(area_up_to(fprs, pros, limit) / limit)
            for name, limit in limits.items()
        }
    if "aupimo" in names:
        out["aupimo"] = aupimo(gts, maps)
    if "pixel_ap" in names:
        pixel_labels = np.concatenate([np.ravel(gt) != 0 for gt in gts])
        out["pixel_ap"] = average_precision(pixel_labels, np.concatenate([np.ravel(m) for m in maps]))
    return out


def _image_metric(name: str, labels: NDArray[Any], image_preds: NDArray[Any]) -> Value:
    """(value, threshold) of one image metric."""
    if name == "image_ap":
        return average_precision(labels, image_preds), None
    if name == "image_f1_max":
        return f1_max(labels, image_preds) or (None, None)
    kind, percent = name.split("_")
    return {"pg": good_passed, "pb": defective_failed}[kind](labels, image_preds, int(percent) / 100) or (None, None)
