"""Judges what cameras write into a folder: complete pairs, each once, in order of arrival, then moved away.

A recording's name is what its files share, without a word for the kind: ``0001_rgb.png`` and ``0001_xyz.tiff``,
``rgb/0001.png`` and ``xyz/0001.tiff``, or ``0001.png`` and ``0001.tiff`` are one recording 0001. A first folder named
as a recipe chooses it. What is about to be moved is noted in a hidden file first, so that a kill leaves no half of it.
"""

import contextlib
import json
import os
import re
import stat
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from common.errors import InputError, tell
from common.files import atomic_write_text
from data.pairing import natural
from inspection.verdict import CANNOT_JUDGE
from station.journal import JournalError
from station.service import Busy

WORDS = {"rgb": "rgb", "color": "rgb", "colour": "rgb", "image": "rgb", "xyz": "xyz", "cloud": "xyz", "depth": "depth"}
WITH_WORD = re.compile("({0})[-_. ](.+)|(.+)[-_. ]({0})".format("|".join(WORDS)), re.IGNORECASE)
SUFFIXES = {".png": "rgb", ".jpg": "rgb", ".jpeg": "rgb", ".bmp": "rgb", ".tif": "xyz", ".tiff": "xyz"}
DONE, FAILED = "done", "failed"
MOVING = ".moving.json"
CHECK = "check_"  # a recording whose name begins so is a master part
BUSY, AGAIN = 0.1, 2.0  # seconds until a busy station, and until a folder or journal that is away, is tried again


class Pair(NamedTuple):
    """A complete recording: its name with slashes, {kind: path}, {path: (size, time of the last change in ns)}."""

    name: str
    paths: dict
    facts: dict


def kind_and_name(relative):
    """(kind, name) of a file by its path relative to the watched folder; None if it is no recording's file."""
    kind, stem, folders = SUFFIXES.get(relative.suffix.lower()), relative.stem, list(relative.parts[:-1])
    named = [number for number, folder in enumerate(folders) if folder.lower() in WORDS]
    if kind and named:
        kind = WORDS[folders.pop(named[-1]).lower()]
    elif kind and (found := WITH_WORD.fullmatch(stem)):
        first, after, before, last = found.groups()
        kind, stem = WORDS[(first or last).lower()], after or before
    return kind and (kind, "/".join([*folders, stem]))


class Folder:
    """The watched folder; ``settle``: seconds without a change after which a file is complete."""

    def __init__(self, incoming, station, settle=1.0):
        self.incoming, self._station, self._settle, self._seen, self._unmovable = incoming, station, settle, {}, {}

    def run(self):
        """Look again and again, as network shares need, until the station stops."""
        self.finish_moves()
        while not self._station.stopping.wait(self._settle / 2):
            try:
                self.judge_all(self.look())
            except OSError as error:  # such as a network share that is away for a while
                tell("station.py", f"{error.filename or self.incoming}: {error.strerror or error}; trying again")
                self._station.stopping.wait(AGAIN)

    def look(self, now=None):
        """[:class:`Pair`] that are complete, in order of arrival."""
        now, names, seen, pairs = time.monotonic() if now is None else now, {}, {}, []
        for path, facts in _files(self.incoming):
            known = kind_and_name(path.relative_to(self.incoming))
            if known is not None:
                before, since = self._seen.get(path, (None, now))
                seen[path] = facts, since if before == facts else now
                names.setdefault(known[1], {}).setdefault(known[0], []).append(path)
        self._seen = seen
        for name, kinds in names.items():
            other = "xyz" if "xyz" in kinds else "depth"
            paths = {kind: min(kinds[kind]) for kind in ("rgb", other) if kind in kinds}
            facts = {path: seen[path][0] for path in paths.values()}
            settled = all(now - seen[path][1] >= self._settle for path in facts)
            if len(paths) == 2 and settled and self._unmovable.get(name) != facts:
                pairs.append(Pair(name, paths, facts))
        return sorted(pairs, key=lambda pair: (max(time for _, time in pair.facts.values()), natural(pair.name)))

    def judge_all(self, pairs):
        """Judge ``pairs`` one after the other and move them, until the station stops."""
        for pair in pairs:
            with contextlib.suppress(FileNotFoundError):  # it has vanished meanwhile
                if all(facts == _facts(os.stat(path)) for path, facts in pair.facts.items()):
                    self._judge(pair)

    def _judge(self, pair):
        while not self._station.stopping.is_set():
            try:
                return self._move(pair, self._answer(pair))
            except Busy:
                self._station.stopping.wait(BUSY)
            except JournalError as error:
                tell("station.py", f"{pair.name}: {error}; trying again")
                self._station.stopping.wait(AGAIN)

    def _answer(self, pair):
        """The station's answer; a recording that it refuses gets one too."""
        first, *_, serial = pair.name.split("/") if "/" in pair.name else (None, pair.name)
        recipe = first if first in self._station.recipes.names else None
        facts = {"name": pair.name, "recipe": recipe, "serial": serial, "check": serial.startswith(CHECK)}
        with contextlib.ExitStack() as opened:
            sources = {kind: opened.enter_context(open(path, "rb")) for kind, path in pair.paths.items()}
            recording = self._station.store.take(sources, **facts)
        try:
            return self._station.submit(recording).result()
        except InputError as error:
            return {"id": None, "verdict": CANNOT_JUDGE, "explanation": str(error)}

    def _move(self, pair, answer):
        where, number, mark = FAILED if answer["verdict"] == CANNOT_JUDGE else DONE, 1, ""
        while (self.incoming / where / f"{pair.name}{mark}.verdict.json").exists():
            number += 1
            mark = f"~{number}"
        moves = {}
        for path in pair.paths.values():
            inside = path.relative_to(self.incoming)
            moves[inside.as_posix()] = (where / inside.with_stem(inside.stem + mark)).as_posix()
        plan = {"moves": moves, "verdict": f"{where}/{pair.name}{mark}.verdict.json", "answer": answer}
        note = self.incoming / f".{uuid.uuid4().hex}{MOVING}"
        try:
            atomic_write_text(note, json.dumps(plan))
            self._carry_out(note, plan)
        except OSError as error:
            tell("station.py", f"{error.filename}: is judged, but cannot be moved ({error.strerror}); it stays")
            self._unmovable[pair.name] = pair.facts

    def finish_moves(self):
        """Complete what a killed process had begun to move."""
        for note in self.incoming.glob(f".*{MOVING}"):
            self._carry_out(note, json.loads(note.read_text(encoding="utf-8")))

    def _carry_out(self, note, plan):
        for source, target in plan["moves"].items():
            (self.incoming / target).parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.replace(self.incoming / source, self.incoming / target)
        told = {**plan["answer"], "files": list(plan["moves"].values())}
        atomic_write_text(self.incoming / plan["verdict"], json.dumps(told, ensure_ascii=False, indent=1) + "\n")
        note.unlink(missing_ok=True)


def _files(folder):
    """Yield (path, facts) of the regular files below the watched folder that are not hidden or moved away."""

    def raise_others(error):
        if not isinstance(error, FileNotFoundError):
            raise error

    for place, folders, names in os.walk(folder, onerror=raise_others):
        away = (DONE, FAILED) if Path(place) == Path(folder) else ()
        folders[:] = [name for name in folders if not name.startswith(".") and name not in away]
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                path = Path(place, name)
                if not name.startswith(".") and stat.S_ISREG((found := path.lstat()).st_mode):
                    yield path, _facts(found)


def _facts(found):
    return found.st_size, found.st_mtime_ns
