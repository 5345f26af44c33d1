"""Examines a data set before a run: reads every file, and lists all that would stop the run or spoil its results.

``main.py``, ``tools/check_dataset.py``, ``tools/predict.py`` and the data set classes use the same reading functions. A
run reads the files with the ``Reading`` that the examination found. The examination refuses nothing; its caller decides
from ``Examination.faults``.
"""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from common.errors import InputError
from common.files import atomic_write_text
from common.signals import begin_worker, beginning_workers
from data.findings import CALIBRATION, Options, Row, TestedPart, judge, judge_part, settle_missing, times_as_large
from data.names import find_folder
from data.organised_clouds import Reading
from data.pairing import GOOD, SUFFIXES, Part, defect_folders, pair, part_files
from data.part_facts import VERSION, Facts, Job, read_part
from data.scans import find_scans
from data.splits import told_apart, usual_of

SPLITS = ("train", "test", "validation")
EXAMPLES = 10  # number of texts kept of each kind
FEW_JOBS = 4  # up to this number of jobs, no other processes are started
TITLES = {
    "pairing": "files that do not pair",
    "folders": "folders that are missing or empty",
    "unreadable": "folders that cannot be read",
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
    "orientation": "pictures that viewers show turned",
    "twice": "parts that are there twice",
    "unusual": "unusual parts",
    "other recording": "folders recorded in another way than train/good",
    "one class": "test splits of one kind",
    "folder skipped": "folders skipped",
    "files not read": "folders with files that are not read",
    "no masks": "defect folders without masks",
    "no clouds": "folders without clouds",
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

    @property
    def usual(self) -> Facts:
        """What the training parts have in common, see ``data.splits.usual_of``."""
        return usual_of(self.rows)


class Examination(NamedTuple):
    """The findings in a data set."""

    categories: tuple  # of Category

    faults = property(lambda self: self._all("faults"), doc="All faults: tuple of Group.")
    warnings = property(lambda self: self._all("warnings"), doc="All warnings: tuple of Group.")
    notes = property(lambda self: self._all("notes"), doc="All assumptions: tuple of Group.")

    def _all(self, level):
        return tuple(group for category in self.categories for group in getattr(category, level))

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


def examine(dataset_path, categories, **settings) -> Examination:
    """Examine a data set; see :func:`examine_each` for the ``settings``."""
    return Examination(tuple(examine_each(dataset_path, categories, **settings)))


def examine_each(
    dataset_path,
    categories,
    splits=SPLITS,
    options=Options(),
    workers=1,
    progress=True,
    cache_path=None,
    calibration_dir=None,
):
    """Examine a data set; yields each Category as soon as it is done.

    Args:
        dataset_path: folder of the categories.
        categories: names of their folders.
        splits: splits that a run reads; of ``validation``, only ``good`` is read, and it need not be there.
        options: Options.
        workers: number of processes.
        progress: whether to show a progress bar (on a terminal only).
        cache_path: JSON file that keeps the facts found; files with the same name, size and time are not read again.
            None: nothing is kept.
        calibration_dir: a folder of parts that are read as well: its sub-folder with the category's name, if there is
            one. None: there is none.
    """
    cache, pool = _Cache(cache_path), None
    try:
        for name in categories:
            rows, findings = _list(Path(dataset_path) / name, splits, options)
            if calibration_dir is not None:
                row, more = _calibration(Path(calibration_dir), name, options)
                rows, findings = [*rows, row], findings + more
            jobs = [_job(part, options) for row in rows if row.used for part in row.parts]
            if pool is None and workers > 1 and len(jobs) > FEW_JOBS:
                pool = ProcessPoolExecutor(workers, initializer=begin_worker)
            label = name if progress else None
            facts = cache.read(jobs, pool, label)
            missing = settle_missing(facts)
            if missing:  # found in some files; other files may contain it too, only less often
                again = [i for i, fact in enumerate(facts) if fact.missing != missing]
                known = cache.read([jobs[i]._replace(missing=missing) for i in again], pool, label)
                for i, fact in zip(again, known):
                    facts[i] = fact
            yield _category(Path(dataset_path), name, rows, facts, findings, options, missing)
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)  # "with" would read all remaining files after an interruption
        cache.write()


def examine_scans(parts, reading=Reading(), options=Options(), usual=Facts()):
    """Examine scans that are to be judged, as training parts are examined.

    Args:
        parts: sequence of ``data.scans.PartFiles``.
        reading: the Reading that the model's training parts were read with.
        options: Options of the model's run; ``min_points`` 0: it reads no clouds.
        usual: what the training parts have in common, see ``data.splits.usual_of``.

    Returns:
        List with one tuple per part, of (level, kind, text): "fault" if the part cannot be read, has no point or is in
        another unit, "warning" if a verdict may be wrong. ``kind`` is a key of TITLES, each text names the file.
    """
    options, found = options._replace(unit=reading.unit, zero_points=reading.zero_points), []
    for part in parts:
        tested = TestedPart("scan", GOOD, part.rgb, Part(part.rgb, part.xyz, None))
        facts = read_part(_job(tested, options)._replace(missing=reading.missing))
        findings = [f for f in judge_part(tested._replace(facts=facts), options) if f[0] != "note"]
        large = times_as_large(facts, usual.extent, usual.distance) if facts.extent and usual.extent else None
        if large and options.min_points:
            findings.append(("fault", "unit", f"{part.xyz}: {large}: give it in the unit of the training parts"))
        else:
            apart = told_apart([facts], [usual], bool(options.min_points))
            findings += [("warning", "other recording", f"{part.rgb}: {text}") for text in apart]
        found.append(tuple(findings))
    return found


def lines(groups, shown=3):
    """Lines for the screen: a single finding as its text, several of a kind as their count and ``shown`` examples."""
    out = []
    for group in groups:
        if group.count == 1:
            out.append(group.examples[0])
            continue
        some = "" if group.count <= shown else ", for instance"
        out.append(f"{group.category}: {TITLES[group.kind]}: {group.count:,}{some}")
        out += [f"  {text}" for text in group.examples[:shown]]
    return out


def _job(part, options):
    paths = (part.files.rgb, part.files.xyz, part.mask)
    return Job(*(str(p) if p else None for p in paths), options.img_size, None, (options.unit or "m") != "m")


def _list(folder, splits, options):
    """([Row without facts], [(level, kind, text)]) of a category."""
    rows, findings = [], []
    with_clouds = bool(options.min_points) and _has_clouds(folder)
    if options.min_points and not with_clouds:
        text = "has no point clouds (xyz/): only methods that read none run on it, such as main.py --method_name DINO"
        findings.append(("fault", "no clouds", f"{folder}: {text}"))
    for split in splits:
        folders, notes = defect_folders(folder / split)
        good = folder / split / GOOD
        if split == "train" and good.is_dir() and good not in folders:  # an empty one is no folder to skip
            folders, notes = [*folders, good], [note for note in notes if note.folder != good]
        findings += [("fault" if note.kind == "unreadable" else "warning", note.kind, note.text) for note in notes]
        if split == "train" and not good.is_dir():
            text = "missing folder: the category's normal training parts belong there"
            findings.append(("fault", "folders", f"{good}: {text}"))
        elif split == "test" and not folders and not any(note.kind == "unreadable" for note in notes):
            text = "missing or empty: the category's test parts belong there, one folder a defect, and good"
            findings.append(("fault", "folders", f"{folder / split}: {text}"))
        for defect in folders:
            if split != "test" and defect.name != GOOD:
                rows.append(_unread(split, defect))
                continue
            pairing = pair(defect, split == "test" and defect.name != GOOD, with_clouds)
            findings += [("fault", "pairing", text) for text in pairing.problems]
            levels = {"paired by number": "note"}
            findings += [(levels.get(note.kind, "warning"), note.kind, note.text) for note in pairing.notes]
            rows.append(Row(split, defect.name, _counts(defect), True, _parts(defect, split, pairing)))
    others = sorted({d.parents[1] for d in folder.glob("[!.]*/*/rgb") if d.parents[1].name not in splits})
    inside = [(split.name, d) for split in others for d in sorted(split.iterdir())]
    return rows + [_unread(split, d) for split, d in inside if d.is_dir() and not d.name.startswith(".")], findings


def _counts(folder):
    return {kind: len(part_files(folder, kind)) for kind in SUFFIXES}


def _unread(split, folder):
    """The Row of a defect folder that a run does not read."""
    return Row(split, folder.name, _counts(folder), False, ())


def _has_clouds(folder):
    return not any(folder.glob("*/*/rgb")) or any(folder.glob("*/*/xyz"))


def _parts(folder, split, pairing):
    defective = split == "test" and folder.name != GOOD
    # a run does not read masks of good parts, but the examination checks them
    own = {p.stem: p for p in part_files(folder, "gt")} if split == "test" and not defective else {}
    parts = []
    for files in (*pairing.parts, *pairing.incomplete):
        mask = files.gt if defective else own.get(files.rgb.stem) if files.rgb else None
        parts.append(TestedPart(split, folder.name, files.rgb or files.xyz or files.gt, files, mask))
    return tuple(parts)


def _calibration(folder, name, options):
    """(Row, findings) of the parts in --calibration_dir."""
    place = find_folder(folder, name) or folder
    try:
        scans = find_scans(place, with_clouds=bool(options.min_points))
    except InputError as error:
        return Row(CALIBRATION, GOOD, dict.fromkeys(SUFFIXES, 0), True, ()), [("fault", "folders", str(error))]
    findings = [("fault", "unreadable", text) for text in scans.unreadable]
    findings += [("fault", "pairing", f"{path}: {reason}") for path, reason in scans.incomplete.items()]
    parts = tuple(TestedPart(CALIBRATION, GOOD, p.rgb, Part(p.rgb, p.xyz, None)) for p in scans.parts)
    return Row(CALIBRATION, GOOD, {"rgb": len(parts), "xyz": len(parts), "gt": 0}, True, parts), findings


def _category(root, name, rows, facts, findings, options, missing):
    left = iter(facts)
    rows = tuple(row._replace(parts=tuple(part._replace(facts=next(left)) for part in row.parts)) for row in rows)
    if any(kind == "no clouds" for _, kind, _ in findings):
        options = options._replace(min_points=0)
    found, reading = judge(root, name, rows, options, missing)
    groups = {"fault": {}, "warning": {}, "note": {}}
    for level, kind, text in (*findings, *found):
        groups[level].setdefault(kind, []).append(text)
    levels = [
        tuple(Group(kind, name, len(texts), tuple(texts[:EXAMPLES])) for kind, texts in of.items())
        for of in groups.values()
    ]
    defective = [row for row in rows if row.used and row.split == "test" and row.defect != GOOD]
    masks = [part.files.gt is not None for row in defective for part in row.parts]
    return Category(name, rows, *levels, reading, all(masks))


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
        text, hidden = label and f"{label}: examining", None if label else True
        bar = tqdm(found, total=len(todo), desc=text, unit="part", leave=False, disable=hidden)
        for i, facts in zip(lacking, bar):
            out[i] = facts
            if self.path and stamps[i]:
                self.known[keys[i]] = {"files": stamps[i], "facts": facts._asdict()}
                self.changed = True
        return out

    def _look_up(self, key, stamp):
        entry = self.known.get(key)
        try:
            if not entry or not stamp or entry["files"] != stamp:
                return None
            return Facts(**{k: _tuples(v) for k, v in entry["facts"].items()})
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
