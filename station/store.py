"""What is kept of a part besides its verdict: the recording's files and the pictures. Fails and parts that could not be
judged are kept for some days, drawn parts as a ring, passed ones as another ring. Beyond the allowed size the oldest
passed parts go first, then the oldest of the others. When the disk is nearly full nothing is kept, so that the journal
can go on."""

import hashlib
import shutil
import time
import uuid
from pathlib import Path
from typing import NamedTuple

SIGNATURES = ((b"\x89PNG", ".png"), (b"\xff\xd8", ".jpg"), (b"II", ".tiff"), (b"MM", ".tiff"), (b"BM", ".bmp"))
FAILED, DRAWN, PASSED = "failed", "drawn", "passed"
KINDS = ("rgb", "xyz", "depth")  # of files
PICTURES = ("part", "depth", "normal")
OF_PICTURES = 500_000  # bytes that a part's three pictures take at most
DAY = 86400.0  # seconds
MIB, GIB = 2**20, 2**30
# "size" adds up all parts that would be kept before this one: passed parts are the first to go, then the oldest
GONE = """
WITH ringed AS (SELECT *, ROW_NUMBER() OVER (PARTITION BY class ORDER BY part DESC) AS place FROM kept),
    young AS (SELECT * FROM ringed WHERE CASE class WHEN 'passed' THEN place <= ? WHEN 'drawn' THEN place <= ?
        ELSE epoch >= ? END),
    sized AS (SELECT part, SUM(bytes) OVER (ORDER BY class = 'passed', class <> 'drawn', part DESC) AS size FROM young)
SELECT part FROM kept WHERE part NOT IN (SELECT part FROM sized WHERE size <= ?)
"""


class Recording(NamedTuple):
    """A part that has come in: a folder that holds its files alone, {kind: path}, {kind: SHA-256}, and what was said
    about it. ``check``: a master part, which counts in no rate, is not drawn and not watched for drift."""

    folder: Path
    files: dict
    sha256: dict
    name: str | None = None
    recipe: str | None = None
    serial: str | None = None
    metadata: dict = {}
    check: bool = False


class Store:
    """The folder of kept files beside the journal, a folder for each part; the table ``kept`` is its index."""

    def __init__(self, journal, settings):
        self._folder, self._journal, self.settings = Path(f"{journal.path}.files"), journal, settings
        self._arriving = self._folder / "arriving"

    def begin(self):
        """Make the folder, and remove what a killed process left of parts that had just come."""
        shutil.rmtree(self._arriving, ignore_errors=True)
        self._arriving.mkdir(parents=True)

    def take(self, sources, **facts):
        """:class:`Recording` of a part's files, {"rgb", "xyz" or "depth": open binary file}, with these ``facts``;
        OSError where they cannot be stored."""
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
        return Recording(folder, paths, hashes, **facts)

    def drop(self, recording):
        """Remove a recording's folder, if it is still there."""
        shutil.rmtree(recording.folder, ignore_errors=True)

    @property
    def has_room(self):
        """Whether there is room for another part's files."""
        return shutil.disk_usage(self._folder).free >= self.settings.free_gib * GIB

    def folder_of(self, number):
        """The folder of a kept part."""
        return self._folder / f"{number // 1000:06d}" / str(number)

    def keep(self, number, recording):
        """Keep a recording's folder under the part's number, which is in the index already."""
        target = self.folder_of(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        recording.folder.rename(target)

    def files_of(self, number):
        """{kind: path} of the kept files of a part; empty if they are not all there."""
        there = [path for path in self.folder_of(number).glob("*") if path.name != "depth.jpg"]  # that one is drawn
        found = {path.stem: path for path in there if path.stem in KINDS}
        return found if len(found) == 2 else {}

    def picture(self, number, name):
        """The path of a part's picture, or None."""
        path = self.folder_of(number) / f"{name}.jpg"
        return path if name in PICTURES and path.is_file() else None

    def tidy(self):
        """Remove what the rules do not keep any more; parts of that age wait for no review either."""
        rules, since = self.settings, time.time() - self.settings.keep_days * DAY
        limits = (rules.keep_passed, rules.keep_drawn, since, rules.keep_gib * GIB)
        for (number,) in self._journal.rows(GONE, limits):
            shutil.rmtree(self.folder_of(number), ignore_errors=True)
            self._journal.execute("DELETE FROM kept WHERE part = ?", (number,))
        last = "SELECT number FROM events WHERE kind = 'verdict' AND epoch < ? ORDER BY epoch DESC LIMIT 1"
        self._journal.execute(f"DELETE FROM open WHERE part <= ({last})", (since,))
