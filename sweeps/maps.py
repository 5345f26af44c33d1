"""What a sweep does with saved maps: pixel metrics of resampled test parts, and folders for tools/rescore.py."""

import argparse
import contextlib
import json
import os
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import scoring_addon
from common.commands import available_cores
from common.errors import InputError
from common.files import atomic_path
from common.progress import track
from common.signals import begin_worker, beginning_workers
from scoring.evaluation import SUFFIX, read, score
from scoring.significance import PixelCounts
from sweeps.compare import RESAMPLES, part_weights
from sweeps.plan import category_of, finished, job_folder, shown
from sweeps.results import NO_MAPS

KEPT = "resampled.npz"
METRICS = ("pixel_rocauc", "au_pro")
STOPPED = 'not computed, since the sweep was stopped; "sweep.py tables" does it'
SAME = 1e-9  # largest accepted difference from the metric that the run itself wrote


def resample(folder, record, category, scorings, stopped=False):
    """Pixel metrics of a job's maps for resampled test parts.

    Args:
        folder: Path of the job.
        record: its run.json, a dict.
        category: as its files spell it.
        scorings: names of the job's scorings.
        stopped: compute nothing, since the user wants an end; results that a file keeps are still returned.

    Returns:
        ({scoring: {metric: [1 + RESAMPLES] values, the full test set's first}}, ""), or ({}, why there are none).
    """
    path = Path(folder) / "maps" / f"{category}{SUFFIX}"
    if not path.is_file():
        return {}, NO_MAPS
    facts = path.stat()
    mark = json.dumps([facts.st_size, facts.st_mtime_ns, record["id"], RESAMPLES, sorted(scorings)])
    kept = _kept(Path(folder) / KEPT, mark)
    if kept is not None:
        return kept, ""
    if stopped:
        return {}, STOPPED
    try:
        saved = read(path)
    except InputError as error:
        return {}, str(error)
    if saved.meta.get("run") != record["id"]:
        return {}, "the saved maps are of another run"
    if not saved.has_mask.all():
        return {}, "defective test parts without a mask"
    options = argparse.Namespace(**record["options"])
    scored = score(saved, scorings, scoring_addon.parameters_from(options), options.scoring_reference)
    order = np.argsort(np.array(saved.path), kind="stable")
    weights = part_weights(category, saved.label[order])
    known, out = {}, {}
    for name in scorings:
        maps = scored[name].predictions
        if id(maps) not in known:
            counts = PixelCounts(saved.mask[order], [maps[i] for i in order])
            known[id(maps)] = {"pixel_rocauc": counts.rocauc(weights), "au_pro": counts.au_pro(weights)}
        own = record["categories"][category]["metrics"][name]
        out[name] = {metric: known[id(maps)][metric] for metric in METRICS if own[metric] is not None}
        off = [metric for metric, values in out[name].items() if abs(values[0] - own[metric]) > SAME]
        if off:
            return {}, f"the saved maps do not give the run's own {off[0]}"
    with atomic_path(Path(folder) / KEPT) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file,
            mark=np.array(mark),
            **{f"{name} {metric}": values for name, of in out.items() for metric, values in of.items()},
        )
    return out, ""


def resample_side_by_side(out, plan, workers=None):
    """Run :func:`resample` for the finished jobs that lack its result, on ``workers`` processes (None: all cores).
    Later calls then find the results. A job of a hundred parts takes seconds."""
    todo = []
    for job in plan.jobs:
        folder = job_folder(out, job)
        record = finished(out, job) if dict(job.options).get("save_maps") and not (folder / KEPT).exists() else None
        if record is not None:
            category = category_of(record, job)
            todo.append((folder, record, category, list(record["categories"][category]["metrics"])))
    workers = min(len(todo), workers or available_cores())
    if workers > 1:
        with ProcessPoolExecutor(workers, get_context("spawn"), begin_worker) as pool:
            with beginning_workers():
                done = pool.map(resample, *zip(*todo))
            for _ in track(done, len(todo), "intervals of the pixel metrics", "job"):
                pass


def link_maps(out, plan):
    """Link the finished jobs' saved maps as <out>/maps/<setting>/seed_<n>/<category>.npz, which looks like the folder
    of one run over all categories. A grid without settings gets the name "all". Returns the folders.

    Raises:
        OSError: neither hard nor symbolic links work.
    """
    folders = {}
    for job in plan.jobs:
        record = finished(out, job)
        if record is None or not dict(job.options).get("save_maps"):
            continue
        name = f"{category_of(record, job)}{SUFFIX}"
        setting = re.sub(r"[^A-Za-z0-9.=+_-]+", "-", "_".join(map(shown, job.setting))) or "all"
        source = job_folder(out, job) / "maps" / name
        target = Path(out) / "maps" / setting / f"seed_{job.seed}" / name
        folders[target.parent] = None
        if target.exists() and os.path.samefile(source, target):
            continue
        with atomic_path(target) as temporary:
            os.unlink(temporary)
            with contextlib.suppress(OSError):
                os.link(source, temporary)
            if not os.path.exists(temporary):  # no hard links here, or another drive
                os.symlink(os.path.abspath(source), temporary)
    return list(folders)


def _kept(path, mark):
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["mark"]) != mark:
                return None
            names = json.loads(mark)[-1]
            return {
                name: {metric: file[f"{name} {metric}"] for metric in METRICS if f"{name} {metric}" in file}
                for name in names
            }
    except Exception:  # missing or damaged: compute it again
        return None
