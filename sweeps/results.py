"""The results of a sweep's finished jobs, read from their folders and arranged by row, category and seed."""

import csv
from typing import NamedTuple

import numpy as np

from common.errors import InputError
from runs.results import metrics_of, untrained_note
from scoring.significance import METRICS, image_rocauc
from sweeps.compare import IMAGE, Measured, Row, part_weights
from sweeps.plan import category_of, finished, job_folder

NO_MAPS = "no saved maps (save_maps: true in options keeps them)"


class Gathered(NamedTuple):
    """The finished jobs of a sweep.

    Attributes:
        table: {Row: {category: {seed: Measured}}}, rows and categories in the plan's order.
        planned: {(setting, category): [seeds]} of the whole sweep.
        done, jobs: number of finished jobs, and of all jobs.
        notes: texts to put under the tables.
    """

    table: dict
    planned: dict
    done: int
    jobs: int
    notes: tuple


def gather(out, plan, resample=None):
    """The Gathered of a sweep's folder.

    Args:
        resample: function (job's folder, run.json, category, scorings) → ({scoring: {metric: [1 + r]}}, "") with the
            pixel metrics of saved maps, or ({}, why there are none). None: they are not resampled.

    Raises:
        InputError: a finished job's scores cannot be read.
    """
    weights, versions, standins, done = {}, {}, [], 0
    found, planned, spelled, label_of = {}, {}, {}, {}
    for job in plan.jobs:
        planned.setdefault((job.setting, job.category), [])
        if job.seed not in planned[job.setting, job.category]:
            planned[job.setting, job.category].append(job.seed)
        record = finished(out, job)
        if record is None:
            continue
        done += 1
        folder, category = job_folder(out, job), category_of(record, job)
        spelled[job.category] = category
        for file in record["weights"]:
            weights.setdefault(file["network"], set()).add(file["sha256"])
            standins += [file["path"]] if file["standin"] else []
        for package, number in record["versions"].items():
            versions.setdefault(package, set()).add(number)
        scored = metrics_of(record["categories"][category])
        paths, label, scores = read_scores(folder / f"scores_{category}.csv", list(scored))
        pixels, lacks = resample(folder, record, category, list(scored)) if resample else ({}, NO_MAPS)
        drawn = label_of.setdefault((category, paths, label.tobytes()), None)
        if drawn is None:
            drawn = label_of[category, paths, label.tobytes()] = part_weights(category, label)
        for scoring, values in scored.items():
            row = found.setdefault(Row(job.setting, scoring), {}).setdefault(job.category, {})
            metrics = {metric: getattr(values, metric) for metric in METRICS}
            resampled = dict(pixels.get(scoring, {}))
            if metrics[IMAGE] is not None:
                resampled[IMAGE] = image_rocauc(label != 0, scores[scoring], drawn)
            row.setdefault(job.seed, Measured(metrics, paths, label, scores[scoring], resampled, lacks))
    notes = [untrained_note(sorted(set(standins)))] if standins else []
    notes += [f"NOT THE SAME WEIGHTS in all jobs: {network}." for network, known in weights.items() if len(known) > 1]
    notes += [
        f"Not the same {package} in all jobs: {', '.join(sorted(map(str, known)))}."
        for package, known in versions.items()
        if len(known) > 1 and package not in ("platform", "cpus")
    ]
    return Gathered(
        _ordered(found, plan, spelled),
        {(setting, spelled.get(category, category)): seeds for (setting, category), seeds in planned.items()},
        done,
        len(plan.jobs),
        tuple(notes),
    )


def _ordered(found, plan, spelled):
    """Rows in the order of the plan's settings, then with the baseline first and the other scorings in the jobs' order;
    categories in the plan's order."""
    scorings = list(dict.fromkeys(row.scoring for row in found))
    scorings.sort(key=lambda scoring: scoring != "baseline")
    categories = list(dict.fromkeys(job.category for job in plan.jobs))
    rows = [Row(setting, scoring) for setting in plan.settings for scoring in scorings]
    return {
        row: {
            spelled[category]: dict(sorted(found[row][category].items()))
            for category in categories
            if category in found[row]
        }
        for row in rows
        if row in found
    }


def read_scores(path, scorings):
    """(paths, labels [n], {scoring: [n]}) in a scores_<category>.csv, sorted by path.

    Raises:
        InputError: the file cannot be read or lacks a scoring.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["path"])
        return (
            tuple(row["path"] for row in rows),
            np.array([int(row["label"]) for row in rows], np.uint8),
            {name: np.array([float(row[name]) for row in rows]) for name in scorings},
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); remove the job's folder and run the sweep again"
        ) from None
