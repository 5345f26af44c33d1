"""What is kept of a part besides its verdict: the recording's files and the pictures, under rules that bound them.

Fails and parts that could not be judged are kept for some days, drawn parts as a ring, passed ones as another ring.
If all of it exceeds the allowed size, the oldest passed parts go first, then the oldest of the others. When the disk
is nearly full nothing is kept any more, so that the journal can go on.
"""

import shutil
import threading
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from station.journal import DAY
from station.judging import Files

SIGNATURES = ((b"\x89PNG", ".png"), (b"\xff\xd8", ".jpg"), (b"II", ".tiff"), (b"MM", ".tiff"), (b"BM", ".bmp"))
FAILED, DRAWN, PASSED = "failed", "drawn", "passed"
PICTURES = ("part", "depth", "normal")
GIB = 2**30


class Rules(NamedTuple):
    """How much is kept."""

    days: float = 90  # fails and parts that could not be judged
    passed: int = 1000  # passed parts
    drawn: int = 3000  # parts drawn for review: two thirds of them calibrate
    most_bytes: float = 50 * GIB
    free_bytes: float = 2 * GIB  # of the disk; with less free nothing is kept


class Store:
    """The folder of kept files, a folder for each part; ``kept`` of the journal is its index."""

    def __init__(self, folder, journal, rules=Rules()):
        self._folder, self._journal, self.rules, self._lock = Path(folder), journal, rules, threading.Lock()
        self._arriving = self._folder / "arriving"
        shutil.rmtree(self._arriving, ignore_errors=True)  # what a killed process left
        self._arriving.mkdir(parents=True)

    def new_folder(self):
        """A fresh folder for the files of a part that has just come.

        Raises:
            OSError: it cannot be made.
        """
        folder = self._arriving / uuid.uuid4().hex
        folder.mkdir()
        return folder

    def drop(self, folder):
        """Remove a folder from :meth:`new_folder`, if it is still there."""
        shutil.rmtree(folder, ignore_errors=True)

    @property
    def has_room(self):
        """Whether there is room for another part's files."""
        return shutil.disk_usage(self._folder).free >= self.rules.free_bytes

    def folder_of(self, number):
        """The folder of a kept part."""
        return part_folder(self._folder, number)

    def keep(self, number, folder):
        """Keep the folder of an arrived part under its number, which is in the index already.

        Raises:
            OSError: it could not be kept.
        """
        target = self.folder_of(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)

    def measure(self, number):
        """Write a kept part's size, after pictures were added, into the index.

        Raises:
            OSError, JournalError: it could not be done.
        """
        self._journal.execute("UPDATE kept SET bytes = ? WHERE part = ?", (size_of(self.folder_of(number)), number))

    def files_of(self, number):
        """The kept :class:`Files` of a part, or None."""
        return files_in(self._folder, number)

    def picture(self, number, name):
        """The path of a part's picture, or None."""
        path = self.folder_of(number) / f"{name}.jpg"
        return path if name in PICTURES and path.is_file() else None

    def tidy(self):
        """Remove what the rules do not keep any more; returns how many parts."""
        with self._lock:
            rules, now = self.rules, time.time()
            ring = "SELECT part FROM kept WHERE class = ? ORDER BY part DESC LIMIT -1 OFFSET ?"
            gone = [row[0] for row in self._journal.rows(ring, (PASSED, rules.passed))]
            gone += [row[0] for row in self._journal.rows(ring, (DRAWN, rules.drawn))]
            old = "SELECT part FROM kept WHERE class = ? AND epoch < ?"
            gone += [row[0] for row in self._journal.rows(old, (FAILED, now - rules.days * DAY))]
            self._remove(gone)
            size = self._journal.rows("SELECT COALESCE(SUM(bytes), 0) FROM kept")[0][0]
            if size > rules.most_bytes:
                for number, own in self._journal.rows(
                    "SELECT part, bytes FROM kept ORDER BY class <> 'passed', class = 'drawn', part"
                ):
                    if size <= rules.most_bytes:
                        break
                    self._remove([number])
                    size, gone = size - own, [*gone, number]
            return len(gone)

    def _remove(self, numbers):
        for number in numbers:
            shutil.rmtree(self.folder_of(number), ignore_errors=True)
            self._journal.execute("DELETE FROM kept WHERE part = ?", (number,))


def size_of(folder):
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir())


def store_of(journal_path):
    """The folder of what is kept, beside the journal."""
    return Path(f"{journal_path}.files")


def part_folder(folder, number):
    """The folder of a part in a store's folder."""
    return Path(folder) / f"{number // 1000:06d}" / str(number)


def files_in(folder, number):
    """The :class:`Files` of a part that a store's folder keeps, or None."""
    inside = part_folder(folder, number)
    kinds = {kind: next(iter(_uploaded(inside, kind)), None) for kind in ("rgb", "xyz", "depth")}
    if kinds["rgb"] is None or (kinds["xyz"] is None) == (kinds["depth"] is None):
        return None
    return Files(kinds["rgb"], kinds["xyz"], kinds["depth"])


def _uploaded(inside, kind):
    """Files of a kind as they came; the drawn picture of the depth is a JPEG too, an uploaded depth never is."""
    return (path for path in sorted(inside.glob(f"{kind}*")) if not (kind == "depth" and path.suffix == ".jpg"))


def suffix_of(path):
    """The suffix that fits a file's first bytes; "" if they are unknown."""
    with open(path, "rb") as file:
        head = file.read(4)
    return next((suffix for signature, suffix in SIGNATURES if head.startswith(signature)), "")
