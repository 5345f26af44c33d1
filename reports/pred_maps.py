"""The output of --save_preds: a PNG of each test part with its mask and anomaly maps."""

from pathlib import Path

import numpy as np

from common.files import atomic_path
from reports import figures
from scoring.scorings import CALIBRATED

SCALE = 0, 0.999  # colours span these quantiles of all pixels: one extreme part does not make the others dark


def save_pictures(folder, evaluation, scored):
    """Write ``folder``/<defect>/<name>.png per test part: input, mask and the map of each scoring {scoring: Scored};
    with several also M_dis. The maps of a category share one colour scale; calibrated maps, whose unit differs, have
    their own."""
    m_dis = len(scored) > 1 and bool(evaluation.samples)
    others = [name for name in scored if name != CALIBRATED]  # at least the baseline
    shared = _span([scored[name] for name in others])
    spans, text = dict.fromkeys(others, shared), "{:.4g} to {:.4g}".format(*shared)
    if CALIBRATED in scored:
        spans[CALIBRATED] = own = _span([scored[CALIBRATED]])
        text += " and, of calibrated, {:.4g} to {:.4g}".format(*own)
    beyond = (
        f"colours span {text} ({SCALE[1]:.1%} of the category's pixels); larger values look the same as the largest"
    )
    size = 2.6 * (2 + len(scored) + m_dis), 3.0
    for i, (path, defect) in enumerate(zip(evaluation.path, evaluation.defect)):
        maps = [
            (
                f"{name}: {float(of.image_preds[i]):.4g}",
                of.predictions[i],
                {"cmap": "viridis", "vmin": spans[name][0], "vmax": spans[name][1]},
            )
            for name, of in scored.items()
        ]
        picture = figures.part_panels(evaluation, i, maps, path, size, m_dis, beyond)
        with atomic_path(Path(folder) / defect / f"{Path(path).stem}.png") as temporary:
            Path(temporary).write_bytes(picture)


def _span(scored):
    """(low, high) of the colour scale for the maps of ``scored`` [Scored]."""
    return np.quantile(np.concatenate([np.ravel(m) for of in scored for m in of.predictions]), SCALE)
