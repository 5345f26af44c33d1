"""Tables and figure of a sweep's finished jobs; they do not depend on when or where the jobs ran.

tables.md          mean ± standard deviation over seeds, one row per setting and scoring; paired differences
cells.csv          the same in full precision
differences.csv    all comparisons, with intervals, p values and Holm's correction
figure.png         curves of the means over the categories, if an option of the grid has three or more numbers
"""

from pathlib import Path

from tabulate import tabulate

from common.files import atomic_path, atomic_write_text
from runs.results import TABLES, column_title, csv_text, escaped, row_title
from scoring.significance import METRICS
from sweeps.plan import shown
from sweeps.results import BY_SCORING, BY_SETTING, MEAN, SweepRow, cells, differences

FILES = ("tables.md", "cells.csv", "differences.csv")
FIGURE = "figure.png"
MISSING = "-"
FAMILIES = {
    BY_SCORING: "scorings against the baseline of the same setting",
    BY_SETTING: "settings against the first one, same scoring",
}
NAMES = {metric: heading.replace(" Results", "") for metric, (heading, _) in TABLES.items()}
CELLS = "categories seeds seeds_planned mean sd seeds_low seeds_high".split()
DIFFERENCES = "category categories seeds parts difference low high p p_holm note".split()


def write_tables(out, plan, results):
    """Write the files into ``out``; returns the text of tables.md."""
    out = Path(out)
    found = {metric: cells(results.table, results.planned, metric) for metric in METRICS}
    compared = {metric: differences(results.table, metric) for metric in METRICS}
    text = markdown(plan, results, found, compared)
    for name, content in zip(FILES, (text, cells_csv(plan, found), differences_csv(plan, compared))):
        atomic_write_text(out / name, content)
    axis = number_axis(plan)
    if axis and results.table:
        draw(out / FIGURE, plan, found, axis)
    return text


def title(plan, row):
    """Text of the Method column: the method, the setting, the scoring."""
    setting = [pair for pair in row.setting if pair[0] != "method_name"]
    return row_title(" ".join([_method(plan, row), *map(shown, setting)]), row.scoring)


def _method(plan, row):
    return dict(row.setting).get("method_name") or plan.method_name


# ---------------------------------------------------------------- markdown


def markdown(plan, results, found, compared):
    """The text of tables.md."""
    seeds = sorted({job.seed for job in plan.jobs})
    texts = [f"{len(results.done)} of {results.jobs} jobs are finished."]
    total = len({category for _, category in results.planned})
    for metric in METRICS if results.table else ():
        of = {(cell.row, cell.category): cell for cell in found[metric]}
        categories = list(dict.fromkeys(category for _, category in of if category != MEAN))
        rows = [
            [escaped(title(plan, row)), *(_cell(of.get((row, category)), total) for category in (*categories, MEAN))]
            for row in results.table
        ]
        texts.append(
            f"## {NAMES[metric]}\n\nMean ± standard deviation over seeds {', '.join(map(str, seeds))}; in brackets the "
            "95 % interval of the mean over seeds (Student), where it is known.\n\n"
            + _table(["Method", *map(column_title, categories), MEAN], rows)
        )
        for family in FAMILIES:
            mine = [d for d in compared[metric] if d.family == family]
            texts += [_difference_table(plan, metric, family, mine)] if mine else []
    return "\n\n".join([*texts, *(results.notes if results.table else ())]) + "\n"


def _cell(cell, total):
    """Text of a SweepCell or None; ``total``: number of all categories."""
    if cell is None:
        return MISSING
    text = f"{cell.mean:.3f}"
    if cell.sd is not None:
        text += f" ± {cell.sd:.3f} [{cell.low:.3f}, {cell.high:.3f}]"
    if cell.seeds < cell.planned:
        text += f" ({cell.seeds} of {cell.planned} seeds)"
    if cell.category == MEAN and cell.categories < total:
        text += f" ({cell.categories} of {total} categories)"
    return text


def _difference_table(plan, metric, family, found):
    columns = sorted(dict.fromkeys(d.category for d in found), key=lambda category: category == MEAN)
    by = {(d.row, d.reference, d.category): d for d in found}
    rows = [
        [f"{escaped(title(plan, a))} minus {escaped(title(plan, b))}", *(_shown(by.get((a, b, c))) for c in columns)]
        for a, b in dict.fromkeys((d.row, d.reference) for d in found)
    ]
    notes = dict.fromkeys(d.note for d in found if d.note)
    return (
        f"### {NAMES[metric]}: {FAMILIES[family]}\n\nMean difference over the seeds; where tested, its 95 % interval "
        "over test parts and p (DeLong's test), Holm-corrected over this table's rows.\n\n"
        + _table(["Difference", *(c if c == MEAN else column_title(c) for c in columns)], rows)
        + "".join(f"\n\nNot tested where no interval stands: {note}." for note in notes)
    )


def _shown(of):
    if of is None:
        return MISSING
    low, high = of.interval
    return f"{of.value:+.3f}" + ("" if of.holm is None else f" [{low:+.3f}, {high:+.3f}] p={of.holm:.2g}")


def _table(header, rows):
    align = ["left"] + ["right"] * (len(header) - 1)
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=align)


# ---------------------------------------------------------------- CSV


def cells_csv(plan, found):
    """The text of cells.csv: one line per metric, row and category."""
    header = ["metric", "method", *_axes(plan), "scoring", "category", *CELLS]
    return csv_text([header, *([m, *_key(plan, cell.row), *cell[1:]] for m in METRICS for cell in found[m])])


def differences_csv(plan, compared):
    """The text of differences.csv: one line per comparison, metric and category."""
    key = ["method", *_axes(plan), "scoring"]
    lines = [["metric", "family", *key, *(f"reference_{name}" for name in key), *DIFFERENCES]]
    for metric in METRICS:
        for d in compared[metric]:
            values = (d.categories, d.seeds, d.parts, d.value, *d.interval, d.p, d.holm, d.note)
            lines.append([metric, d.family, *_key(plan, d.row), *_key(plan, d.reference), d.category, *values])
    return csv_text(lines)


def _axes(plan):
    return [name for name, _ in plan.settings[0] if name != "method_name"]


def _key(plan, row):
    values = dict(row.setting)
    return [_method(plan, row), *(shown(("", values[axis]))[1:] for axis in _axes(plan)), row.scoring]


# ---------------------------------------------------------------- figure


def number_axis(plan):
    """The grid's first option with at least three values, all of them numbers; None if there is none."""
    for name in _axes(plan):
        values = {dict(setting)[name] for setting in plan.settings}
        if len(values) > 2 and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            return name
    return None


def draw(path, plan, found, axis):
    """Draw the means over the categories as curves over the grid's option ``axis``. Error bars are one standard
    deviation over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    for metric, axes in zip(METRICS, figure.subplots(1, 3)):
        lines = {}
        for cell in found[metric]:
            if cell.category == MEAN:
                rest = tuple(pair for pair in cell.row.setting if pair[0] != axis)
                line = lines.setdefault(title(plan, SweepRow(rest, cell.row.scoring)), {})
                line[dict(cell.row.setting)[axis]] = cell
        for name, of in lines.items():
            x = sorted(of)
            axes.errorbar(x, [of[v].mean for v in x], [of[v].sd or 0 for v in x], label=name, marker="o", capsize=3)
        values = sorted({x for of in lines.values() for x in of})
        if values and values[0] > 0 and values[-1] / values[0] >= 10:
            axes.set_xscale("log")
        axes.set_xticks(values, [f"{x:g}" for x in values])
        axes.minorticks_off()
        axes.set(title=NAMES[metric], xlabel=axis)
        axes.grid(alpha=0.3)
    if figure.axes[0].has_data():
        figure.axes[0].legend(fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})
