"""Figures of the report about saved maps, and those of --save_preds; :func:`content` makes bytes of them."""

import io
import math
import warnings

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import scoring_addon

GOOD, DEFECTIVE = "#3b7dd8", "#d1495b"
MASK = {"cmap": "gray", "vmin": 0, "vmax": 1}  # styles of ``imshow``
DISAGREEMENT = {"cmap": "magma", "vmin": 0, "vmax": 1}
styled = matplotlib.rc_context(
    {
        "text.usetex": False,
        "text.parse_math": False,  # names are shown literally: "$" starts no formula
        "axes.formatter.useoffset": False,
        "svg.fonttype": "path",
        "svg.hashsalt": "report",
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)
WIDTH = 10.2  # inches; the page shows about 1000 pixels


@styled
def part_panels(evaluation, i, maps, title, size, m_dis=True, below=""):
    """Picture, mask and maps of test part ``i`` side by side; PNG.

    Args:
        evaluation: Evaluation with pictures.
        maps: [(heading, map [S, S], style of ``imshow``)].
        size: (width, height) in inches.
        m_dis: whether M_dis is shown too.
        below: text below the pictures.
    """
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
    return content(figure, "png")


@styled
def histograms(label, scores, titles):
    """Score histograms of good and defective parts, one panel per variant; both classes share the bins; SVG.

    Args:
        label: [n] 0 good, 1 defective.
        scores: one array [n] per variant.
        titles: one per variant.
    """
    columns, rows = 4, math.ceil(len(scores) / 4)
    figure = Figure(figsize=(WIDTH, 2.2 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, values, title in zip(grid.flat, scores, titles):
        edges = np.histogram_bin_edges(values, 20)
        for kind, colour, name in ((0, GOOD, "good"), (1, DEFECTIVE, "defective")):
            style = {"histtype": "stepfilled", "facecolor": colour + "66", "edgecolor": colour}
            axes.hist(values[label == kind], edges, label=name, **style)
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=7.5)
        axes.locator_params(axis="x", nbins=5)
        axes.yaxis.get_major_locator().set_params(integer=True)
    for axes in grid.flat[len(scores) :]:
        axes.set_axis_off()
    figure.supxlabel("image score", fontsize=9)
    figure.supylabel("parts", fontsize=9)
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return content(figure, "svg")


def content(figure, kind):
    """The bytes of a figure's file; ``kind``: "svg" or "png"."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the font lacks some scripts; the page shows such names
        figure.savefig(file, format=kind, dpi=110, metadata={"Date": None} if kind == "svg" else None)
    return file.getvalue()
