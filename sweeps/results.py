"""What a sweep's finished jobs have found: scores by row, category and seed, means over seeds, paired differences.

Two kinds of chance are kept apart. Chance of the training (seeds): mean, standard deviation, and Student's interval of
the mean. Chance of the test parts, for the mean over the given seeds: DeLong's test of image ROCAUC. Categories have
different parts, so their errors are independent, and their mean has an error as well.
"""

import csv
import itertools
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from common.errors import InputError
from common.files import atomic_path
from runs.results import metrics_of, untrained_note
from scoring.metrics import Metrics
from scoring.saved_maps import SUFFIX
from scoring.significance import LEVEL, METRICS, delong_test
from sweeps.plan import SweepJob, category_of, finished, job_folder, shown

IMAGE = METRICS[0]
MEAN = "Mean"
BY_SCORING, BY_SETTING = "scoring", "setting"  # compared with the setting's baseline; with the first setting
NO_TEST = "pixel metrics; tools/rescore.py --intervals has their intervals, from saved maps"
ONE_HALF = float(stats.norm.ppf((1 + LEVEL) / 2))  # standard errors from the middle of an interval to its end


class SweepRow(NamedTuple):
    """A row of the tables: a setting of the grid and a scoring."""

    setting: tuple
    scoring: str


class JobScores(NamedTuple):
    """The results of one row, category and seed: metrics; paths, labels [n] 0/1 and image scores [n] of the test parts,
    sorted by path."""

    metrics: Metrics
    paths: tuple
    label: np.ndarray
    scores: np.ndarray


class SweepResults(NamedTuple):
    """The finished jobs of a sweep.

    Attributes:
        table: {SweepRow: {category: {seed: JobScores}}}, rows and categories in the plan's order.
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


class SweepDifference(NamedTuple):
    """Row minus reference, for one category or the mean over categories; both have the same seeds and test parts.

    Attributes:
        categories, seeds, parts: numbers that the difference is made from; ``seeds`` is the smallest of a category.
        value, error: the difference, and its standard error over test parts; None: not tested, and ``note`` says why.
        holm: the p value, corrected over the rows of one family, metric and category.
    """

    row: SweepRow
    reference: SweepRow
    category: str
    categories: int
    seeds: int
    parts: int
    value: float
    error: float | None = None
    holm: float | None = None
    note: str = ""

    @property
    def family(self) -> str:
        """BY_SCORING or BY_SETTING."""
        return BY_SCORING if self.row.setting == self.reference.setting else BY_SETTING

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The 95 % interval over test parts."""
        if self.error is None:
            return None, None
        return self.value - ONE_HALF * self.error, self.value + ONE_HALF * self.error

    @property
    def p(self) -> float | None:
        """Two-sided p value."""
        if not self.error:
            return None if self.error is None else float(abs(self.value) < 1e-12)
        return float(2 * stats.norm.sf(abs(self.value) / self.error))


# ---------------------------------------------------------------- from the jobs' folders


def gather(out: Path, plan: Any) -> SweepResults:
    """The SweepResults of a sweep's folder.

    Raises:
        InputError: a finished job's scores cannot be read.
    """
    records = {job: finished(job_folder(out, job), job) for job in plan.jobs}
    done = {job: record for job, record in records.items() if record is not None}
    spelled = {job.category: job.category for job in plan.jobs}  # as the file has it → as the data set has it
    spelled.update({job.category: category_of(record, job) for job, record in done.items()})
    found: dict = {}
    planned: dict = {}
    for job in plan.jobs:
        planned.setdefault((job.setting, spelled[job.category]), set()).add(job.seed)
    for job, record in sorted(done.items(), key=lambda of: of[0].seed):
        category = spelled[job.category]
        metrics = metrics_of(record["categories"][category])
        paths, label, scores = read_scores(job_folder(out, job) / f"scores_{category}.csv", list(metrics))
        for scoring, of in metrics.items():
            row = found.setdefault(SweepRow(job.setting, scoring), {}).setdefault(category, {})
            row.setdefault(job.seed, JobScores(of, paths, label, scores[scoring]))
    names = dict.fromkeys(
        name for job, of in done.items() for name in of["categories"][spelled[job.category]]["metrics"]
    )
    scorings = sorted(names, key=lambda name: name != "baseline")  # the baseline first, then in the jobs' order
    rows = [row for row in itertools.starmap(SweepRow, itertools.product(plan.settings, scorings)) if row in found]
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


def read_scores(path: Path, scorings: list) -> tuple[tuple, np.ndarray, dict]:
    """(paths, labels [n], {scoring: [n]}) in a scores_<category>.csv, sorted by path.

    Raises:
        InputError: the file cannot be read or lacks a scoring.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["path"])
        scores = {name: np.array([float(row[name]) for row in rows]) for name in scorings}
        return tuple(row["path"] for row in rows), np.array([int(row["label"]) for row in rows], np.uint8), scores
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); remove the job's folder and run the sweep again"
        ) from None


def link_maps(out: Path, jobs: Iterable[SweepJob]) -> None:
    """Link the finished jobs' saved maps as <out>/maps/<setting>/seed_<n>/<category>.npz, which looks like the folder
    of one run over all categories. A grid without settings gets the name "all".

    Raises:
        OSError: neither hard nor symbolic links work.
    """
    for job in jobs:
        setting = re.sub(r"[^A-Za-z0-9.=+_-]+", "-", "_".join(map(shown, job.setting))) or "all"
        for source in (job_folder(out, job) / "maps").glob(f"*{SUFFIX}"):
            target = out / "maps" / setting / f"seed_{job.seed}" / source.name
            if target.exists() and os.path.samefile(source, target):
                continue
            with atomic_path(target) as temporary:
                os.unlink(temporary)
                try:
                    os.link(source, temporary)
                except OSError:  # no hard links here, or another drive
                    os.symlink(os.path.abspath(source), temporary)


# ---------------------------------------------------------------- means and differences


def over_seeds(values: list) -> tuple[float, ...]:
    """(mean, standard deviation, ends of Student's interval) of values, one per seed; of a single one the mean."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return (mean,)
    sd = float(np.std(values, ddof=1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * sd / math.sqrt(n)
    return mean, sd, mean - half, mean + half


def cells(table: dict, planned: dict, metric: str) -> list[SweepCell]:
    """The SweepCells of a metric, row by row; ``table``, ``planned``: as of SweepResults.

    A category without a value is absent, and so is the mean where the complete categories have different seeds.
    """
    found = []
    for row, of_category in table.items():
        complete = {}
        for category, of_seed in of_category.items():
            known = {seed: getattr(of.metrics, metric) for seed, of in of_seed.items()}
            known = {seed: value for seed, value in known.items() if value is not None}
            wanted = planned[row.setting, category]
            if known:
                found.append(SweepCell(row, category, 1, len(known), len(wanted), *over_seeds(list(known.values()))))
            if known and set(known) == set(wanted):
                complete[category] = known
        seeds = {tuple(sorted(known)) for known in complete.values()}
        if len(seeds) == 1:
            values = [np.mean([of[seed] for of in complete.values()]) for seed in seeds.pop()]
            found.append(SweepCell(row, MEAN, len(complete), len(values), len(values), *over_seeds(values)))
    return found


def differences(table: dict, metric: str) -> list[SweepDifference]:
    """All comparisons: every scoring with the baseline of its setting, and every setting with the grid's first setting
    under the same scoring; p values with Holm's correction.

    Args:
        table: {SweepRow: {category: {seed: JobScores}}}.
    """
    rows = list(table)
    pairs = [(row, SweepRow(row.setting, "baseline")) for row in rows]
    pairs += [(row, SweepRow(rows[0].setting, row.scoring)) for row in rows]
    found: list[SweepDifference] = []
    for row, reference in pairs:
        if row == reference or reference not in table:
            continue
        both = [(category, of, table[reference].get(category, {})) for category, of in table[row].items()]
        known = [one for of in both if (one := _difference(row, reference, *of, metric)) is not None]
        found += known
        used = [one for one in known if one.error is not None or metric != IMAGE]
        if used and len(known) > 1:
            found.append(_mean_difference(used, len(known) - len(used)))
    return _corrected(found)


def _difference(
    row: SweepRow, reference: SweepRow, category: str, ones: dict, others: dict, metric: str
) -> SweepDifference | None:
    """The difference in one category between {seed: JobScores}; None if the rows share no seed."""
    pairs = [(ones[seed], others[seed]) for seed in sorted(set(ones) & set(others))]
    pairs = [pair for pair in pairs if None not in [getattr(of.metrics, metric) for of in pair]]
    if not pairs:
        return None
    a, b = zip(*pairs)
    mean, other = (float(np.mean([getattr(of.metrics, metric) for of in side])) for side in (a, b))
    one = SweepDifference(row, reference, category, 1, len(pairs), len(a[0].paths), mean - other)
    if len({(job.paths, job.label.tobytes()) for job in a + b}) > 1:
        return one._replace(note="the jobs' test parts differ")
    if metric != IMAGE:
        return one._replace(note=NO_TEST)
    tested = delong_test(a[0].label, [job.scores for job in a], [job.scores for job in b])
    if tested is None:
        return one._replace(note="fewer than two good or two defective test parts")
    return one._replace(error=tested[1])


def _mean_difference(of: list[SweepDifference], left_out: int) -> SweepDifference:
    errors = [one.error for one in of if one.error is not None]
    return of[0]._replace(
        category=MEAN,
        categories=len(of),
        seeds=min(one.seeds for one in of),
        parts=sum(one.parts for one in of),
        value=float(np.mean([one.value for one in of])),
        error=math.sqrt(sum(error**2 for error in errors)) / len(of) if errors else None,
        note=f"without {left_out} categories that could not be tested" if left_out else of[0].note,
    )


def _corrected(found: list[SweepDifference]) -> list[SweepDifference]:
    groups: dict = {}
    for number, one in enumerate(found):
        if one.p is not None:
            groups.setdefault((one.family, one.category), []).append(number)
    for numbers in groups.values():
        for number, p in zip(numbers, holm([found[number].p for number in numbers])):
            found[number] = found[number]._replace(holm=p)
    return found


def holm(p_values: list) -> list[float]:
    """Holm's adjusted p values (Scandinavian Journal of Statistics 6, 1979), in the given order."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[number] * (len(p_values) - rank)))
        adjusted[number] = largest
    return adjusted
