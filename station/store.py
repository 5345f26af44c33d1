"""What is kept of a part besides its verdict: the recording's files and the pictures, under rules that bound them.

Fails and parts that could not be judged are kept for some days, drawn parts as a ring, passed ones as another ring.
If all of it exceeds the allowed size, the oldest passed parts go first, then the oldest of the others. When the disk
is nearly full nothing is kept any more, so that the journal can go on.
"""

import hashlib
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
OF_PICTURES = 500_000  # bytes that a part's three pictures take at most
MIB, GIB = 2**20, 2**30


class Rules(NamedTuple):
    """How much is kept."""

    days: float = 90  # fails and parts that could not be judged
    passed: int = 1000  # passed parts
    drawn: int = 3000  # parts drawn for review: two thirds of them calibrate
    most_bytes: float = 50 * GIB
    free_bytes: float = 2 * GIB  # of the disk; with less free nothing is kept


class Arrived(NamedTuple):
    """A part's files as they have come: a folder that holds them alone, and {kind: SHA-256}."""

    folder: Path
    files: Files
    sha256: dict


class Store:
    """The folder of kept files, a folder for each part; ``kept`` of the journal is its index."""

    def __init__(self, folder, journal, rules=Rules()):
        self._folder, self._journal, self.rules, self._lock = Path(folder), journal, rules, threading.Lock()
        self._arriving = self._folder / "arriving"

    def begin(self):
        """Make the folder, and remove what a killed process left of parts that had just come."""
        shutil.rmtree(self._arriving, ignore_errors=True)
        self._arriving.mkdir(parents=True)

    def take(self, sources):
        """:class:`Arrived` from a part's files, {"rgb", "xyz" or "depth": open binary file}.

        Raises:
            OSError: they cannot be read, or not be stored.
        """
        folder, paths, hashes = self._arriving / uuid.uuid4().hex, {}, {}
        folder.mkdir()
        try:
            for kind, source in sources.items():
                block, digest = source.read(MIB), hashlib.sha256()
                suffix = next((suffix for signature, suffix in SIGNATURES if block.startswith(signature)), "")
                paths[kind] = folder / f"{kind}{suffix}"
                with open(paths[kind], "wb") as file:
                    while block:
                        file.write(block)
                        digest.update(block)
                        block = source.read(MIB)
                hashes[kind] = digest.hexdigest()
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Arrived(folder, Files(paths["rgb"], paths.get("xyz"), paths.get("depth")), hashes)

    def drop(self, arrived):
        """Remove an arrived part's folder, if it is still there."""
        shutil.rmtree(arrived.folder, ignore_errors=True)

    @property
    def has_room(self):
        """Whether there is room for another part's files."""
        return shutil.disk_usage(self._folder).free >= self.rules.free_bytes

    def folder_of(self, number):
        """The folder of a kept part."""
        return self._folder / f"{number // 1000:06d}" / str(number)

    def keep(self, number, arrived):
        """Keep an arrived part's folder under the part's number, which is in the index already.

        Raises:
            OSError: it could not be kept.
        """
        target = self.folder_of(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        arrived.folder.rename(target)

    def files_of(self, number):
        """The kept :class:`Files` of a part, or None."""
        found = {}
        for path in sorted(self.folder_of(number).glob("*")):
            if path.name != "depth.jpg":  # the drawn picture of the depth; an uploaded depth is no JPEG
                found.setdefault(path.stem, path)
        files = Files(*(found.get(kind) for kind in Files._fields))
        return files if files.rgb and (files.xyz or files.depth) else None

    def picture(self, number, name):
        """The path of a part's picture, or None."""
        path = self.folder_of(number) / f"{name}.jpg"
        return path if name in PICTURES and path.is_file() else None

    def tidy(self):
        """Remove what the rules do not keep any more; parts of that age wait for no review either."""
        with self._lock:
            ring = "SELECT part FROM kept WHERE class = ? ORDER BY part DESC LIMIT -1 OFFSET ?"
            gone = self._journal.rows(ring, (PASSED, self.rules.passed))
            gone += self._journal.rows(ring, (DRAWN, self.rules.drawn))
            old = "SELECT part FROM kept WHERE class = ? AND epoch < ?"
            gone += self._journal.rows(old, (FAILED, since := time.time() - self.rules.days * DAY))
            self._remove(number for (number,) in gone)
            order = "ORDER BY class = 'passed', class <> 'drawn', part DESC"  # the last are the first to go
            most = f"SELECT part FROM (SELECT part, SUM(bytes) OVER ({order}) AS size FROM kept) WHERE size > ?"
            self._remove(number for (number,) in self._journal.rows(most, (self.rules.most_bytes,)))
            last = "SELECT number FROM events WHERE kind = 'verdict' AND epoch < ? ORDER BY epoch DESC LIMIT 1"
            self._journal.execute(f"DELETE FROM open WHERE part <= ({last})", (since,))

    def _remove(self, numbers):
        for number in numbers:
            shutil.rmtree(self.folder_of(number), ignore_errors=True)
            self._journal.execute("DELETE FROM kept WHERE part = ?", (number,))


def size_of(arrived):
    """Bytes that an arrived part will take, with its pictures."""
    return OF_PICTURES + sum(path.stat().st_size for path in arrived.files if path)


def store_of(journal_path):
    """The folder of what is kept, beside the journal."""
    return Path(f"{journal_path}.files")
