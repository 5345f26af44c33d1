"""Tables of a sweep's finished jobs; they do not depend on when or where the jobs ran.

tables.md     mean ± standard deviation over seeds, one row per setting and scoring
cells.csv     the same in full precision
"""

from pathlib import Path

from tabulate import tabulate

from common.files import atomic_write_text
from runs.results import TABLES, column_title, csv_text, escaped, row_title
from sweeps.plan import shown
from sweeps.results import MEAN, cells

FILES = ("tables.md", "cells.csv")
MISSING = "-"
CELLS = "categories seeds seeds_planned mean sd seeds_low seeds_high".split()


def write_tables(out, plan, results):
    """Write FILES into ``out``; returns the text of tables.md."""
    found = {metric: cells(results, metric) for metric in TABLES}
    text = markdown(plan, results, found)
    for name, content in zip(FILES, (text, cells_csv(plan, found))):
        atomic_write_text(Path(out) / name, content)
    return text


def markdown(plan, results, found):
    """The text of tables.md; ``found``: {metric: [SweepCell]}."""
    seeds = sorted({job.seed for job in plan.jobs})
    texts = [f"{len(results.done)} of {results.jobs} jobs are finished."]
    total = len({category for _, category in results.planned})
    for metric, (heading, _) in TABLES.items() if results.table else ():
        of = {(cell.row, cell.category): cell for cell in found[metric]}
        columns = [*dict.fromkeys(category for _, category in of if category != MEAN), MEAN]
        rows = [[_title(plan, row), *(_text(of.get((row, c)), total) for c in columns)] for row in results.table]
        header = ["Method", *map(column_title, columns)]
        align = ["left"] + ["right"] * len(columns)
        texts.append(
            f"## {heading.replace(' Results', '')}\n\nMean ± standard deviation over seeds "
            f"{', '.join(map(str, seeds))}; in brackets the 95 % interval of the mean over seeds (Student), where it "
            f"is known.\n\n" + tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=align)
        )
    return "\n\n".join([*texts, *(results.notes if results.table else ())]) + "\n"


def _title(plan, row):
    """Text of the Method column: the method, the setting, the scoring."""
    setting = [pair for pair in row.setting if pair[0] != "method_name"]
    return escaped(row_title(" ".join([_method(plan, row), *map(shown, setting)]), row.scoring))


def _method(plan, row):
    return dict(row.setting).get("method_name") or plan.method_name


def _text(cell, total):
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


def cells_csv(plan, found):
    """The text of cells.csv: one line per metric, row and category."""
    axes = [name for name, _ in plan.settings[0] if name != "method_name"]
    lines = [["metric", "method", *axes, "scoring", "category", *CELLS]]
    for metric, of_metric in found.items():
        for cell in of_metric:
            values = dict(cell.row.setting)
            key = [_method(plan, cell.row), *(shown(("", values[axis]))[1:] for axis in axes), cell.row.scoring]
            lines.append([metric, *key, *cell[1:]])
    return csv_text(lines)
