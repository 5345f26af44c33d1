"""The page of lab/evidence.py: tables made of the cells' files alone; cells without a file are named."""

import json
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tabulate import tabulate

from common.files import atomic_write_text
from inspection.verdict import CANNOT_JUDGE, threshold

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
    paths = {cell: out / "cells" / f"{cell.name}.json" for cell in cells}
    found = {cell: json.loads(path.read_text()) for cell, path in paths.items() if path.is_file()}
    parts = {cell: of["found"] for cell, of in found.items() if cell.cells == "parts"}
    rates = {cell: rates_of(of["found"], cell.seed) for cell, of in found.items() if cell.cells == "recordings"}
    commits = ", ".join(sorted({of["commit"] for of in found.values()})) or "none"
    hours = sum(of["seconds"] for of in found.values()) / 3600
    text = [
        "# What each setting finds",
        f"**Generated parts are no benchmark.** {len(found)} of {len(cells)} cells are there, computed in "
        f"{hours:.1f} h; commits: {commits}. Networks called stand-ins have untrained weights.",
        *(main_tables(parts) if parts else []),
        *(recording_tables(rates) if rates else []),
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


# ---------------------------------------------------------------- generated categories


def main_tables(cells):
    """Texts: one table per metric, mean ± standard deviation over seeds."""
    kinds = list(dict.fromkeys(cell.kind for cell in cells))
    lines = list(dict.fromkeys((cell.setting, scoring) for cell, of in cells.items() for scoring in of))
    text = ["## Generated categories, cut out already"]
    for metric, title in METRICS.items():
        values = defaultdict(list)
        for cell, of in cells.items():
            for scoring, known in of.items():
                if known[metric] is not None:
                    values[cell.setting, scoring, cell.kind].append(known[metric])
        rows = []
        for line in lines:
            each = [values[(*line, kind)] for kind in kinds]
            mean = f"{np.mean([np.mean(of) for of in each]):.3f}" if all(each) else "-"
            rows.append([*line, *map(spread, each), mean])
        text += [f"### {title}", table(["setting", "scoring", *kinds, "mean"], rows)]
    return text


def spread(values):
    """Text: mean ± standard deviation; "-" without values."""
    if not values:
        return "-"
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


# ---------------------------------------------------------------- recordings


def failed_shares(
    pool: ArrayLike,
    groups: Mapping[Hashable, ArrayLike],
    calibration: int,
    rate: float = RATE,
    draws: int = 200,
    seed: int = 0,
    seen: Sequence[int] = (),
    joined: Hashable = "good",
    resample: bool = False,
) -> dict[Hashable, NDArray[np.float64]]:
    """Share of parts that fail, in each of many draws of calibration parts.

    Args:
        pool: [n] scores of good parts; NaN: a part that cannot be judged, which cannot calibrate and fails.
        groups: {name: scores} of the other parts, without NaN; inf always fails, -inf never does.
        calibration: number of parts that a draw takes from the pool.
        rate: the promised share of good parts that fail.
        seen: numbers of pool parts that the fitted model has seen; they may calibrate, but are never judged.
        joined: the group that is joined by the pool's parts which are neither seen nor drawn.
        resample: draw the judged parts of each group with replacement too, for intervals.

    Returns:
        {name: [draws]}; groups without parts are left out.

    Raises:
        ValueError: the pool has too few parts that can be judged.
        InputError: so few calibration parts promise no such rate.
    """
    pool = np.asarray(pool, dtype=np.float64)
    usable, rng = np.flatnonzero(np.isfinite(pool)), np.random.default_rng(seed)
    if len(usable) < calibration:
        raise ValueError(f"{len(usable)} good parts could be judged, {calibration} are needed to calibrate")
    ends = np.where(np.isnan(pool), np.inf, pool)
    found: dict[Hashable, list[float]] = defaultdict(list)
    for _ in range(draws):
        chosen = rng.choice(usable, calibration, replace=False)
        limit = threshold(pool[chosen], rate)
        spare = np.delete(ends, np.union1d(chosen, np.asarray(seen, int)))
        for name in {**groups, joined: ()}:
            scores = np.asarray(groups.get(name, ()), dtype=np.float64)
            scores = np.concatenate([scores, spare]) if name == joined else scores
            if len(scores):
                scores = rng.choice(scores, len(scores)) if resample else scores
                found[name].append(float(np.mean(scores > limit)))
    return {name: np.array(shares) for name, shares in found.items()}


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


def share(cells, where, choose):
    """Text: mean over cells, and over the groups of the set ``where`` that ``choose`` accepts, with its 95 % interval,
    in %; "-" without any."""
    per_cell = [[of for (name, defect), of in rates.items() if name == where and choose(defect)] for rates in cells]
    per_cell = [np.mean(groups, axis=0) for groups in per_cell if groups]
    if not per_cell:
        return "-"
    drawn = np.mean(per_cell, axis=0)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{100 * np.mean(drawn):.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def both_shares(cells, where="to_judge"):
    """Text: defects found; good parts failed."""
    return "; ".join(share(cells, where, lambda defect: (defect == GOOD) == good) for good in (False, True))


def recording_tables(rates):
    """Texts of the tables about recordings; ``rates``: {cell: its rates_of}."""
    settings, kinds = (list(dict.fromkeys(getattr(cell, of) for cell in rates)) for of in ("setting", "kind"))
    sets = list(dict.fromkeys(where for found in rates.values() for where, _ in found))
    days = [where for where in sets if CURVE not in where]
    steps = sorted((where for where in sets if CURVE in where), key=step_of)
    defects = sorted({(c.kind, d) for c, found in rates.items() for w, d in found if w == "to_judge" and d != GOOD})

    def of(**wanted):
        wanted = {"shots": MAIN_SHOTS, **wanted}
        return [found for cell, found in rates.items() if all(getattr(cell, k) == v for k, v in wanted.items())]

    def by_setting(first, lines, text):
        """A table with a column per setting; ``lines``: {name: value}; ``text(value, setting)`` fills it."""
        return table([first, *settings], [[name, *(text(value, s) for s in settings)] for name, value in lines.items()])

    whole = {**{kind: {"kind": kind} for kind in kinds}, "all": {}}
    each = {f"{kind}: {defect}": (kind, defect) for kind, defect in defects}
    shots, first = sorted({cell.shots for cell in rates}), min(cell.seed for cell in rates)
    text = [
        f"## Recordings, {MAIN_SHOTS} training parts, 5 % promised",
        "Defects found; good parts failed: means over draws of calibration parts, with 95 % intervals over draws and "
        "resampled parts. A good part that cannot be judged counts as failed, a defective one as not found.",
        by_setting("kind", whole, lambda wanted, s: both_shares(of(setting=s, **wanted))),
        "### By defect: share found",
        by_setting("defect", each, lambda d, s: share(of(setting=s, kind=d[0]), "to_judge", lambda it: it == d[1])),
        "### On another day, without a new fit",
        by_setting("day", dict(zip(days, days)), lambda day, s: both_shares(of(setting=s), day)),
        "### By training parts (first seed)",
        by_setting(
            "training parts", dict(zip(shots, shots)), lambda k, s: both_shares(of(setting=s, shots=k, seed=first))
        ),
    ]
    if steps:
        found = by_setting(
            "defect × factor", dict(zip(steps, steps)), lambda at, s: share(of(setting=s), at, lambda d: d != GOOD)
        )
        text += ["### The smallest found: depth and width times a factor", found]
    return text


def step_of(where):
    """(defect, factor) of a curve's set."""
    defect, _, factor = where.rpartition(CURVE)
    return defect, float(factor)
