"""What a sweep's finished jobs have found: metrics by row, category and seed, and means over seeds."""

import itertools
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from common.files import atomic_path
from runs.results import metrics_of, untrained_note
from scoring.measured import SUFFIX
from scoring.significance import LEVEL
from sweeps.plan import SweepJob, SweepPlan, category_of, finished, job_folder, shown

MEAN = "Mean"


class SweepRow(NamedTuple):
    """A row of the tables: a setting of the grid and a scoring."""

    setting: tuple
    scoring: str


class SweepResults(NamedTuple):
    """The finished jobs of a sweep.

    Attributes:
        table: {SweepRow: {category: {seed: Metrics}}}, rows and categories in the plan's order.
        planned: {(setting, category): {seed}} of the whole sweep.
        done: the finished jobs.
        jobs: number of all jobs.
        notes: texts to put under the tables.
    """

    table: dict
    planned: dict
    done: tuple
    jobs: int
    notes: tuple


class SweepCell(NamedTuple):
    """Mean over seeds of one row, in one category or in the mean over the complete categories, those that have a value
    for every seed.

    Attributes:
        categories: number that it is made from.
        seeds, planned: number of seeds that have a value, and of the whole sweep.
        sd, low, high: standard deviation and Student's 95 % interval of the mean; None for a single seed.
    """

    row: SweepRow
    category: str
    categories: int
    seeds: int
    planned: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None


def gather(out: Path, plan: SweepPlan) -> SweepResults:
    """The SweepResults of a sweep's folder."""
    records = {job: finished(job_folder(out, job), job) for job in plan.jobs}
    done = {job: record for job, record in records.items() if record is not None}
    spelled = {job.category: job.category for job in plan.jobs}  # as the file has it → as the data set has it
    spelled.update({job.category: category_of(record, job) for job, record in done.items()})
    found: dict = {}
    planned: dict = {}
    for job in plan.jobs:
        planned.setdefault((job.setting, spelled[job.category]), set()).add(job.seed)
    names: dict = {"baseline": None}  # first, then the scorings in the jobs' order
    for job, record in done.items():
        category = spelled[job.category]
        for scoring, metrics in metrics_of(record["categories"][category]).items():
            names[scoring] = None
            of_seed = found.setdefault(SweepRow(job.setting, scoring), {}).setdefault(category, {})
            of_seed.setdefault(job.seed, metrics)
    rows = [row for row in itertools.starmap(SweepRow, itertools.product(plan.settings, names)) if row in found]
    table = {row: {c: found[row][c] for c in spelled.values() if c in found[row]} for row in rows}
    return SweepResults(table, planned, tuple(done), len(plan.jobs), _notes(done.values()))


def _notes(records: Any) -> tuple:
    """Texts on untrained weights, and on what is not the same in all jobs."""
    files = [file for record in records for file in record["weights"]]
    standins = sorted({file["path"] for file in files if file["standin"]})
    versions = [
        pair for record in records for pair in record["versions"].items() if pair[0] not in ("platform", "cpus")
    ]
    return (
        *([untrained_note(standins)] if standins else []),
        *(
            f"NOT THE SAME WEIGHTS in all jobs: {network}."
            for network in _unequal([(file["network"], file["sha256"]) for file in files])
        ),
        *(f"Not the same {name} in all jobs: {', '.join(known)}." for name, known in _unequal(versions).items()),
    )


def _unequal(pairs: list) -> dict:
    """{name: its sorted values} of the names that have several."""
    known: dict = {}
    for name, value in pairs:
        known.setdefault(name, set()).add(str(value))
    return {name: sorted(values) for name, values in known.items() if len(values) > 1}


def link_maps(out: Path, jobs: Iterable[SweepJob]) -> None:
    """Link the finished jobs' saved maps as <out>/maps/<setting>/seed_<n>/<category>.npz, which looks like the folder
    of one run over all categories. A grid without settings gets the name "all".

    Raises:
        OSError: the drive has no hard links.
    """
    for job in jobs:
        setting = re.sub(r"[^A-Za-z0-9.=+_-]+", "-", "_".join(map(shown, job.setting))) or "all"
        for source in (job_folder(out, job) / "maps").glob(f"*{SUFFIX}"):
            target = out / "maps" / setting / f"seed_{job.seed}" / source.name
            if target.exists() and os.path.samefile(source, target):
                continue
            with atomic_path(target) as temporary:
                os.unlink(temporary)
                os.link(source, temporary)


def over_seeds(values: list) -> tuple[float, ...]:
    """(mean, standard deviation, ends of Student's interval) of values, one per seed; of a single one the mean."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return (mean,)
    sd = float(np.std(values, ddof=1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * sd / math.sqrt(n)
    return mean, sd, mean - half, mean + half


def cells(results: SweepResults, metric: str) -> list[SweepCell]:
    """The SweepCells of a metric, row by row.

    A category without a value is absent, and so is the mean where the complete categories have different seeds.
    """
    found = []
    for row, of_category in results.table.items():
        complete = {}
        for category, of_seed in of_category.items():
            known = {seed: getattr(of_seed[seed], metric) for seed in sorted(of_seed)}
            known = {seed: value for seed, value in known.items() if value is not None}
            wanted = results.planned[row.setting, category]
            if known:
                found.append(SweepCell(row, category, 1, len(known), len(wanted), *over_seeds(list(known.values()))))
            if known and set(known) == wanted:
                complete[category] = known
        seeds = {tuple(known) for known in complete.values()}
        if len(seeds) == 1:
            values = [np.mean([of[seed] for of in complete.values()]) for seed in seeds.pop()]
            found.append(SweepCell(row, MEAN, len(complete), len(values), len(values), *over_seeds(values)))
    return found
