"""Figures: each function draws one and returns its files as {suffix: bytes}.

Charts are PNG and SVG, pictures of parts PNG only. None stands for an undefined metric.
"""

import io
import math
import warnings

import matplotlib
import numpy as np
from matplotlib.figure import Figure

BASELINE, PROPOSED, GOOD, DEFECTIVE = "#9aa5b1", "#1f6f8b", "#3b7dd8", "#d1495b"
CALIBRATED = "#e0a030"
MASK = {"cmap": "gray", "vmin": 0, "vmax": 1}  # styles of ``imshow``
DISAGREEMENT = {"cmap": "magma", "vmin": 0, "vmax": 1}
STYLE = {
    "text.usetex": False,
    "text.parse_math": False,
    "axes.formatter.useoffset": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "report",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
styled = matplotlib.rc_context(STYLE)  # the style shows names literally: "$" starts no formula
UNDEFINED = "undefined"
LONGEST = 26  # characters of a name in a figure
WIDTH = 10.2  # inches; the page shows about 1000 pixels


@styled
def metric_bars(names, titles, values):
    """Bars per category, baseline against proposed, one panel per metric.

    Args:
        names: [c] category names.
        titles: [m] metric names.
        values: [m][c] (baseline, proposed) or (baseline, proposed, calibrated).
    """
    bars = ((BASELINE, "baseline"), (PROPOSED, "disagreement (proposed)"), (CALIBRATED, "calibrated (ours)"))[
        : len(values[0][0])
    ]
    figure = Figure(figsize=(WIDTH, 1.3 + 0.26 * len(bars) * len(names)), layout="constrained")
    rows, height = np.arange(len(names)), 0.8 / len(bars)
    for axes, title, pairs in zip(figure.subplots(1, len(titles), sharey=True), titles, values):
        for column, (colour, label) in enumerate(bars):
            shift = (column - (len(bars) - 1) / 2) * height
            known = [pair[column] for pair in pairs]
            axes.barh(rows + shift, [value or 0 for value in known], 0.95 * height, color=colour, label=label)
            for row, value in zip(rows + shift, known):
                axes.text(
                    (value or 0) + 0.015, row, UNDEFINED if value is None else f"{value:.3f}", va="center", fontsize=8
                )
        axes.set(
            title=title,
            xlim=(0, 1.17),
            xticks=np.linspace(0, 1, 6),
            yticks=rows,
            yticklabels=[_short(name) for name in names],
        )
        axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.45, -0.55)  # all panels share the axis
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(bars), frameon=False)
    return _files(figure, "png", "svg")


@styled
def panels(title, shown, size, below=""):
    """Pictures and maps of one part side by side, as PNG.

    Args:
        shown: [(heading, picture, style of ``imshow``)]; maps with a scale get a colour bar.
        size: (width, height) in inches.
        below: text below the pictures.
    """
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=9)
    figure.supxlabel(below, fontsize=7)
    for axes, (heading, content, style) in zip(figure.subplots(1, len(shown)), shown):
        image = axes.imshow(content, interpolation="nearest", **style)
        axes.set_title(heading, fontsize=8.5)
        axes.set_axis_off()
        if style and style is not MASK:
            figure.colorbar(image, ax=axes, shrink=0.7).ax.tick_params(labelsize=7)
    return _files(figure, "png")


@styled
def histograms(label, scores, titles):
    """Score histograms of good and defective parts, one panel per variant; both classes share the bins.

    Args:
        label: [n] 0 good, 1 defective.
        scores: one array [n] per variant.
        titles: one per variant.
    """
    columns = 4
    figure = Figure(figsize=(WIDTH, 2.2 * math.ceil(len(scores) / columns) + 0.4), layout="constrained")
    grid = figure.subplots(math.ceil(len(scores) / columns), columns, squeeze=False)
    for axes, values, title in zip(grid.flat, scores, titles):
        edges = np.histogram_bin_edges(values, 20)
        for kind, colour, name in ((0, GOOD, "good"), (1, DEFECTIVE, "defective")):
            axes.hist(
                values[label == kind],
                edges,
                histtype="stepfilled",
                facecolor=colour + "66",
                edgecolor=colour,
                label=name,
            )
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=7.5)
        axes.locator_params(axis="x", nbins=5)
        axes.yaxis.get_major_locator().set_params(integer=True)
    for axes in grid.flat[len(scores) :]:
        axes.set_axis_off()
    figure.supxlabel("image score", fontsize=9)
    figure.supylabel("parts", fontsize=9)
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return _files(figure, "png", "svg")


def _short(name):
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _files(figure, *suffixes):
    files = {}
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph"
        )  # the font lacks some scripts; the page still shows such names
        for suffix in suffixes:
            content = io.BytesIO()
            figure.savefig(content, format=suffix, dpi=110, metadata={"Date": None} if suffix == "svg" else None)
            files[suffix] = content.getvalue()
            figure.set_layout_engine("none")  # keep the layout of the first format
    return files
