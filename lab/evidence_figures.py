"""The figures of the evidence page: each function draws one and returns the bytes of a PNG."""

import io

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = {
    "baseline": "#9aa5b1",
    "pixel_max": "#c9a227",
    "disagreement": "#1f6f8b",
    "full": "#8a5a9e",
    "calibrated": "#d1495b",
}
STYLE = {
    "text.usetex": False,
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
styled = matplotlib.rc_context(STYLE)
WIDTH = 10.2  # inches


@styled
def groups(panels, titles, label):
    """Bars by group and scoring.

    Args:
        panels: [{group: {scoring: (mean, Difference) or None}}], one dict per panel.
        titles: of the panels.
        label: of the y axis.
    """
    figure = _figure(3.4)
    for axes, found, title in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, titles):
        scorings = list(next(iter(found.values()), {}))
        for k, scoring in enumerate(scorings):
            places = [i + 0.8 * (k - (len(scorings) - 1) / 2) / len(scorings) for i in range(len(found))]
            axes.bar(
                places,
                [of[scoring][0] if of[scoring] else 0 for of in found.values()],
                0.8 / len(scorings),
                color=COLOURS.get(scoring),
                label=scoring,
            )
        axes.set(title=title, xticks=range(len(found)), xticklabels=[name.replace(" (", "\n(") for name in found])
        axes.set_ylim(0, 1)
        axes.grid(axis="y", alpha=0.3)
    figure.axes[0].set_ylabel(label)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    return _png(figure)


@styled
def differences(rows, scorings, label):
    """Differences with their intervals, one line per row that has any.

    Args:
        rows: {title: {scoring: Difference or None}}.
    """
    rows = {title: of for title, of in rows.items() if any(of.values())}
    figure = _figure(1.1 + 0.32 * max(len(rows), 1))
    axes = figure.subplots()
    for k, scoring in enumerate(scorings):
        for i, of in enumerate(rows.values()):
            if of[scoring] is not None:
                place, (value, low, high) = i + 0.22 * (k - (len(scorings) - 1) / 2), of[scoring]
                axes.plot([low, high], [place, place], color=COLOURS[scoring], lw=1.4)
                axes.plot([value], [place], "o", ms=4, color=COLOURS[scoring])
        axes.plot([], [], "o-", ms=4, color=COLOURS[scoring], label=scoring)
    axes.axvline(0, color="black", lw=0.8)
    axes.set(yticks=range(len(rows)), yticklabels=list(rows), xlabel=label)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return _png(figure)


@styled
def chain(panels):
    """Bars of one metric, one per way to join the banks; ``panels``: {title: {way: value}}."""
    known = {title: of for title, of in panels.items() if of}
    figure = _figure(max(1.6, sum(0.5 + 0.24 * len(of) for of in known.values())))
    heights = [len(of) + 1 for of in known.values()]
    for axes, (title, of) in zip(
        figure.subplots(max(len(known), 1), 1, squeeze=False, height_ratios=heights or None)[:, 0], known.items()
    ):
        colours = [
            COLOURS["calibrated"]
            if text.startswith("calibrated")
            else COLOURS["baseline"]
            if "released late" in text
            else "#d9e2ea"
            if "alone" in text
            else COLOURS["disagreement"]
            for text in of
        ]
        axes.barh(range(len(of)), list(of.values()), 0.7, color=colours)
        for i, v in enumerate(of.values()):
            axes.text(v + 0.005, i, f"{v:.3f}", va="center", fontsize=8)
        axes.set(title=title, yticks=range(len(of)), yticklabels=list(of), xlim=(0, 1.06))
        axes.set_ylim(len(of) - 0.4, -0.6)
    return _png(figure)


@styled
def curves(panels):
    """AU-PRO by number of training parts; ``panels``: {title: {scoring: {number of parts: value}}}."""
    figure = _figure(3.2)
    for axes, (title, of) in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items()):
        for scoring, values in of.items():
            axes.plot(list(values), list(values.values()), "o-", ms=4, color=COLOURS[scoring], label=scoring)
        numbers = sorted({k for values in of.values() for k in values})
        axes.set_xscale("log")
        axes.set_xticks(numbers, [str(k) for k in numbers], minor=False)
        axes.minorticks_off()
        axes.set_title(title, fontsize=8)
        axes.set_xlabel("training parts")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("AU-PRO 30 %")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return _png(figure)


def _figure(height):
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=90, metadata={"Software": None})
    return file.getvalue()
