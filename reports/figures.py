"""Figures of the report about saved maps, and those of --save_preds; :func:`content` makes bytes of them.

None stands for an undefined metric.
"""

import io
import math
import warnings

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import scoring_addon

GOOD, DEFECTIVE = "#3b7dd8", "#d1495b"
BARS = {  # of the bars: label and colour
    "baseline": ("baseline", "#9aa5b1"),
    "disagreement": ("disagreement (proposed)", "#1f6f8b"),
    "calibrated": ("calibrated (ours)", "#e0a030"),
}
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
UNDEFINED = "undefined"
LONGEST = 26  # characters of a name in a figure
WIDTH = 10.2  # inches; the page shows about 1000 pixels


@styled
def metric_bars(names, titles, values, scorings):
    """Bars per category for each of ``scorings``, one panel per metric; SVG.

    Args:
        names: [c] category names.
        titles: [m] metric names.
        values: [m][c][s].
        scorings: [s] keys of BARS.
    """
    figure = Figure(figsize=(WIDTH, 1.3 + 0.26 * len(scorings) * len(names)), layout="constrained")
    rows, height = np.arange(len(names)), 0.8 / len(scorings)
    short = [name if len(name) <= LONGEST else name[: LONGEST - 1] + "…" for name in names]
    for axes, title, of_categories in zip(figure.subplots(1, len(titles), sharey=True), titles, values):
        for column, scoring in enumerate(scorings):
            label, colour = BARS[scoring]
            places = rows + (column - (len(scorings) - 1) / 2) * height
            known = [of[column] for of in of_categories]
            axes.barh(places, [value or 0 for value in known], 0.95 * height, color=colour, label=label)
            for row, value in zip(places, known):
                text = UNDEFINED if value is None else f"{value:.3f}"
                axes.text((value or 0) + 0.015, row, text, va="center", fontsize=8)
        axes.set(title=title, xlim=(0, 1.17), xticks=np.linspace(0, 1, 6), yticks=rows, yticklabels=short)
        axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.45, -0.55)  # all panels share the axis
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(scorings), frameon=False)
    return content(figure, "svg")


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
