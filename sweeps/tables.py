"""Tables and figure of a sweep's finished jobs; they do not depend on when or where the jobs ran.

tables.md          mean ± standard deviation over seeds, one row per setting and scoring; paired differences
cells.csv          the same in full precision, with both kinds of intervals
differences.csv    all comparisons, with intervals, p values and Holm's correction
figure.png         means over the categories; curves if an option of the grid has numbers as values
"""

import csv
import io
from pathlib import Path

from tabulate import tabulate

from common.files import atomic_path, atomic_write_text
from runs.results import TABLES, UNDEFINED, column_title, escaped, row_title
from scoring.significance import METRICS
from sweeps.compare import BY_SCORING, BY_SETTING, MEAN, Row, differences, means
from sweeps.plan import shown

FILES = ("tables.md", "cells.csv", "differences.csv", "figure.png")
MISSING = "-"
FAMILIES = {
    BY_SCORING: "scorings against the baseline of the same setting",
    BY_SETTING: "settings against the first one, same scoring",
}
NAMES = {metric: heading.replace(" Results", "") for metric, (heading, _) in TABLES.items()}


def write_tables(out, plan, gathered):
    """Write the four files into ``out``; returns the text of tables.md. Without a finished job there is no figure."""
    out = Path(out)
    cells = {metric: cells_of(gathered, metric) for metric in METRICS}
    found = {metric: differences(gathered.table, metric) for metric in METRICS}
    text = markdown(plan, gathered, cells, found)
    atomic_write_text(out / "tables.md", text)
    atomic_write_text(out / "cells.csv", cells_csv(plan, gathered, cells))
    atomic_write_text(out / "differences.csv", differences_csv(plan, found))
    if gathered.table:
        draw(out / "figure.png", plan, cells)
    return text


def cells_of(gathered, metric):
    """{Row: ({category or MEAN: Mean}, [complete categories])}."""
    return {
        row: means(of, metric, {category: gathered.planned[row.setting, category] for category in of})
        for row, of in gathered.table.items()
    }


def title(plan, row):
    """Text of the Method column: the method, the setting, the scoring."""
    setting = [pair for pair in row.setting if pair[0] != "method_name"]
    method = dict(row.setting).get("method_name") or plan.method_name
    return row_title(" ".join([method, *map(shown, setting)]), row.scoring)


# ---------------------------------------------------------------- markdown


def markdown(plan, gathered, cells, found):
    """The text of tables.md."""
    seeds = sorted({job.seed for job in plan.jobs})
    texts = [f"{gathered.done} of {gathered.jobs} jobs are finished."]
    if not gathered.table:
        return texts[0] + "\n"
    for metric in METRICS:
        categories = list(dict.fromkeys(c for of, _ in cells[metric].values() for c in of if c != MEAN))
        one = len(seeds) == 1
        rows = [
            [
                escaped(title(plan, row)),
                *(_cell(of.get(c), gathered.planned.get((row.setting, c), ()), one) for c in categories),
                _mean_cell(of.get(MEAN), complete, gathered, one),
            ]
            for row, (of, complete) in cells[metric].items()
        ]
        words = (
            "95 % interval over test parts (bootstrap)"
            if len(seeds) == 1
            else "95 % interval of the mean over seeds (Student)"
        )
        texts.append(
            f"## {NAMES[metric]}\n\nMean ± standard deviation over seeds {', '.join(map(str, seeds))}; in "
            f"brackets the {words}, where it is known.\n\n"
            + _table(["Method", *map(column_title, categories), MEAN], rows)
        )
        for family, words in FAMILIES.items():
            mine = [d for d in found[metric] if d.family == family]
            if mine:
                texts.append(_difference_table(plan, metric, words, mine))
    return "\n\n".join([*texts, *gathered.notes]) + "\n"


def _cell(mean, planned, one_seed):
    if mean is None:
        return MISSING
    text = f"{mean.mean:.3f}"
    if mean.sd is not None:
        text += f" ± {mean.sd:.3f} [{mean.low:.3f}, {mean.high:.3f}]"
    elif one_seed and mean.parts_low is not None:
        text += f" [{mean.parts_low:.3f}, {mean.parts_high:.3f}]"
    return text + (f" ({mean.seeds} of {len(planned)} seeds)" if mean.seeds < len(planned) else "")


def _mean_cell(mean, complete, gathered, one_seed):
    if mean is None:
        return MISSING
    planned = {category for _, category in gathered.planned}
    text = _cell(mean, range(mean.seeds), one_seed)
    return text + (f" ({len(complete)} of {len(planned)} categories)" if len(complete) < len(planned) else "")


def _difference_table(plan, metric, words, found):
    categories = list(dict.fromkeys(d.category for d in found if d.category != MEAN))
    columns = [*categories, *([MEAN] if any(d.category == MEAN for d in found) else [])]
    pairs = list(dict.fromkeys((d.row, d.reference) for d in found))
    by = {(d.row, d.reference, d.category): d for d in found}
    rows = [
        [
            escaped(f"{title(plan, row)} minus {title(plan, reference)}"),
            *(_difference_cell(by.get((row, reference, c))) for c in columns),
        ]
        for row, reference in pairs
    ]
    test = "DeLong's test" if metric == METRICS[0] else "bootstrap over test images"
    notes = list(dict.fromkeys(d.note for d in found if d.note))
    return (
        f"### {NAMES[metric]}: {words}\n\nMean difference over the seeds, its 95 % interval over test parts and p "
        f"({test}), Holm-corrected over this table's rows.\n\n"
        + _table(["Difference", *map(_column, columns)], rows)
        + "".join(f"\n\nNot tested where no interval stands: {note}." for note in notes)
    )


def _column(category):
    return category if category == MEAN else column_title(category)


def _difference_cell(of):
    if of is None:
        return MISSING
    if of.holm is None:
        return f"{of.value:+.3f}"
    return f"{of.value:+.3f} [{of.low:+.3f}, {of.high:+.3f}] p={of.holm:.2g}"


def _table(header, rows):
    return tabulate(
        rows, header, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * (len(header) - 1)
    )


# ---------------------------------------------------------------- CSV


def cells_csv(plan, gathered, cells):
    """The text of cells.csv: one line per metric, row and category."""
    axes = _axes(plan)
    lines = [
        [
            "metric",
            "method",
            *axes,
            "scoring",
            "category",
            "categories",
            "seeds",
            "seeds_planned",
            "mean",
            "sd",
            "seeds_low",
            "seeds_high",
            "parts_low",
            "parts_high",
        ]
    ]
    for metric in METRICS:
        for row, (of, complete) in cells[metric].items():
            for category, mean in of.items():
                planned = gathered.planned.get((row.setting, category), range(mean.seeds))
                count = len(complete) if category == MEAN else 1
                lines.append([metric, *_key(plan, row, axes), category, count, mean.seeds, len(planned), *mean[1:]])
    return _csv(lines)


def differences_csv(plan, found):
    """The text of differences.csv: one line per comparison, metric and category."""
    axes = _axes(plan)
    names = [
        "metric",
        "family",
        "method",
        *axes,
        "scoring",
        *(f"reference_{name}" for name in ("method", *axes)),
        "reference_scoring",
        "category",
        "categories",
        "seeds",
        "parts",
        "difference",
        "low",
        "high",
        "p",
        "p_holm",
        "test",
        "note",
    ]
    lines = [
        [
            d.metric,
            d.family,
            *_key(plan, d.row, axes),
            *_key(plan, d.reference, axes),
            d.category,
            d.categories,
            d.seeds,
            d.parts,
            d.value,
            d.low,
            d.high,
            d.p,
            d.holm,
            d.test,
            d.note,
        ]
        for metric in METRICS
        for d in found[metric]
    ]
    return _csv([names, *lines])


def _axes(plan):
    return [name for name, _ in plan.settings[0] if name != "method_name"]


def _key(plan, row, axes):
    values = dict(row.setting)
    method = values.get("method_name") or plan.method_name
    return [method, *(shown(("", values[axis]))[1:] for axis in axes), row.scoring]


def _csv(lines):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [
            ["" if value is None else repr(value) if isinstance(value, float) else value for value in line]
            for line in lines
        ]
    )
    return text.getvalue()


# ---------------------------------------------------------------- figure


def draw(path, plan, cells):
    """Draw the means over the categories: curves over the grid's numeric option, or one dot per row. Error bars are one
    standard deviation over seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    axis = number_axis(plan)
    rows = list(next(iter(cells.values())))
    height = 4 if axis else 1.5 + 0.3 * len(rows)
    figure = Figure(figsize=(13, height), layout="constrained")
    FigureCanvasAgg(figure)
    for metric, axes in zip(METRICS, figure.subplots(1, 3, sharey=not axis)):
        axes.set_title(NAMES[metric])
        known = {row: of[MEAN] for row, (of, _) in cells[metric].items() if MEAN in of}
        (_curves if axis else _dots)(axes, plan, known, axis or rows)
        axes.grid(alpha=0.3)
        if not known:
            axes.text(0.5, 0.5, UNDEFINED, transform=axes.transAxes, ha="center")
    if axis:
        named = next((axes for axes in figure.axes if axes.get_legend_handles_labels()[0]), None)
        if named is not None:
            named.legend(fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})


def number_axis(plan):
    """The grid's first option with at least three values, all of them numbers; None if there is none."""
    for name in _axes(plan):
        values = list(dict.fromkeys(dict(setting)[name] for setting in plan.settings))
        if len(values) > 2 and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            return name
    return None


def _curves(axes, plan, known, axis):
    lines = {}
    for row, mean in known.items():
        rest = tuple(pair for pair in row.setting if pair[0] != axis)
        lines.setdefault(title(plan, Row(rest, row.scoring)), []).append((dict(row.setting)[axis], mean))
    for number, (name, points) in enumerate(lines.items()):
        points.sort(key=lambda point: point[0])
        axes.errorbar(
            [x for x, _ in points],
            [m.mean for _, m in points],
            [m.sd or 0 for _, m in points],
            label=name,
            marker="o",
            capsize=3,
            color=f"C{number % 10}",
        )
    values = sorted({x for points in lines.values() for x, _ in points})
    if values and values[0] > 0 and values[-1] / values[0] >= 10:
        axes.set_xscale("log")
    axes.set_xticks(values, [f"{x:g}" for x in values], minor=False)
    axes.minorticks_off()
    axes.set_xlabel(axis)


def _dots(axes, plan, known, rows):
    for number, row in enumerate(rows):
        if row in known:
            axes.errorbar(known[row].mean, number, xerr=known[row].sd or 0, marker="o", capsize=3, color="C0")
    axes.set_yticks(range(len(rows)), [title(plan, row) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
