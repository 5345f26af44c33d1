"""--save_preds: a picture of each test part with its mask and maps."""
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import scoring_addon
from utils.files import atomic_path
from utils.mvtec3d_util import read_picture


def save_pictures(folder, dataset_path, described, method):
    """One PNG a test part: input, mask, map; with disagreement also M_dis, and the map it started from.

    Maps that are compared share one colour scale, that of the category.

    Args:
        folder: ``<folder>/<defect>/<name>.png`` are written.
        described: (path relative to ``dataset_path``, defect, label) of each part.
        method: a Features object after ``calculate_metrics``.
    """
    shown = {name: scored.predictions for name, scored in method.scored.items()}
    samples = getattr(method, "scoring_samples", []) if len(shown) > 1 else []
    low = min(float(np.min(m)) for maps in shown.values() for m in maps)
    high = max(float(np.max(m)) for maps in shown.values() for m in maps)
    for i, (path, defect, _) in enumerate(described):
        panels = [("input", read_picture(Path(dataset_path) / path, "RGB"), {}),
                  ("mask", method.gts[i], {"cmap": "gray", "vmin": 0, "vmax": 1})]
        panels += [(f"{name}: {float(method.scored[name].image_preds[i]):.4g}", maps[i], {"cmap": "viridis", "vmin": low, "vmax": high})
                   for name, maps in shown.items()]
        if samples:
            m_dis = scoring_addon.disagreement_map(samples[i].rgb, samples[i].xyz)
            panels.append(("M_dis", m_dis, {"cmap": "magma", "vmin": 0, "vmax": 1}))
        _draw(Path(folder) / defect / f"{Path(path).stem}.png", path, panels)


def _draw(target, title, panels):
    figure = Figure(figsize=(2.6 * len(panels), 2.8), layout="constrained")
    figure.suptitle(title, fontsize=9)
    for axes, (name, picture, style) in zip(figure.subplots(1, len(panels)), panels):
        image = axes.imshow(picture, interpolation="nearest", **style)
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
        if style and name != "mask":
            figure.colorbar(image, ax=axes, shrink=0.7).ax.tick_params(labelsize=7)
    with matplotlib.rc_context({"text.usetex": False, "axes.formatter.useoffset": False}), atomic_path(target) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
