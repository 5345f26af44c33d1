"""The verdict files of tools/predict.py: a JSON line per part as soon as it is judged, and a CSV of all at the end.

One folder may take the verdicts of many days and cameras. A verdict is known by its recording (the name of the folder
that was judged), its path in it, and size and time of its files. It stays there until the same files are judged anew,
with another model or other options.
"""

import contextlib
import csv
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from common.errors import InputError, tell
from common.files import atomic_write_text
from data.pairing import natural
from inspection.verdict import CANNOT_JUDGE

Row = dict[str, Any]  # a part's verdict
Files = list[list[int]] | None  # sizes and modification times of a part's files; None: not all of them are there
Key = tuple[str, str, str]

LINES, TABLE, LOCK = "verdicts.jsonl", "verdicts.csv", ".verdicts.lock"
COLUMNS = (
    "path verdict p_value score threshold milliseconds time recording model options reason explanation warning regions "
    "area_mm2 label pictures"
).split()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the verdicts in ``folder`` while the block runs; wait for another process that holds them, and say so."""
    lock = FileLock(folder / LOCK)  # the system frees it when the process ends
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tell("predict.py", f"{folder}: another predict.py writes its verdicts there; this one waits for its end")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class Predictions:
    """The verdicts in a folder; :func:`locked` keeps other processes away from them.

    Args:
        folder: where the files lie.
        place: the folder whose parts are judged; its absolute path tells it from others of the same name.
        judged_with: {name: value}, what all verdicts of this command have in common, with "judged_with": text that
            stands for model and options.

    Attributes:
        recording: the name of ``place``, with as many of the folders above it as tell it from the other recordings.
        rows: {key: dict} of the parts judged, in the order of the files.
    """

    def __init__(self, folder: Path, place: Path, judged_with: Mapping[str, str]) -> None:
        self._path, self._table, self._common = folder / LINES, folder / TABLE, judged_with
        self.rows = {key_of(row): row for row in read_lines(self._path)}
        self.place = place.resolve().as_posix()
        self.recording = self._name()
        self._waiting = {key for key, row in self.rows.items() if key[0] == self.place and row.get("files") is None}
        try:
            self._file = open(self._path, "a", encoding="utf-8", errors="surrogateescape")
            if self._path.stat().st_size and not _ends_a_line(self._path):
                self._file.write("\n")  # a killed process left half a line
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written ({error.strerror or error})") from None

    def known(self, path: str, files: Files) -> Row | None:
        """The part's row, if it was judged already from the same files with the same model and options; else None."""
        row = self.of(path, files)
        same = row is not None and files is not None and row["judged_with"] == self._common["judged_with"]
        return row if same else None

    def of(self, path: str, files: Files) -> Row | None:
        """The row of a part of this recording; None if there is none."""
        return self.rows.get((self.place, path, json.dumps(files)))

    def add(self, row: Row) -> None:
        """Add a part's dict, which has "path", "verdict" and "files" (None: judge it again), and write its line."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        row = {**row, **self._common, "time": now, "recording": self.recording, "folder": self.place}
        self.rows[key_of(row)] = row
        self._waiting.discard(key_of(row))
        self._file.write(_line(row))
        self._file.flush()

    def free_name(self, kind: str, part: str, files: Files, name: str) -> str:
        """The name of an extra file of the part below the folder ``kind`` (such as "pictures"): ``name``; with the
        recording before it and a number behind it where another part's file is called so."""
        path, own = PurePosixPath(name.lstrip("/")), (self.place, part, json.dumps(files))
        taken = {row[kind]: key for key, row in self.rows.items() if kind in row}
        numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(2))
        names = itertools.chain((path, self.recording / path), (self.recording / other for other in numbered))
        return next(str(name) for name in names if taken.get(str(name), own) == own)

    def finish(self) -> None:
        """Write both files anew: recordings in the order in which they came, their parts in that of their names."""
        self._file.close()
        for key in self._waiting:  # what was incomplete at an earlier call and is now judged, or gone
            del self.rows[key]
        places = list(dict.fromkeys(row["folder"] for row in self.rows.values()))
        rows = sorted(
            self.rows.values(), key=lambda row: (places.index(row["folder"]), natural(row["path"]), row["time"])
        )
        atomic_write_text(self._path, "".join(map(_line, rows)))
        atomic_write_text(self._table, table(rows))

    def close(self) -> None:
        """Close the file of lines; write no table."""
        self._file.close()

    def _name(self) -> str:
        """The recording's name, that of earlier verdicts if there are any."""
        known: dict[str, str] = {row["folder"]: row["recording"] for row in self.rows.values()}
        if self.place in known:
            return known[self.place]
        steps = [step for step in self.place.split("/") if step] or ["/"]
        names = ("/".join(steps[-count:]) for count in range(1, len(steps) + 1))
        return next((name for name in names if name not in known.values()), self.place)


def key_of(row: Row) -> Key:
    """(folder, path, files): what tells a part's verdict from all others."""
    return row["folder"], row["path"], json.dumps(row.get("files"))


def read_lines(path: Path) -> list[Row]:
    """The verdicts in a verdicts.jsonl; [] if the file is missing. Lines that are no verdicts are skipped.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    rows = []
    for line in text.split("\n"):
        try:
            row = json.loads(line)
            if {"path", "verdict", "judged_with"} <= set(row):
                rows.append({"folder": "", "recording": "", "time": "", **row})  # version 0.9 did not write these
        except (ValueError, TypeError):
            continue  # a killed process leaves half a line
    return rows


def table(rows: Sequence[Row]) -> str:
    """Text of verdicts.csv: numbers in full precision, an empty cell where there is none."""
    shares = sorted({f"share_{name}" for row in rows for name in row.get("shares", ())})
    scores = list(dict.fromkeys(f"score_{name}" for row in rows for name in row.get("scores", ())))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *shares, *scores])
    for row in rows:
        regions = row.get("regions", ())
        area = sum(r["area_mm2"] for r in regions if r["area_mm2"] is not None)
        judged = row["verdict"] != CANNOT_JUDGE
        values = {
            **row,
            "regions": len(regions) if judged else None,
            "area_mm2": float(area) if judged else None,
            **{f"share_{name}": value for name, value in row.get("shares", {}).items()},
            **{f"score_{name}": value for name, value in row.get("scores", {}).items()},
        }
        writer.writerow([_cell(values.get(name)) for name in (*COLUMNS, *shares, *scores)])
    return text.getvalue()


def _cell(value: Any) -> Any:
    return "" if value is None else repr(value) if isinstance(value, float) else value


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _ends_a_line(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, 2)
        return file.read() == b"\n"
