"""tables.md: what a sweep's finished jobs have found; it does not depend on when or where they ran."""

import numpy as np
from tabulate import tabulate

from common.files import atomic_write_text
from runs.results import TABLES, column_title, escaped, row_title, spread
from sweeps.plan import shown

FILE = "tables.md"
MISSING = "-"


def write_tables(out, plan, results) -> str:
    """Write FILE into ``out``, one row per setting and scoring; returns its text."""
    seeds = ", ".join(map(str, sorted({job.seed for job in plan.jobs})))
    texts = [f"{len(results.done)} of {len(plan.jobs)} jobs are finished."]
    categories = list(dict.fromkeys(category for of in results.table.values() for category in of))
    for metric, (heading, _) in TABLES.items() if results.table else ():
        rows = [[_title(plan, row), *cells(results, row, metric, categories)] for row in results.table]
        header = ["Method", *map(column_title, categories), "Mean"]
        align = ["left"] + ["right"] * (len(header) - 1)
        texts.append(
            f"## {heading.replace(' Results', '')}\n\nMean ± standard deviation over seeds {seeds}.\n\n"
            + tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=align)
        )
    text = "\n\n".join([*texts, *(results.notes if results.table else ())]) + "\n"
    atomic_write_text(out / FILE, text)
    return text


def cells(results, row, metric, categories) -> list[str]:
    """The texts of a SweepRow: mean ± standard deviation over seeds in each category, then that of the mean over the
    complete categories, those that have a value for every seed. MISSING without a value."""
    texts, complete = [], {}
    for category in categories:
        of_seed, wanted = results.table[row].get(category, {}), results.planned.get((row.setting, category), set())
        values = {seed: getattr(of_seed[seed], metric) for seed in sorted(of_seed)}
        known = {seed: value for seed, value in values.items() if value is not None}
        lacking = f" ({len(known)} of {len(wanted)} seeds)" if len(known) < len(wanted) else ""
        texts.append(spread(list(known.values())) + lacking if known else MISSING)
        if known and set(known) == wanted:
            complete[category] = known
    seeds = {tuple(known) for known in complete.values()}
    if len(seeds) != 1:  # no category is complete, or they have different seeds
        return [*texts, MISSING]
    total = len({category for _, category in results.planned})
    lacking = f" ({len(complete)} of {total} categories)" if len(complete) < total else ""
    means = [np.mean([known[seed] for known in complete.values()]) for seed in seeds.pop()]
    return [*texts, spread(means) + lacking]


def _title(plan, row) -> str:
    """Text of the Method column: the method, the setting, the scoring."""
    setting = dict(row.setting)
    method = setting.pop("method_name", None) or plan.method_name
    return escaped(row_title(" ".join([method, *map(shown, setting.items())]), row.scoring))
