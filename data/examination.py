"""Examines a data set before a run: reads every file, and lists all that would stop the run or spoil its results.

It reads with the functions of a run, and a run reads as the ``Reading`` says that is found here. Nothing is refused:
the caller decides from the findings of the level "fault".
"""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from common.errors import InputError
from common.signals import begin_worker, beginning_workers
from data.findings import (
    CALIBRATION,
    LEVEL_OF,
    Options,
    Row,
    TestedPart,
    judge,
    judge_part,
    settle_missing,
    times_as_large,
)
from data.names import find_folder
from data.organised_clouds import Reading
from data.pairing import GOOD, SUFFIXES, Part, defect_folders, pair, part_files
from data.part_facts import Facts, Job, read_part
from data.scans import find_scans
from data.splits import told_apart, usual_of

SPLITS = ("train", "test", "validation")
FEW_JOBS = 4  # up to this number of jobs, no other processes are started


class Category(NamedTuple):
    """The findings in one category."""

    name: str
    rows: tuple  # Rows, one per defect folder
    findings: tuple  # of (kind, text that names the file)
    reading: Reading  # how a run has to read the category's files

    def texts(self, level, shown=None) -> list:
        """The texts of a level of LEVELS: of each kind the first ``shown`` (None: all), and how many more."""
        found: dict = {}
        for kind, text in self.findings:
            if LEVEL_OF[kind] == level:
                found.setdefault(kind, []).append(text)
        out = []
        for kind, texts in found.items():
            more = f"{self.name}: {len(texts) - (shown or 0):,} more of the kind: {kind}"
            out += texts if shown is None or len(texts) <= shown else [*texts[:shown], more]
        return out

    @property
    def usual(self) -> Facts:
        """What the training parts have in common, see ``data.splits.usual_of``."""
        return usual_of(self.rows)


def examine(dataset_path, categories, splits=SPLITS, options=Options(), workers=1, calibration_dir=None):
    """Examine the ``categories`` in the folder ``dataset_path``; yields each Category as soon as it is done.

    ``splits``: that a run reads; of ``validation`` only ``good``, and it need not be there. ``calibration_dir``: a
    folder of parts that are read as well, or its sub-folder of the category's name.
    """
    pool = None
    try:
        for name in categories:
            rows, findings = _list(Path(dataset_path) / name, splits, options)
            if calibration_dir is not None:
                row, more = _calibration(Path(calibration_dir), name, options)
                rows, findings = [*rows, row], findings + more
            jobs = [_job(part, options) for row in rows for part in row.parts]
            if pool is None and workers > 1 and len(jobs) > FEW_JOBS:
                pool = ProcessPoolExecutor(workers, initializer=begin_worker)
            facts = _read(jobs, pool, name)
            missing = settle_missing(facts)
            if missing:  # found in some files; other files may contain it too, only less often
                again = [i for i, fact in enumerate(facts) if fact.missing != missing]
                read_again = _read([jobs[i]._replace(missing=missing) for i in again], pool, name)
                for i, fact in zip(again, read_again):
                    facts[i] = fact
            left = iter(facts)
            rows = [row._replace(parts=tuple(part._replace(facts=next(left)) for part in row.parts)) for row in rows]
            alone = options._replace(min_points=0) if any(kind == "no clouds" for kind, _ in findings) else options
            found, reading = judge(Path(dataset_path), name, rows, alone, missing)
            yield Category(name, tuple(rows), (*findings, *found), reading)
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)  # "with" would read all remaining files after an interruption


def examine_scan(files, reading=Reading(), options=Options(), usual=Facts(), contents=None):
    """Examine a scan (``data.scans.PartFiles``) that is to be judged, as training parts are examined: ((level, kind,
    text), ...), "fault" if it cannot be read, has no point or is in another unit, "warning" if a verdict may be wrong.

    ``reading``, ``options`` and ``usual`` (see ``data.splits.usual_of``) are those of the model's training parts;
    ``contents``: ``data.scans.Contents``, if the files are read already.
    """
    options = options._replace(unit=reading.unit, zero_points=reading.zero_points)
    part = TestedPart("scan", GOOD, Part(files.rgb, files.xyz))
    facts = read_part(_job(part, options)._replace(missing=reading.missing), contents)
    found = list(judge_part(part._replace(facts=facts), options))
    large = times_as_large(facts, usual.extent, usual.distance) if facts.extent and usual.extent else None
    if large and options.min_points:
        found.append(("unit", f"{files.xyz}: {large}: give it in the unit of the training parts"))
    else:
        apart = told_apart([facts], [usual], bool(options.min_points))
        found += [("other recording", f"{files.rgb}: {text}") for text in apart]
    return tuple((LEVEL_OF[kind], kind, text) for kind, text in found if LEVEL_OF[kind] != "note")


def _job(part, options):
    return Job(*(str(p) if p else None for p in part.files), options.img_size, None, (options.unit or "m") != "m")


def _list(folder, splits, options):
    """([Row without facts], [(kind, text)]) of a category."""
    rows, findings = [], []
    with_clouds = bool(options.min_points) and (not any(folder.glob("*/*/rgb")) or any(folder.glob("*/*/xyz")))
    if options.min_points and not with_clouds:
        text = "has no point clouds (xyz/): only methods that read none run on it, such as main.py --method_name DINO"
        findings.append(("no clouds", f"{folder}: {text}"))
    for split in splits:
        folders, notes = defect_folders(folder / split, GOOD if split == "train" else "")
        findings += notes
        if split == "train" and not (folder / split / GOOD).is_dir():
            text = "missing folder: the category's normal training parts belong there"
            findings.append(("folders", f"{folder / split / GOOD}: {text}"))
        elif split == "test" and not folders and not any(kind == "unreadable" for kind, _ in notes):
            text = "missing or empty: the category's test parts belong there, one folder a defect, and good"
            findings.append(("folders", f"{folder / split}: {text}"))
        for defect in folders:
            if split != "test" and defect.name != GOOD:
                rows.append(_unread(split, defect))
                continue
            pairing = pair(defect, split == "test" and defect.name != GOOD, with_clouds)
            findings += [*(("pairing", text) for text in pairing.problems), *pairing.notes]
            rows.append(_unread(split, defect)._replace(used=True, parts=_parts(defect, split, pairing)))
    others = sorted({d.parents[1] for d in folder.glob("[!.]*/*/rgb") if d.parents[1].name not in splits})
    unread = [(split.name, d) for split in others for d in sorted(split.glob("[!.]*")) if d.is_dir()]
    return rows + [_unread(*of) for of in unread], findings


def _unread(split, folder):
    return Row(split, folder.name, {kind: len(part_files(folder, kind)) for kind in SUFFIXES}, False, ())


def _parts(folder, split, pairing):
    defective = split == "test" and folder.name != GOOD
    # a run does not read masks of good parts, but the examination checks them
    own = {p.stem: p for p in part_files(folder, "gt")} if split == "test" and not defective else {}
    files = (*pairing.parts, *pairing.incomplete)
    if not defective:
        files = [of._replace(gt=own.get(of.rgb.stem) if of.rgb else None) for of in files]
    return tuple(TestedPart(split, folder.name, of) for of in files)


def _calibration(folder, name, options):
    place = find_folder(folder, name) or folder
    try:
        scans = find_scans(place, with_clouds=bool(options.min_points))
    except InputError as error:
        return Row(CALIBRATION, GOOD, dict.fromkeys(SUFFIXES, 0), True, ()), [("folders", str(error))]
    findings = [("unreadable", text) for text in scans.unreadable]
    findings += [("pairing", f"{path}: {reason}") for path, reason in scans.incomplete.items()]
    parts = tuple(TestedPart(CALIBRATION, GOOD, Part(p.rgb, p.xyz)) for p in scans.parts)
    return Row(CALIBRATION, GOOD, {"rgb": len(parts), "xyz": len(parts), "gt": 0}, True, parts), findings


def _read(jobs, pool, name):
    with beginning_workers():
        found = pool.map(read_part, jobs) if pool else map(read_part, jobs)
    return list(tqdm(found, total=len(jobs), desc=f"{name}: examining", unit="part", leave=False, disable=None))
