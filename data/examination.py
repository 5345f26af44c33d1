"""Examines a data set before a run: reads every file, and lists all that would stop the run or spoil its results.

``main.py``, ``tools/check_dataset.py`` and the data set classes use the same reading functions. A run reads the files
with the ``Reading`` that the examination found. The examination refuses nothing; its caller decides from
``Examination.faults``.
"""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from common.files import atomic_write_text
from common.signals import begin_worker, beginning_workers
from data.findings import Options, Row, TestedPart, judge, settle_missing
from data.organised_clouds import Reading
from data.pairing import GOOD, SUFFIXES, defect_folders, pair, part_files
from data.part_facts import VERSION, Facts, Job, read_part

EXAMPLES = 10  # number of texts kept of each kind
FEW_JOBS = 4  # up to this number of jobs, no other processes are started
TITLES = {
    "pairing": "files that do not pair",
    "folders": "folders that are missing or empty",
    "picture": "pictures that cannot be read",
    "cloud": "point clouds that cannot be read",
    "mask": "masks that cannot be read",
    "no points": "parts without a valid point",
    "unit": "coordinates that are not in metres",
    "mixed units": "parts in another unit than the training parts",
    "broken": "point clouds with NaN or inf",
    "missing": 'point clouds with a value that stands for "not measured"',
    "zero points": "point clouds that lose points with a coordinate 0",
    "few points": "parts with too few points",
    "mask empty": "empty masks of defective parts",
    "mask large": "masks that cover too much",
    "mask of good": "masks of good parts",
    "mask background": "masks without black or transparent background",
    "aspect": "parts whose files differ in aspect",
    "outline": "point clouds that do not lie on their pictures",
    "twice": "parts that are there twice",
    "unusual": "unusual parts",
    "one class": "test splits of one kind",
    "folder skipped": "folders skipped",
    "files not read": "folders with files that are not read",
    "no masks": "defect folders without masks",
    "paired by position": "folders paired by position",
    "paired by number": "folders paired by number",
    "16-bit picture": "16-bit pictures",
    "tiff layout": "tiffs of an unusual layout",
    "convention": "coordinates of another convention",
}


class Group(NamedTuple):
    """All findings of one kind in one category."""

    kind: str
    category: str
    count: int
    examples: tuple  # the first texts; each names the file


class Category(NamedTuple):
    """The findings in one category."""

    name: str
    rows: tuple  # Rows, one per defect folder
    faults: tuple  # Groups that would stop a run, or make its numbers wrong
    warnings: tuple  # Groups that may spoil a run's numbers
    notes: tuple  # Groups of assumptions
    reading: Reading  # how a run has to read the category's files
    has_masks: bool  # whether every defective test part has a mask; if not, pixel metrics are undefined


class Examination(NamedTuple):
    """The findings in a data set."""

    categories: tuple  # of Category

    @property
    def faults(self):
        """All faults: tuple of Group."""
        return tuple(group for category in self.categories for group in category.faults)

    @property
    def warnings(self):
        """All warnings: tuple of Group."""
        return tuple(group for category in self.categories for group in category.warnings)

    @property
    def notes(self):
        """All assumptions: tuple of Group."""
        return tuple(group for category in self.categories for group in category.notes)

    @property
    def readings(self):
        """{category: Reading}."""
        return {category.name: category.reading for category in self.categories}

    @property
    def faulty(self):
        """{category: its first fault, and the number of further ones}, for the categories with faults."""
        found = {}
        for category in self.categories:
            if category.faults:
                more = sum(group.count for group in category.faults) - 1
                found[category.name] = category.faults[0].examples[0] + (f" (and {more} more faults)" if more else "")
        return found


def examine(
    dataset_path, categories, splits=("train", "test"), options=Options(), workers=1, progress=True, cache_path=None
):
    """Examine a data set: Examination.

    Args:
        dataset_path: folder of the categories.
        categories: names of their folders.
        splits: splits that a run reads.
        options: Options.
        workers: number of processes.
        progress: whether to show a progress bar (on a terminal only).
        cache_path: JSON file that keeps the facts found; files with the same name, size and time are not read again.
            None: nothing is kept.
    """
    return Examination(tuple(examine_each(dataset_path, categories, splits, options, workers, progress, cache_path)))


def examine_each(
    dataset_path, categories, splits=("train", "test"), options=Options(), workers=1, progress=True, cache_path=None
):
    """As :func:`examine`, but yields each Category as soon as it is done."""
    cache, pool = _Cache(cache_path), None
    try:
        for name in categories:
            rows, jobs, findings = _list(Path(dataset_path) / name, splits, options)
            if pool is None and workers > 1 and len(jobs) > FEW_JOBS:
                pool = ProcessPoolExecutor(workers, initializer=begin_worker)
            facts = cache.read(jobs, pool, name if progress else None)
            missing = settle_missing(facts)
            if missing:  # found in some files; other files may contain it too, only less often
                again = [i for i, fact in enumerate(facts) if fact.missing != missing]
                known = cache.read([jobs[i]._replace(missing=missing) for i in again], pool, name if progress else None)
                for i, fact in zip(again, known):
                    facts[i] = fact
            yield _category(Path(dataset_path), name, rows, facts, findings, options, missing)
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)  # "with" would read all remaining files after an interruption
        cache.write()


def lines(groups, shown=3):
    """Lines for the screen: a single finding as its text, several of a kind as their count and ``shown`` examples."""
    out = []
    for group in groups:
        if group.count == 1:
            out.append(group.examples[0])
            continue
        out.append(
            f"{group.category}: {TITLES[group.kind]}: {group.count:,}"
            + ("" if group.count <= shown else ", for instance")
        )
        out += [f"  {text}" for text in group.examples[:shown]]
    return out


def _list(folder, splits, options):
    """([Row without facts], [Job], [(level, kind, text)]) of a category."""
    rows, jobs, findings = [], [], []
    for split in splits:
        folders, notes = defect_folders(folder / split)
        findings += [("warning", note.kind, note.text) for note in notes]
        if split == "train":
            if not (folder / split / GOOD).is_dir():
                findings.append(
                    (
                        "fault",
                        "folders",
                        f"{folder / split / GOOD}: missing folder: the category's normal training parts belong there",
                    )
                )
            elif folder / split / GOOD not in folders:  # an empty one is no folder to skip
                findings = [f for f in findings if not f[2].startswith(f"{folder / split / GOOD}: ")]
                folders.append(folder / split / GOOD)
        elif not folders:
            findings.append(
                (
                    "fault",
                    "folders",
                    f"{folder / split}: missing or empty: the category's {split} parts belong there, "
                    "one folder a defect, and good",
                )
            )
        for defect in folders:
            counts = {kind: len(part_files(defect, kind)) for kind in SUFFIXES}
            if split == "train" and defect.name != GOOD:
                rows.append(Row(split, defect.name, counts, False, ()))
                continue
            defective = defect.name != GOOD
            pairing = pair(defect, with_masks=defective)
            findings += [("fault", "pairing", text) for text in pairing.problems] + [
                (_level(note), *note) for note in pairing.notes
            ]
            # a run does not read masks of good parts, but the examination checks them
            own = {} if defective or split == "train" else {p.stem: p for p in part_files(defect, "gt")}
            parts = []
            for files in (*pairing.parts, *pairing.incomplete):
                mask = files.gt if defective else own.get(files.rgb.stem) if files.rgb else None
                parts.append(TestedPart(split, defect.name, files.rgb or files.xyz or files.gt, files, mask))
                jobs.append(
                    Job(
                        *(str(p) if p else None for p in (files.rgb, files.xyz, mask)),
                        options.img_size,
                        None,
                        (options.unit or "m") != "m",
                    )
                )
            rows.append(Row(split, defect.name, counts, True, tuple(parts)))
    rows += [
        Row(split.name, d.name, {kind: len(part_files(d, kind)) for kind in SUFFIXES}, False, ())
        for split in _others(folder, splits)
        for d in sorted(split.iterdir())
        if d.is_dir() and not d.name.startswith(".")
    ]
    return rows, jobs, findings


def _others(folder, splits):
    """Folders of a category that contain parts but that a run does not read."""
    return sorted({d.parents[1] for d in folder.glob("[!.]*/*/rgb") if d.parents[1].name not in splits})


def _level(note):
    return "note" if note.kind == "paired by number" else "warning"


def _category(root, name, rows, facts, findings, options, missing):
    left = iter(facts)
    rows = tuple(row._replace(parts=tuple(part._replace(facts=next(left)) for part in row.parts)) for row in rows)
    found, reading = judge(root, name, rows, options, missing)
    groups = {level: {} for level in ("fault", "warning", "note")}
    for level, kind, text in (*findings, *found):
        groups[level].setdefault(kind, []).append(text)
    faults, warnings, notes = (
        tuple(Group(kind, name, len(texts), tuple(texts[:EXAMPLES])) for kind, texts in by_kind.items())
        for by_kind in groups.values()
    )
    masks = [
        part.files.gt is not None
        for row in rows
        if row.used and row.split == "test" and row.defect != GOOD
        for part in row.parts
    ]
    return Category(name, rows, faults, warnings, notes, reading, all(masks))


class _Cache:
    """The facts that earlier examinations found, in a JSON file."""

    def __init__(self, path):
        self.path, self.known, self.changed = path and Path(path), {}, False
        try:
            content = json.loads(self.path.read_text(encoding="utf-8")) if path else {}
            if content.get("version") == VERSION:
                self.known = content["parts"]
        except (OSError, ValueError, KeyError, AttributeError):
            pass  # there is no file, or it is damaged: all files are read

    def read(self, jobs, pool, label):
        """[Facts] of the Jobs, from the cache if their files have not changed."""
        stamps = [_stamp(job) if self.path else None for job in jobs]
        keys = [json.dumps(job) for job in jobs]
        out = [self._look_up(key, stamp) for key, stamp in zip(keys, stamps)]
        lacking = [i for i, facts in enumerate(out) if facts is None]
        todo = [jobs[i] for i in lacking]
        with beginning_workers():
            found = pool.map(read_part, todo) if pool else map(read_part, todo)
        for i, facts in zip(
            lacking,
            tqdm(
                found,
                total=len(todo),
                desc=label and f"{label}: examining",
                unit="part",
                leave=False,
                disable=None if label else True,
            ),
        ):
            out[i] = facts
            if self.path and stamps[i]:
                self.known[keys[i]] = {"files": stamps[i], "facts": facts._asdict()}
                self.changed = True
        return out

    def _look_up(self, key, stamp):
        entry = self.known.get(key)
        try:
            return (
                Facts(**{k: _tuples(v) for k, v in entry["facts"].items()})
                if entry and stamp and entry["files"] == stamp
                else None
            )
        except (TypeError, KeyError, AttributeError):
            return None

    def write(self):
        if self.path and self.changed:
            try:
                atomic_write_text(self.path, json.dumps({"version": VERSION, "parts": self.known}) + "\n")
            except OSError:
                pass  # the cache only saves time; writing the results will report a problem with the disk


def _stamp(job):
    """[[size, time]] of a Job's files; None if a file cannot be accessed."""
    try:
        return [[s.st_size, s.st_mtime_ns] for s in (os.stat(path) for path in job[:3] if path)]
    except OSError:
        return None


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
