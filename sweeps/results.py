"""What a sweep's finished jobs have found: metrics by row, category and seed."""

import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from common.files import atomic_path
from runs.results import metrics_of, untrained_note
from scoring.measured import SUFFIX
from sweeps.plan import SweepJob, SweepPlan, category_of, finished, job_folder, shown


class SweepRow(NamedTuple):
    """A row of the tables: a setting of the grid and a scoring."""

    setting: tuple
    scoring: str


class SweepResults(NamedTuple):
    """The finished jobs of a sweep, ``done``; ``table``: {SweepRow: {category: {seed: Metrics}}} in the plan's order;
    ``planned``: {(setting, category): {seed}} of the whole sweep; ``notes``: texts to put under the tables."""

    table: dict
    planned: dict
    done: tuple
    notes: tuple


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
    return SweepResults(table, planned, tuple(done), _notes(done.values()))


def _notes(records: Iterable[Any]) -> tuple:
    """Texts on untrained weights, and on what is not the same in all jobs."""
    standins: set = set()
    weights: dict = {}
    versions: dict = {}
    for record in records:
        for file in record["weights"]:
            standins.update([file["path"]] if file["standin"] else [])
            weights.setdefault(file["network"], set()).add(file["sha256"])
        for name, version in record["versions"].items():
            if name not in ("platform", "cpus"):
                versions.setdefault(name, set()).add(str(version))
    notes = [untrained_note(sorted(standins))] if standins else []
    notes += [f"NOT THE SAME WEIGHTS in all jobs: {name}." for name, known in weights.items() if len(known) > 1]
    for name, known in versions.items():
        notes += [f"Not the same {name} in all jobs: {', '.join(sorted(known))}."] if len(known) > 1 else []
    return tuple(notes)


def link_maps(out: Path, jobs: Iterable[SweepJob]) -> None:
    """Link the finished jobs' saved maps as <out>/maps/<setting, or all>/seed_<n>/<category>.npz, which looks like the
    folder of one run over all categories. Raises OSError where the drive has no hard links."""
    for job in jobs:
        setting = re.sub(r"[^A-Za-z0-9.=+_-]+", "-", "_".join(map(shown, job.setting))) or "all"
        for source in (job_folder(out, job) / "maps").glob(f"*{SUFFIX}"):
            target = out / "maps" / setting / f"seed_{job.seed}" / source.name
            if target.exists() and os.path.samefile(source, target):
                continue
            with atomic_path(target) as temporary:
                os.unlink(temporary)
                os.link(source, temporary)
