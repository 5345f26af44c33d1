"""Runs that lose nothing: the files of a finished category, by which the same command continues.

    <output_dir>/runs/<id>/run.json                     the run's record; run.json at the top is that of the last run
    <output_dir>/runs/<id>/<category>-<data>.json       written last: if it exists, the category is finished
    <output_dir>/runs/<id>/<category>-<data>.csv        the category's scores
    <output_dir>/runs/<id>/.<category>-<data>.lock      lock of the process that computes the category
    <output_dir>/runs/<id>/.<category>-<data>.holder    names that process

<id> is a hash of the options that can change a result, the seed, and the weights' contents; <data> one of the data.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from common.files import atomic_write_text
from common.locks import hold, is_held
from common.progress import note
from data.calibration_parts import CalibrationFiles
from inspection.model_file import SUFFIX
from runs.options import RunOptions, model_scorings, short_hash

FOLDER = "runs"


def file_facts(paths: Iterable[str | Path | None], root: str | Path) -> list[list[Any]]:
    """[[path relative to ``root``, size, modification time in ns]] of files; a path that is None is skipped."""
    found = []
    for path in paths:
        if path is None:
            continue
        stat = Path(path).stat()
        found.append([Path(path).relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns])
    return sorted(found)


class Mark(NamedTuple):
    """The hidden file ``path`` beside an output of a run (pictures, features, maps, a model), whose ``text`` names the
    unit that the output belongs to. ``file``: the output itself, where it is a single file."""

    path: Path
    text: str
    file: Path | None = None

    def is_set(self) -> bool:
        """Whether the output is there and belongs to the unit."""
        try:
            return self.path.read_text(encoding="utf-8").strip() == self.text and (not self.file or self.file.is_file())
        except OSError:
            return False

    def set(self) -> None:
        """Note that the output belongs to the unit."""
        atomic_write_text(self.path, self.text + "\n")


class Unit:
    """One category of one run: where its results lie, which other outputs are asked for, and the lock on all of them.
    ``data``: id of its data; ``calibration``: the files that calibrate its saved model, None: no model is saved.

    Attributes:
        name: of the unit, as marks and models hold it.
        marks: {output: Mark} of pictures, features, maps and model, as far as they are asked for.
        kept: the record of an earlier run that finished it, or None.
    """

    def __init__(
        self, options: RunOptions, run: str, category: str, data: str, calibration: CalibrationFiles | None = None
    ):
        self.category, self.folder = category, Path(options.output_dir) / FOLDER / run
        self._stem, self.calibration = f"{category}-{data}", calibration
        self.name = f"{run}/{self._stem}"
        self.kept: dict[str, Any] | None = None
        self.scores, self.record = (self.folder / f"{self._stem}.{suffix}" for suffix in ("csv", "json"))
        self._lock = self.folder / f".{self._stem}.lock"
        self.model = Path(options.save_model or "") / f"{category}{SUFFIX}"
        hidden, with_training = f".{category}.unit", f".{category}.train.unit"
        asked = (
            ("pictures", options.save_preds, Path(options.output_dir) / "pred_maps", hidden),
            ("features", options.save_feature, options.save_feature_path, hidden),
            ("maps", options.save_maps, options.save_maps, with_training if options.save_train_maps else hidden),
        )
        self.marks = {
            output: Mark(Path(str(folder)) / file, self.name) for output, wanted, folder, file in asked if wanted
        }
        if calibration:
            text = f"{self.name} {_calibrated_with(options, calibration)}"
            self.marks["model"] = Mark(self.model.with_name(f".{category}.model.unit"), text, self.model)

    def finished(self) -> dict[str, Any] | None:
        """The category's record, a dict, if it is finished with every output that is asked for; else None."""
        try:
            record: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
            if record["metrics"] and not self.scores.is_file():  # --fit_only leaves neither
                return None
        except (OSError, ValueError, KeyError, TypeError):  # not finished, or the file is damaged
            return None
        lacking = [output for output, mark in self.marks.items() if not mark.is_set()]
        if lacking:
            note(f"{self.category}: is finished, but its {' and '.join(lacking)} are not there: it is computed again")
        return None if lacking else record

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the record; from now on the category counts as finished."""
        atomic_write_text(self.record, json.dumps(record, indent=2, default=str) + "\n")

    def lock(self) -> AbstractContextManager[None]:
        """Context that holds the category; it raises Busy if another live process holds it."""
        return hold(
            self._lock,
            lambda who: f"{self.category} is being computed by {who} with the same options; wait for it, or stop it",
        )

    def refuse_if_busy(self) -> None:
        """Raise Busy if another process holds the category; leave no file behind."""
        if is_held(self._lock):
            with self.lock():
                pass


def _calibrated_with(options: RunOptions, calibration: CalibrationFiles) -> str:
    """A hash of everything that a model's calibration depends on: source, scorings, and names, sizes and times of the
    files; "full" is the precision, which could once be chosen."""
    facts: list[object] = ["full", calibration.source, model_scorings(options)]
    for part in calibration.parts:
        stats = [Path(path).stat() for path in (part.rgb, part.xyz) if path]
        facts += [[part.name, stat.st_size, stat.st_mtime_ns] for stat in stats]
    return short_hash(facts, 8)


def tables_lock(output_dir: str | Path) -> FileLock:
    """The lock on the tables and records at the top of an output folder; to enter it waits for another process."""
    return FileLock(Path(output_dir) / ".tables.lock")
