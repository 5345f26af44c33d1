"""The verdict files of tools/predict.py: a JSON line per part as soon as it is judged, and a CSV of all at the end. One
folder may take the verdicts of many days and cameras: a verdict is known by the folder that was judged, its path in it,
and size and time of its files. It stays until the same files are judged anew, with another model or other options."""

import contextlib
import csv
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from common.errors import InputError
from common.files import atomic_write_text
from common.locks import hold
from data.pairing import natural
from inspection.verdict import CANNOT_JUDGE

Row = dict[str, Any]  # a part's verdict
Files = list[list[int]] | None  # sizes and modification times of a part's files; None: not all of them are there

LINES, TABLE, LOCK = "verdicts.jsonl", "verdicts.csv", ".verdicts.lock"
COLUMNS = (
    "path verdict p_value score threshold milliseconds time recording model options reason explanation warning regions "
    "area_mm2 label pictures"
).split()


def hold_verdicts(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Holds the verdicts in ``folder`` while its block runs; refuses where another process does."""
    return hold(folder / LOCK, lambda who: f"{folder}: {who} writes its verdicts there; wait for its end")


class Predictions:
    """The verdicts in a folder; :func:`hold_verdicts` keeps other processes away from them.

    ``place``: the folder whose parts are judged; ``recording``: its name, with as many of the folders above it as tell
    it from the other recordings; ``judged_with``: what all verdicts of this command have in common.
    """

    def __init__(self, folder: Path, place: Path, judged_with: Mapping[str, str]) -> None:
        self._path, self._table, self._common = folder / LINES, folder / TABLE, judged_with
        self.rows = {_key(row["folder"], row["path"], row.get("files")): row for row in read_lines(self._path)}
        self.place = place.resolve().as_posix()
        known: dict[str, str] = {row["folder"]: row["recording"] for row in self.rows.values()}
        steps = [step for step in self.place.split("/") if step] or ["/"]
        names = ("/".join(steps[-count:]) for count in range(1, len(steps) + 1))
        new = next((name for name in names if name not in known.values()), self.place)
        self.recording = known.get(self.place, new)
        self._waiting = {key for key, row in self.rows.items() if key[0] == self.place and row.get("files") is None}
        try:
            atomic_write_text(self._path, "".join(map(_line, self.rows.values())))  # a killed process left half a line
            self._file = open(self._path, "a", encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written ({error.strerror or error})") from None

    def known(self, path: str, files: Files) -> Row | None:
        """The part's row, if it was judged already from the same files with the same model and options."""
        row = self.of(path, files)
        same = row is not None and files is not None and row["judged_with"] == self._common["judged_with"]
        return row if same else None

    def of(self, path: str, files: Files) -> Row | None:
        """The row of a part of this recording."""
        return self.rows.get(_key(self.place, path, files))

    def add(self, row: Row) -> None:
        """Add a part's dict, which has "path", "verdict" and "files" (None: judge it again), and write its line."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        key = _key(self.place, row["path"], row["files"])
        self.rows[key] = {**row, **self._common, "time": now, "recording": self.recording, "folder": self.place}
        self._waiting.discard(key)
        self._file.write(_line(self.rows[key]))
        self._file.flush()

    def picture_name(self, path: str, files: Files, name: str) -> str:
        """The part's picture below "pictures": ``name``, with the recording before it and a number behind it where
        another part's is called so."""
        wanted, own = PurePosixPath(name.lstrip("/")), _key(self.place, path, files)
        taken = {row["pictures"]: key for key, row in self.rows.items() if "pictures" in row}
        numbered = (wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}") for number in itertools.count(2))
        names = itertools.chain((wanted, self.recording / wanted), (self.recording / other for other in numbered))
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


def read_lines(path: Path) -> list[Row]:
    """The verdicts in a verdicts.jsonl; [] if the file is missing. Lines that are no verdicts are skipped."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    rows = []
    for line in text.split("\n"):
        with contextlib.suppress(ValueError, TypeError):  # a killed process leaves half a line
            row = json.loads(line)
            if {"path", "verdict", "judged_with"} <= set(row):
                rows.append({"folder": "", "recording": "", "time": "", **row})  # version 0.9 did not write these
    return rows


def table(rows: Sequence[Row]) -> str:
    """Text of verdicts.csv: numbers in full precision, an empty cell where there is none."""
    shares = sorted({f"share_{name}" for row in rows for name in row.get("shares", ())})
    scores = list(dict.fromkeys(f"score_{name}" for row in rows for name in row.get("scores", ())))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *shares, *scores], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        regions, judged = row.get("regions", ()), row["verdict"] != CANNOT_JUDGE
        area = sum((r["area_mm2"] for r in regions if r["area_mm2"] is not None), 0.0)
        counted = {"regions": len(regions), "area_mm2": area} if judged else {"regions": None}
        parts = ((f"{kind[:-1]}_{of}", v) for kind in ("shares", "scores") for of, v in row.get(kind, {}).items())
        writer.writerow({**row, **counted, **dict(parts)})
    return text.getvalue()


def _key(folder: str, path: str, files: Files) -> tuple[str, str, str]:
    return folder, path, json.dumps(files)


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
