"""The page of lab/evidence.py: tables made of the cells' files alone; cells without a file are named."""

import json
from collections import defaultdict

import numpy as np
from tabulate import tabulate

from common.files import atomic_write_text
from inspection.verdict import CANNOT_JUDGE
from lab.promise import failed_shares

METRICS = {
    "image_rocauc": "image ROCAUC",
    "pixel_rocauc": "pixel ROCAUC",
    "au_pro": "AU-PRO 30 %",
    "au_pro_1": "AU-PRO 1 %",
}
RATE, MAIN_SHOTS = 0.05, 14
GOOD = "good parts failed"
CURVE = "_size_"  # in the name of a set: defect, then the factor of its depth and width


def write_page(out, cells, failed):
    """Write OUT/evidence.md about the planned ``cells``; ``failed``: {cell: why}. Returns its path."""
    found = {}
    for cell in cells:
        path = out / "cells" / f"{cell.name}.json"
        if path.is_file():
            found[cell] = json.loads(path.read_text())
    parts = {cell: of["found"] for cell, of in found.items() if cell.cells == "parts"}
    rates = {cell: rates_of(of["found"], cell.seed) for cell, of in found.items() if cell.cells == "recordings"}
    commits = ", ".join(sorted({of["commit"] for of in found.values()})) or "none"
    seconds = sum(of["seconds"] for of in found.values())
    text = [
        "# What each setting finds",
        f"**Generated parts are no benchmark.** {len(found)} of {len(cells)} cells are there, computed in "
        f"{seconds / 3600:.1f} h; commits: {commits}. Networks called stand-ins have untrained weights.",
    ]
    text += main_tables(parts) if parts else []
    text += recording_tables(rates) if rates else []
    missing = [" ".join(map(str, cell)) for cell in cells if cell not in found and cell not in failed]
    text += ["## Cells without a result"] if missing or failed else []
    text += [f"- not run: {name}" for name in missing]
    text += [f"- failed: {' '.join(map(str, cell))}: {why}" for cell, why in failed.items()]
    path = out / "evidence.md"
    atomic_write_text(path, "\n\n".join(text) + "\n")
    return path


def table(header, rows):
    """A markdown table of texts."""
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True)


# ---------------------------------------------------------------- generated categories


def main_tables(cells):
    """Texts: one table per metric, mean ± standard deviation over seeds; what calibrated gains on the baseline."""
    kinds = list(dict.fromkeys(cell.kind for cell in cells))
    rows_of = list(dict.fromkeys((cell.setting, scoring) for cell, of in cells.items() for scoring in of))
    text = ["## Generated categories, cut out already"]
    for metric, title in METRICS.items():
        rows = []
        for setting, scoring in rows_of:
            values = {
                kind: [
                    of[scoring][metric]
                    for cell, of in cells.items()
                    if (cell.kind, cell.setting) == (kind, setting)
                    and scoring in of
                    and of[scoring][metric] is not None
                ]
                for kind in kinds
            }
            everywhere = [np.mean(of) for of in values.values()] if all(values.values()) else []
            rows.append([setting, scoring, *map(spread, values.values()), spread(everywhere, False)])
        text += [f"### {title}", table(["setting", "scoring", *kinds, "mean"], rows)]
    gains = []
    for setting in dict.fromkeys(cell.setting for cell in cells):
        own = [
            of["calibrated"]["gains"] for cell, of in cells.items() if cell.setting == setting and "calibrated" in of
        ]
        if own:
            intervals = [gain(np.mean([of[metric] for of in own], axis=0)) for metric in ("image_rocauc", "au_pro")]
            gains.append([setting, str(len(own)), *intervals])
    header = ["setting", "cells", "image ROCAUC", "AU-PRO 30 %"]
    return [*text, "### calibrated − baseline, 95 % intervals over test parts", table(header, gains)]


def spread(values, deviation=True):
    """Text: mean ± standard deviation; "-" without values."""
    if not len(values):
        return "-"
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if deviation and len(values) > 1 else "")


def gain(values):
    """Text: the first value, and the 95 % interval of the others, which are resamples."""
    low, high = np.nanquantile(values[1:], (0.025, 0.975))
    return f"{values[0]:+.3f} [{low:+.3f}, {high:+.3f}]"


def share(drawn):
    """Text: mean and 95 % interval of drawn shares, in %; "-" for None."""
    if drawn is None:
        return "-"
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{100 * np.mean(drawn):.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


# ---------------------------------------------------------------- recordings


def rates_of(found, seed, draws=200):
    """{(set, defect or GOOD): [draws] share that fails} of a recording's cell. The good parts of to_judge are joined by
    those of the pool that are neither drawn to calibrate nor known to the model. A good part that cannot be judged
    counts as failed, a defective one as not found."""
    pool, groups = [], defaultdict(list)
    for where, defect, verdict, score in found["judged"]:
        judged, good = verdict != CANNOT_JUDGE, defect == "good"
        if where == "pool":
            pool.append(score if judged else np.nan)
        else:
            groups[where, GOOD if good else defect].append(score if judged else np.inf if good else -np.inf)
    count = found["calibration"]
    return failed_shares(pool, groups, count, RATE, draws, seed, range(count), ("to_judge", GOOD), resample=True)


def mean_rates(cells, where, choose):
    """[draws]: mean over cells, and over the groups of the set ``where`` that ``choose`` accepts; None without any."""
    per_cell = [[of for (name, defect), of in rates.items() if name == where and choose(defect)] for rates in cells]
    per_cell = [np.mean(groups, axis=0) for groups in per_cell if groups]
    return np.mean(per_cell, axis=0) if per_cell else None


def found_and_failed(cells, where="to_judge"):
    """Text: defects found; good parts failed."""
    both = mean_rates(cells, where, lambda d: d != GOOD), mean_rates(cells, where, lambda d: d == GOOD)
    return "; ".join(map(share, both))


def recording_tables(rates):
    """Texts of the tables about recordings."""
    settings = list(dict.fromkeys(cell.setting for cell in rates))
    kinds = list(dict.fromkeys(cell.kind for cell in rates))

    def of(setting, kind=None, shots=MAIN_SHOTS, seed=None):
        return [
            found
            for cell, found in rates.items()
            if (cell.setting, cell.shots) == (setting, shots)
            and kind in (None, cell.kind)
            and seed in (None, cell.seed)
        ]

    def one_table(first, lines, cell):
        return table([first, *settings], [[line, *(cell(setting, line) for setting in settings)] for line in lines])

    days = list(dict.fromkeys(where for found in rates.values() for where, _ in found if CURVE not in where))
    steps = sorted({where for found in rates.values() for where, _ in found if CURVE in where}, key=step_of)
    defects = sorted({(c.kind, d) for c, found in rates.items() for w, d in found if w == "to_judge" and d != GOOD})
    shots, first = sorted({cell.shots for cell in rates}), min(cell.seed for cell in rates)
    whole = [[kind, *(found_and_failed(of(setting, kind)) for setting in settings)] for kind in kinds]
    whole += [["all", *(found_and_failed(of(setting)) for setting in settings)]]

    def of_defect(setting, line):
        return share(mean_rates(of(setting, line[0]), "to_judge", lambda defect: defect == line[1]))

    def of_step(setting, where):
        return share(mean_rates(of(setting), where, lambda defect: defect != GOOD))

    rows = [[f"{kind}: {defect}", *(of_defect(s, (kind, defect)) for s in settings)] for kind, defect in defects]
    return [
        f"## Recordings, {MAIN_SHOTS} training parts, 5 % promised",
        "Defects found; good parts failed: means over draws of calibration parts, with 95 % intervals over draws and "
        "resampled parts. A good part that cannot be judged counts as failed, a defective one as not found.",
        table(["kind", *settings], whole),
        "### By defect: share found",
        table(["defect", *settings], rows),
        "### On another day, without a new fit",
        one_table("day", days, lambda setting, day: found_and_failed(of(setting), day)),
        "### By training parts (first seed)",
        one_table("training parts", shots, lambda setting, k: found_and_failed(of(setting, shots=k, seed=first))),
        *(["### The smallest found: depth and width times a factor"] if steps else []),
        *([one_table("defect × factor", steps, of_step)] if steps else []),
    ]


def step_of(where):
    """(defect, factor) of a curve's set."""
    defect, _, factor = where.rpartition(CURVE)
    return defect, float(factor)
