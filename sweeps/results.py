"""The results of a sweep's finished jobs, from their folders: scores and metrics, and pixel metrics of resampled test
parts from their saved maps."""

import argparse
import contextlib
import csv
import json
import os
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

import scoring_addon
from common.commands import available_cores
from common.errors import InputError
from common.files import atomic_path
from common.progress import track
from common.signals import begin_worker, beginning_workers
from runs.results import metrics_of, untrained_note
from scoring.evaluation import SUFFIX, read, score
from scoring.significance import METRICS, PixelCounts, image_rocauc
from sweeps.compare import IMAGE, RESAMPLES, JobScores, SweepRow, part_weights
from sweeps.plan import category_of, finished, job_folder, shown

KEPT = "resampled.npz"
PIXEL = METRICS[1:]
NO_MAPS = "no saved maps (save_maps: true in options keeps them)"
STOPPED = 'not computed, since the sweep was stopped; "sweep.py tables" does it'
SAME = 1e-9  # largest accepted difference from the metric that the run itself wrote


class SweepResults(NamedTuple):
    """The finished jobs of a sweep.

    Attributes:
        table: {SweepRow: {category: {seed: JobScores}}}, rows and categories in the plan's order.
        planned: {(setting, category): {seed}} of the whole sweep.
        done, jobs: number of finished jobs, and of all jobs.
        notes: texts to put under the tables.
    """

    table: dict
    planned: dict
    done: int
    jobs: int
    notes: tuple


def gather(out, plan, stopped=False) -> SweepResults:
    """The SweepResults of a sweep's folder; ``stopped``: resample nothing anew, since the user wants an end.

    Raises:
        InputError: a finished job's scores cannot be read.
    """
    records = {job: finished(job_folder(out, job), job) for job in plan.jobs}
    done = {job: record for job, record in records.items() if record is not None}
    spelled = {job.category: category_of(record, job) for job, record in done.items()}
    table = {SweepRow(s, name): {} for s in plan.settings for name in _scorings(done.values())}
    planned = {}
    for job in plan.jobs:
        planned.setdefault((job.setting, spelled.get(job.category, job.category)), set()).add(job.seed)
    pixels = _resample_all(out, done, stopped)
    for job, record in sorted(done.items(), key=lambda of: of[0].seed):
        category = spelled[job.category]
        scored = metrics_of(record["categories"][category])
        paths, label, scores = read_scores(job_folder(out, job) / f"scores_{category}.csv", list(scored))
        resampled, lacks = pixels[job]
        weights = part_weights(category, label)
        for scoring, values in scored.items():
            metrics, arrays = {metric: getattr(values, metric) for metric in METRICS}, dict(resampled.get(scoring, {}))
            if metrics[IMAGE] is not None:
                arrays[IMAGE] = image_rocauc(label != 0, scores[scoring], weights)
            row = table[SweepRow(job.setting, scoring)].setdefault(category, {})
            row.setdefault(job.seed, JobScores(metrics, paths, label, scores[scoring], arrays, lacks))
    order = [spelled.get(category, category) for category in dict.fromkeys(job.category for job in plan.jobs)]
    table = {row: {name: of[name] for name in order if name in of} for row, of in table.items() if of}
    return SweepResults(table, planned, len(done), len(plan.jobs), _notes(done.values()))


def _scorings(records):
    """Names of all scorings; the baseline first, then in the jobs' order."""
    names = dict.fromkeys(name for of in records for cat in of["categories"].values() for name in cat["metrics"])
    return sorted(names, key=lambda name: name != "baseline")


def _notes(records):
    weights, versions, standins = {}, {}, set()
    for record in records:
        for file in record["weights"]:
            weights.setdefault(file["network"], set()).add(file["sha256"])
            standins |= {file["path"]} if file["standin"] else set()
        for package, number in record["versions"].items():
            versions.setdefault(package, set()).add(str(number))
    return (
        *([untrained_note(sorted(standins))] if standins else []),
        *(f"NOT THE SAME WEIGHTS in all jobs: {name}." for name, known in weights.items() if len(known) > 1),
        *(
            f"Not the same {name} in all jobs: {', '.join(sorted(known))}."
            for name, known in versions.items()
            if len(known) > 1 and name not in ("platform", "cpus")
        ),
    )


def read_scores(path, scorings):
    """(paths, labels [n], {scoring: [n]}) in a scores_<category>.csv, sorted by path.

    Raises:
        InputError: the file cannot be read or lacks a scoring.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["path"])
        label = np.array([int(row["label"]) for row in rows], np.uint8)
        return (
            tuple(row["path"] for row in rows),
            label,
            {name: np.array([float(row[name]) for row in rows]) for name in scorings},
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); remove the job's folder and run the sweep again"
        ) from None


# ---------------------------------------------------------------- saved maps


def _resample_all(out, done, stopped):
    """{job: what :func:`resample` returns} of the finished jobs {job: record}; on all cores where much is to do."""
    todo = [(job_folder(out, job), record, category_of(record, job)) for job, record in done.items()]
    missing = [of for of in todo if (of[0] / "maps").is_dir() and not (of[0] / KEPT).exists()]
    workers = min(len(missing), available_cores())
    if workers > 1 and not stopped:
        with ProcessPoolExecutor(workers, get_context("spawn"), begin_worker) as pool:
            with beginning_workers():
                results = pool.map(resample, *zip(*missing))
            for _ in track(results, len(missing), "intervals of the pixel metrics", "job"):
                pass  # each leaves a file, which is read below
    return {job: resample(*of, stopped) for job, of in zip(done, todo)}


def resample(folder, record, category, stopped=False):
    """Pixel metrics of a job's saved maps for resampled test parts; a file keeps them.

    Args:
        folder: Path of the job.
        record: its run.json, a dict.
        category: as its files spell it.
        stopped: compute nothing; results that the file keeps are still returned.

    Returns:
        ({scoring: {metric: [1 + RESAMPLES] values, the full test set's first}}, ""), or ({}, why there are none).
    """
    path, own = folder / "maps" / f"{category}{SUFFIX}", record["categories"][category]["metrics"]
    if not path.is_file():
        return {}, NO_MAPS
    facts = path.stat()
    mark = json.dumps([facts.st_size, facts.st_mtime_ns, record["id"], RESAMPLES, sorted(own)])
    kept = _kept(folder / KEPT, mark)
    if kept is not None or stopped:
        return ({}, STOPPED) if kept is None else (kept, "")
    try:
        saved = read(path)
    except InputError as error:
        return {}, str(error)
    if saved.meta.get("run") != record["id"]:
        return {}, "the saved maps are of another run"
    if not saved.has_mask.all():
        return {}, "defective test parts without a mask"
    options = argparse.Namespace(**record["options"])
    scored = score(saved, list(own), scoring_addon.parameters_from(options), options.scoring_reference)
    order = np.argsort(np.array(saved.path), kind="stable")
    weights = part_weights(category, saved.label[order])
    known, out = {}, {}
    for name in own:
        maps = scored[name].predictions
        if id(maps) not in known:  # scorings share maps
            counts = PixelCounts(saved.mask[order], [maps[i] for i in order])
            known[id(maps)] = {"pixel_rocauc": counts.rocauc(weights), "au_pro": counts.au_pro(weights)}
        out[name] = {metric: known[id(maps)][metric] for metric in PIXEL if own[name][metric] is not None}
        off = [metric for metric, values in out[name].items() if abs(values[0] - own[name][metric]) > SAME]
        if off:
            return {}, f"the saved maps do not give the run's own {off[0]}"
    arrays = {f"{name} {metric}": values for name, of in out.items() for metric, values in of.items()}
    with atomic_path(folder / KEPT) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, mark=np.array(mark), **arrays)
    return out, ""


def _kept(path, mark):
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["mark"]) != mark:
                return None
            out = {name: {} for name in json.loads(mark)[-1]}
            for key in set(file.files) - {"mark"}:
                name, metric = key.rsplit(" ", 1)
                out[name][metric] = file[key]
            return out
    except Exception:  # missing or damaged: compute it again
        return None


def link_maps(out, plan):
    """Link the finished jobs' saved maps as <out>/maps/<setting>/seed_<n>/<category>.npz, which looks like the folder
    of one run over all categories. A grid without settings gets the name "all".

    Raises:
        OSError: neither hard nor symbolic links work.
    """
    for job in plan.jobs:
        source = next((job_folder(out, job) / "maps").glob(f"*{SUFFIX}"), None)
        if source is None or finished(job_folder(out, job), job) is None:
            continue
        setting = re.sub(r"[^A-Za-z0-9.=+_-]+", "-", "_".join(map(shown, job.setting))) or "all"
        target = Path(out) / "maps" / setting / f"seed_{job.seed}" / source.name
        if target.exists() and os.path.samefile(source, target):
            continue
        with atomic_path(target) as temporary:
            os.unlink(temporary)
            with contextlib.suppress(OSError):
                os.link(source, temporary)
            if not os.path.exists(temporary):  # no hard links here, or another drive
                os.symlink(os.path.abspath(source), temporary)
