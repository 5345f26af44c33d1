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

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from common.errors import InputError
from common.files import atomic_write_text, host

FOLDER = "runs"
NUMBERS = 2  # version of the results: raised when a change of the program changes them
SIGN_OF_LIFE = 30  # seconds after which a process touches its holder file again
DEAD = 600  # seconds without a touch after which a process on another host counts as dead


class Busy(InputError):
    """Another live process computes the same category under the same id."""


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

    def refuse_if_busy(self) -> None:
        """Raise Busy if another process holds the category; leave no file behind."""
        if self.folder.is_dir() and (self.folder / f".{self._stem}.lock").exists():
            with self.lock():
                pass

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the category while the block runs.

        Raises:
            Busy: another live process, of this host or another, holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        holder = self.folder / f".{self._stem}.holder"
        try:
            with FileLock(self.folder / f".{self._stem}.lock", timeout=0):  # the system frees it when the process ends
                self._refuse_other_host(holder)
                atomic_write_text(holder, json.dumps({"process": os.getpid(), "host": host()}))
                stop = threading.Event()
                alive = threading.Thread(target=_touch, args=(holder, stop), daemon=True)
                alive.start()
                try:
                    yield
                finally:
                    stop.set()
                    alive.join()
                    holder.unlink(missing_ok=True)
        except Timeout:
            raise Busy(
                f"{self.category} is being computed by {_named(holder)} with the same options; wait for it, or stop it"
            ) from None

    def _refuse_other_host(self, holder: Path) -> None:
        """Raise Busy if the holder file names a live process on another host, whose lock a network drive may not
        show."""
        try:
            known = json.loads(holder.read_text(encoding="utf-8"))
            silent = time.time() - holder.stat().st_mtime
        except (OSError, ValueError):
            return
        if known.get("host") != host() and silent < DEAD:
            raise Busy(
                f"{self.category} is being computed by {_named(holder)} with the same options, last seen {silent:.0f} "
                f"s ago; wait for it, "
                f"or remove {holder} if it is gone"
            )


@contextlib.contextmanager
def tables_lock(output_dir: str | Path) -> Iterator[None]:
    """Lock the tables and records at the top of an output folder; wait while another process holds the lock."""
    with FileLock(Path(output_dir) / ".tables.lock"):
        yield


def _named(holder: Path) -> str:
    try:
        known = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {known['process']} on {known['host']}"
    except (OSError, ValueError, KeyError):  # it holds the lock but has not written its name yet
        return "another process"


def _touch(path: Path, stop: threading.Event) -> None:
    while not stop.wait(SIGN_OF_LIFE):
        with contextlib.suppress(OSError):
            os.utime(path)


def _hash(content: object, digits: int) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:digits]
