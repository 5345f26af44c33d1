"""A part's maps side by side, for the report about saved maps and for --save_preds."""

import io
import warnings

import matplotlib
from matplotlib.figure import Figure

import scoring_addon

MASK = {"cmap": "gray", "vmin": 0, "vmax": 1}  # styles of ``imshow``
DISAGREEMENT = {"cmap": "magma", "vmin": 0, "vmax": 1}
styled = matplotlib.rc_context(
    {
        "text.usetex": False,
        "text.parse_math": False,  # names are shown literally: "$" starts no formula
        "axes.formatter.useoffset": False,
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 10,
    }
)
WIDTH = 10.2  # inches; the page shows about 1000 pixels


@styled
def part_panels(evaluation, i, maps, title, size, m_dis=True, below=""):
    """Picture, mask and ``maps`` [(heading, map [S, S], style of ``imshow``)] of test part ``i`` side by side; the
    bytes of a PNG file. ``size``: inches; ``m_dis``: whether M_dis is shown too; ``below``: text below the pictures."""
    shown = [("input", evaluation.picture[i], {}), ("mask", evaluation.mask[i], MASK), *maps]
    if m_dis:
        sample = evaluation.samples[i]
        shown.append(("M_dis", scoring_addon.disagreement_map(sample.rgb, sample.xyz), DISAGREEMENT))
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=9)
    figure.supxlabel(below, fontsize=7)
    for axes, (heading, pixels, style) in zip(figure.subplots(1, len(shown)), shown):
        image = axes.imshow(pixels, interpolation="nearest", **style)
        axes.set_title(heading, fontsize=8.5)
        axes.set_axis_off()
        if style and style is not MASK:
            figure.colorbar(image, ax=axes, shrink=0.7).ax.tick_params(labelsize=7)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the font lacks some scripts; the page shows such names
        figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
