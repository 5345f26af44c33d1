"""Runs that lose nothing: the files of a finished category, by which the same command continues instead of computing it
again.

The unit of work is one category with one set of options, weights and data. A run's id is a hash of the options that can
change a result (the seed is one) and of the weights' contents. The files of a category also have a hash of its data in
their names:

    <output_dir>/runs/<id>/run.json                     the run's record; run.json at the top is that of the last run
    <output_dir>/runs/<id>/<category>-<data>.json       written last: if it exists, the category is finished
    <output_dir>/runs/<id>/<category>-<data>.csv        the category's scores
    <output_dir>/runs/<id>/.<category>-<data>.lock      lock of the process that computes the category
    <output_dir>/runs/<id>/.<category>-<data>.holder    names that process
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from filelock import FileLock

from common.files import atomic_write_text
from common.locks import hold, is_held

FOLDER = "runs"
NUMBERS = 2  # version of the results: raised when a change of the program changes them


def run_id(options: Mapping[str, Any], weights: Iterable[Any]) -> str:
    """Id of a run: 12 hexadecimal digits.

    Args:
        options: those that can change a result, as a dict that fits into JSON.
        weights: [WeightFile].
    """
    return _hash(
        {"numbers": NUMBERS, "options": options, "weights": [[file.network, file.sha256] for file in weights]}, 12
    )


def data_id(facts: object) -> str:
    """Id of a category's data: 8 hexadecimal digits; ``facts``: see :func:`file_facts`."""
    return _hash(facts, 8)


def file_facts(paths: Iterable[str | Path | None], root: str | Path) -> list[list[Any]]:
    """[[path relative to ``root``, size, modification time in ns]] of files; a path that is None is skipped."""
    found = []
    for path in paths:
        if path is None:
            continue
        stat = Path(path).stat()
        found.append([Path(path).relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns])
    return sorted(found)


class Unit:
    """One category of one run: where its results lie, and the lock on them."""

    def __init__(self, output_dir: str | Path, run: str, category: str, data: str):
        self.category, self.folder = category, Path(output_dir) / FOLDER / run
        self._stem = f"{category}-{data}"
        self.name = f"{run}/{self._stem}"

    @property
    def scores(self) -> Path:
        """Path of the scores, CSV."""
        return self.folder / f"{self._stem}.csv"

    @property
    def record(self) -> Path:
        """Path of the record, JSON; the file exists only if the category is finished."""
        return self.folder / f"{self._stem}.json"

    def finished(self) -> dict[str, Any] | None:
        """The record of the finished category, a dict; None if it is not finished or the file is damaged."""
        try:
            record: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
            tested = record["metrics"] != {}  # --fit_only leaves none
            return record if self.scores.is_file() or not tested else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the record; from now on the category counts as finished."""
        atomic_write_text(self.record, json.dumps(record, indent=2, default=str) + "\n")

    def lock(self) -> AbstractContextManager[None]:
        """Context that holds the category; it raises Busy if another live process holds it."""
        return hold(
            self.folder / f".{self._stem}.lock",
            lambda who: f"{self.category} is being computed by {who} with the same options; wait for it, or stop it",
        )

    def refuse_if_busy(self) -> None:
        """Raise Busy if another process holds the category; leave no file behind."""
        if is_held(self.folder / f".{self._stem}.lock"):
            with self.lock():
                pass


def tables_lock(output_dir: str | Path) -> FileLock:
    """The lock on the tables and records at the top of an output folder; to enter it waits for another process."""
    return FileLock(Path(output_dir) / ".tables.lock")


def _hash(content: object, digits: int) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:digits]
