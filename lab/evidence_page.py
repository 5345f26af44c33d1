"""The page of lab/evidence.py: tables made of the cells' files alone; cells without a file are named."""

import json
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tabulate import tabulate

from common.files import atomic_write_text
from inspection.verdict import CANNOT_JUDGE, threshold
from runs.results import spread

FIGURES = {
    "image_rocauc": "image ROCAUC",
    "good_failed": "share of good cells that fail",
    "promised": "share that is promised",
    "defective_failed": "share of defective cells that fail",
}
RATE, MAIN_SHOTS = 0.05, 14
GOOD = "good parts failed"
CURVE = "_size_"  # in the name of a set: defect, then the factor of its depth and width


def write_page(out, cells, failed):
    """Write OUT/evidence.md about the planned ``cells``; ``failed``: {cell: why}. Returns its path."""
    paths = {cell: out / "cells" / f"{cell.name}.json" for cell in cells}
    found = {cell: json.loads(path.read_text()) for cell, path in paths.items() if path.is_file()}
    of_kind = defaultdict(dict)
    for cell, of in found.items():
        of_kind[cell.cells][cell] = of["found"]
    rates = {cell: rates_of(of, cell.seed) for cell, of in of_kind["recordings"].items()}
    commits = ", ".join(sorted({of["commit"] for of in found.values()})) or "none"
    text = [
        "# What each setting finds",
        f"**Generated parts are no benchmark.** {len(found)} of {len(cells)} cells are there; commits: {commits}.",
        *(recording_tables(rates) if rates else []),
        *(solar_tables(of_kind["solar"]) if of_kind["solar"] else []),
    ]
    missing = [" ".join(map(str, cell)) for cell in cells if cell not in found and cell not in failed]
    text += ["## Cells without a result"] if missing or failed else []
    text += [f"- not run: {name}" for name in missing]
    text += [f"- failed: {' '.join(map(str, cell))}: {why}" for cell, why in failed.items()]
    atomic_write_text(out / "evidence.md", "\n\n".join(text) + "\n")
    return out / "evidence.md"


def table(header, rows):
    """A markdown table of texts."""
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True)


def solar_tables(cells):
    """Texts: the figures of each type of cell, mean ± standard deviation over seeds; ``cells``: {cell: found}."""
    kinds, rows = list(dict.fromkeys(cell.kind for cell in cells)), []
    for name, title in FIGURES.items():
        values = {kind: [of["calibrated"][name] for cell, of in cells.items() if cell.kind == kind] for kind in kinds}
        rows.append([title, *map(spread, values.values())])
    return ["## Solar cells, real pictures, 5 % promised", table(["", *kinds], rows)]


# ---------------------------------------------------------------- recordings


def failed_shares(
    pool: ArrayLike,
    groups: Mapping[Hashable, ArrayLike],
    calibration: int,
    draws: int = 200,
    seed: int = 0,
    seen: Sequence[int] = (),
    joined: Hashable = "good",
    resample: bool = False,
) -> dict[Hashable, NDArray[np.float64]]:
    """Share of parts that fail at RATE, in each of many draws of ``calibration`` parts: {name: [draws]}; groups without
    parts are left out.

    Args:
        pool: [n] scores of good parts; NaN: a part that cannot be judged, which cannot calibrate and fails.
        groups: {name: scores} of the other parts, without NaN; inf always fails, -inf never does.
        seen: numbers of pool parts that the fitted model has seen; they may calibrate, but are never judged.
        joined: the group that is joined by the pool's parts which are neither seen nor drawn.
        resample: draw the judged parts of each group with replacement too, for intervals.

    Raises ValueError: the pool has too few parts that can be judged; InputError: so few calibration parts promise no
    such rate.
    """
    pool = np.asarray(pool, dtype=np.float64)
    usable, rng = np.flatnonzero(np.isfinite(pool)), np.random.default_rng(seed)
    if len(usable) < calibration:
        raise ValueError(f"{len(usable)} good parts could be judged, {calibration} are needed to calibrate")
    ends = np.where(np.isnan(pool), np.inf, pool)
    found: dict[Hashable, list[float]] = defaultdict(list)
    for _ in range(draws):
        chosen = rng.choice(usable, calibration, replace=False)
        limit = threshold(pool[chosen], RATE)
        spare = np.delete(ends, np.union1d(chosen, np.asarray(seen, int)))
        for name in {**groups, joined: ()}:
            scores = np.asarray(groups.get(name, ()), dtype=np.float64)
            scores = np.concatenate([scores, spare]) if name == joined else scores
            if len(scores):
                scores = rng.choice(scores, len(scores)) if resample else scores
                found[name].append(float(np.mean(scores > limit)))
    return {name: np.array(shares) for name, shares in found.items()}


def rates_of(found, seed):
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
    count, joined = found["calibration"], ("to_judge", GOOD)
    return failed_shares(pool, groups, count, seed=seed, seen=range(count), joined=joined, resample=True)


def share(cells, where, defect):
    """Text: mean share that fails of a ``defect`` (GOOD: of good parts; None: of all defects) in the set ``where``,
    over cells, with its 95 % interval, in %; "-" without any."""
    drawn = []
    for rates in cells:
        groups = [of for (name, d), of in rates.items() if name == where and (d == defect or not defect and d != GOOD)]
        drawn += [np.mean(groups, axis=0)] if groups else []
    if not drawn:
        return "-"
    mean = np.mean(drawn, axis=0)
    low, high = np.quantile(mean, (0.025, 0.975))
    return f"{100 * np.mean(mean):.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def recording_tables(rates):
    """Texts of the tables about recordings; ``rates``: {cell: its rates_of}. A table has a column per setting."""
    settings, kinds = (list(dict.fromkeys(getattr(cell, of) for cell in rates)) for of in ("setting", "kind"))
    sets = list(dict.fromkeys(where for found in rates.values() for where, _ in found))
    steps = sorted(where for where in sets if CURVE in where)
    defects = sorted({(c.kind, d) for c, found in rates.items() for w, d in found if w == "to_judge" and d != GOOD})
    shots, first = sorted({cell.shots for cell in rates}), min(cell.seed for cell in rates)
    found, both = (None,), (None, GOOD)
    tables = {  # title → rows: name, which cells, set, of which defects
        "By kind": [(kind, {"kind": kind}, "to_judge", both) for kind in kinds] + [("all", {}, "to_judge", both)],
        "By defect: share found": [(f"{kind}: {d}", {"kind": kind}, "to_judge", (d,)) for kind, d in defects],
        "On another day, without a new fit": [(day, {}, day, both) for day in sets if day not in steps],
        "By training parts (first seed)": [(k, {"shots": k, "seed": first}, "to_judge", both) for k in shots],
        "The smallest found: depth and width times a factor": [(step, {}, step, found) for step in steps],
    }

    def text(setting, wanted, where, which):
        wanted = {"setting": setting, "shots": MAIN_SHOTS, **wanted}
        cells = [of for cell, of in rates.items() if all(getattr(cell, name) == v for name, v in wanted.items())]
        return "; ".join(share(cells, where, defect) for defect in which)

    texts = [
        f"## Recordings, {MAIN_SHOTS} training parts, 5 % promised",
        "Defects found; good parts failed: means over draws of calibration parts, with 95 % intervals over draws and "
        "resampled parts. A good part that cannot be judged counts as failed, a defective one as not found.",
    ]
    for title, rows in tables.items():
        if rows:
            filled = [[name, *(text(setting, *of) for setting in settings)] for name, *of in rows]
            texts += [f"### {title}", table(["", *settings], filled)]
    return texts
