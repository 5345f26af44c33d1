"""Metrics of several scorings of one category, each distinct pixel map measured once."""
import numpy as np

from utils.au_pro_util import calculate_au_pro
from utils.metrics import Metrics, average_precision, compute_metrics, f1_max, roc_auc


def scored_metrics(labels, gts, scored):
    """Metrics of every scoring.

    Args:
        labels: [n] image labels.
        gts: n masks [H, W].
        scored: {scoring: Scored}; scorings that share a list of maps share its pixel metrics.

    Returns:
        {scoring: Metrics}.
    """
    pixel_labels = np.concatenate([np.ravel(gt) != 0 for gt in gts])
    pixel_metrics, out = {}, {}
    for name, (image_preds, maps) in scored.items():
        if id(maps) not in pixel_metrics:
            pixels = np.concatenate([np.ravel(m) for m in maps])
            pixel_metrics[id(maps)] = compute_metrics(labels, image_preds, pixel_labels, pixels, gts, maps)
        shared = pixel_metrics[id(maps)]
        out[name] = Metrics(roc_auc(np.ravel(labels), image_preds), shared.pixel_rocauc, shared.au_pro)
    return out


def extra_metrics(labels, gts, scored, names):
    """Metrics beyond the tables' three.

    Args:
        labels, gts, scored: as in :func:`scored_metrics`.
        names: of au_pro_<percent> (false-positive rate up to <percent> %, all distinct thresholds), pixel_ap, image_ap
            (average precision) and image_f1_max.

    Returns:
        {scoring: {name: (value, threshold)}}; value None where undefined, threshold None but for F1-max.
    """
    pixel_labels = np.concatenate([np.ravel(gt) != 0 for gt in gts])
    known, out = {}, {}
    for scoring, (image_preds, maps) in scored.items():
        for name in names:
            if name.startswith("image_"):
                continue
            if (id(maps), name) not in known:
                if name == "pixel_ap":
                    value = average_precision(pixel_labels, np.concatenate([np.ravel(m) for m in maps]))
                else:
                    value = calculate_au_pro(gts, maps, int(name.removeprefix("au_pro_")) / 100, "exact")[0]
                known[id(maps), name] = value, None
        image = {"image_ap": lambda: (average_precision(labels, image_preds), None), "image_f1_max": lambda: f1_max(labels, image_preds) or (None, None)}
        out[scoring] = {name: image[name]() if name in image else known[id(maps), name] for name in names}
    return out
