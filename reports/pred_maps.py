"""The output of --save_preds: a PNG of each test part with its mask and anomaly maps."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import scoring_addon
from common.files import atomic_path
from scoring.scorings import CALIBRATED

# the style shows names literally: "$" in a path starts no formula
STYLE = {"text.usetex": False, "text.parse_math": False, "axes.formatter.useoffset": False}
SCALE = (
    0,
    0.999,
)  # the colours span these quantiles of all pixels, so that one extreme part does not make the others dark


def save_pictures(folder, evaluation, scored):
    """Write one PNG per test part: input, mask and the map of each scoring; with several scorings also M_dis.

    The maps of a category share one colour scale. Calibrated maps, whose unit differs, have a scale of their own.

    Args:
        folder: the files are ``<folder>/<defect>/<name>.png``.
        evaluation: Evaluation with pictures.
        scored: {scoring: Scored}.
    """
    samples = evaluation.samples if len(scored) > 1 else []
    others = [name for name in scored if name != CALIBRATED]  # at least the baseline
    shared = _span([scored[name] for name in others])
    spans, text = dict.fromkeys(others, shared), "{:.4g} to {:.4g}".format(*shared)
    if CALIBRATED in scored:
        spans[CALIBRATED] = own = _span([scored[CALIBRATED]])
        text += " and, of calibrated, {:.4g} to {:.4g}".format(*own)
    beyond = (
        f"colours span {text} ({SCALE[1]:.1%} of the category's pixels); larger values look the same as the largest"
    )
    for i, (path, defect) in enumerate(zip(evaluation.path, evaluation.defect)):
        panels = [
            ("input", evaluation.picture[i], {}),
            ("mask", evaluation.mask[i], {"cmap": "gray", "vmin": 0, "vmax": 1}),
        ]
        panels += [
            (
                f"{name}: {float(of.image_preds[i]):.4g}",
                of.predictions[i],
                {"cmap": "viridis", "vmin": spans[name][0], "vmax": spans[name][1]},
            )
            for name, of in scored.items()
        ]
        if samples:
            m_dis = scoring_addon.disagreement_map(samples[i].rgb, samples[i].xyz)
            panels.append(("M_dis", m_dis, {"cmap": "magma", "vmin": 0, "vmax": 1}))
        _draw(Path(folder) / defect / f"{Path(path).stem}.png", path, panels, beyond)


def _span(scored):
    """(low, high) of the colour scale for the maps of ``scored`` [Scored]."""
    return np.quantile(np.concatenate([np.ravel(m) for of in scored for m in of.predictions]), SCALE)


@matplotlib.rc_context(STYLE)
def _draw(target, title, panels, below):
    figure = Figure(figsize=(2.6 * len(panels), 3.0), layout="constrained")
    figure.suptitle(title, fontsize=9)
    figure.supxlabel(below, fontsize=7)
    for axes, (name, picture, style) in zip(figure.subplots(1, len(panels)), panels):
        image = axes.imshow(picture, interpolation="nearest", **style)
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
        if style and name != "mask":
            figure.colorbar(image, ax=axes, shrink=0.7).ax.tick_params(labelsize=7)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
