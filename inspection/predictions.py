"""The verdict files of tools/predict.py: a JSON line per part as soon as it is judged, and a CSV of all at the end. The
same command again keeps earlier verdicts that are still valid."""

import csv
import io
import json
from pathlib import Path

from common.errors import InputError
from common.files import atomic_write_text
from inspection.verdict import CANNOT_JUDGE

LINES, TABLE = "verdicts.jsonl", "verdicts.csv"
FIRST = ("path", "verdict", "p_value", "score", "threshold", "milliseconds")
SECOND = ("reason", "regions", "area_mm2", "label")


class Predictions:
    """The verdicts in a folder.

    Args:
        folder: where the files lie.
        tag: text that stands for model and options. Lines with another tag are dropped.
        again: drop all lines.

    Attributes:
        rows: {path: dict} of the parts judged.
    """

    def __init__(self, folder, tag, again=False):
        self._path, self._table, self._tag = Path(folder) / LINES, Path(folder) / TABLE, tag
        self.rows = {} if again else self._read()
        try:
            atomic_write_text(self._path, "".join(map(_line, self.rows.values())))
            self._file = open(self._path, "a", encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written ({error.strerror or error})") from None

    def known(self, path, files):
        """Whether the part was judged already from the same files; ``files``: their sizes and modification times."""
        return self.rows.get(path, {}).get("files") == files

    def keep(self, paths):
        """Drop the lines of parts that are not among ``paths``."""
        self.rows = {path: row for path, row in self.rows.items() if path in set(paths)}

    def add(self, row):
        """Add a part's dict, which has "path", "verdict" and "files", and write its line at once."""
        row = {**row, "judged_with": self._tag}
        self.rows[row["path"]] = row
        self._file.write(_line(row))
        self._file.flush()

    def finish(self, order):
        """Write both files anew with the parts in the order of ``order`` [path], without parts that were not judged."""
        self._file.close()
        rows = [self.rows[path] for path in order if path in self.rows]
        atomic_write_text(self._path, "".join(map(_line, rows)))
        atomic_write_text(self._table, table(rows))

    def close(self):
        """Close the file of lines; write no table."""
        self._file.close()

    def _read(self):
        return {row["path"]: row for row in read_lines(self._path) if row["judged_with"] == self._tag}


def read_lines(path):
    """[dict] of the parts in a verdicts.jsonl; [] if the file is missing. Lines that are no verdicts are skipped.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
            if {"path", "verdict", "judged_with"} <= set(row):
                rows.append(row)
        except (ValueError, TypeError):
            continue  # a killed process leaves half a line
    return rows


def table(rows):
    """Text of verdicts.csv: numbers in full precision, an empty cell where there is none."""
    shares = sorted({f"share_{name}" for row in rows for name in row.get("shares", ())})
    scores = list(dict.fromkeys(f"score_{name}" for row in rows for name in row.get("scores", ())))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FIRST, *SECOND, *shares, *scores])
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
        writer.writerow([_cell(values.get(name)) for name in (*FIRST, *SECOND, *shares, *scores)])
    return text.getvalue()


def _cell(value):
    return "" if value is None else repr(value) if isinstance(value, float) else value


def _line(row):
    return json.dumps(row, ensure_ascii=False) + "\n"
