"""Judges what cameras write into a folder: complete pairs, each once, in order of arrival, then moved away.

A recording's name is what its files share, without a word for the kind: ``0001_rgb.png`` and ``0001_xyz.tiff``,
``rgb/0001.png`` and ``xyz/0001.tiff``, or ``0001.png`` and ``0001.tiff`` are one recording 0001. A folder in the
first place that is named as a recipe chooses it. A file is complete when it has not changed for a while.

Judged recordings go to ``done/``, those that could not be judged to ``failed/``, each with ``NAME.verdict.json``. What
is about to be moved is noted in a hidden file first, so that a killed process leaves no half-moved recording.
"""

import concurrent.futures
import contextlib
import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import NamedTuple

from common.errors import InputError, tell
from common.files import atomic_write_text
from data.pairing import natural
from inspection.verdict import CANNOT_JUDGE
from station.journal import JournalError
from station.judging import Files
from station.service import STOPPING, Busy, Recording
from station.store import suffix_of

WORDS = {"rgb": "rgb", "color": "rgb", "colour": "rgb", "image": "rgb", "xyz": "xyz", "cloud": "xyz", "depth": "depth"}
SUFFIXES = {".png": "rgb", ".jpg": "rgb", ".jpeg": "rgb", ".bmp": "rgb", ".tif": "xyz", ".tiff": "xyz"}
IGNORED = (".tmp", ".part", ".partial", ".crdownload", ".json")
DONE, FAILED = "done", "failed"
MOVING = ".moving.json"
CHECK = "check_"  # a recording whose name begins so is a master part
AGAIN = 2.0  # seconds until a station that is busy, or a journal that cannot be written, is tried again


class Pair(NamedTuple):
    """A complete recording: its name with slashes, {kind: path}, the newest change of its files in ns."""

    name: str
    paths: dict
    changed: int


def kind_and_name(relative):
    """(kind, name) of a file by its path relative to the watched folder; None if it is no recording's file."""
    suffix = relative.suffix.lower()
    if suffix not in SUFFIXES:
        return None
    folders = list(relative.parts[:-1])
    for number in reversed(range(len(folders))):
        if folders[number].lower() in WORDS:
            kind = WORDS[folders.pop(number).lower()]
            return kind, "/".join([*folders, relative.stem])
    stem = relative.stem
    for sign in "_-. ":
        first, _, rest = stem.partition(sign)
        if rest and first.lower() in WORDS:
            return WORDS[first.lower()], "/".join([*folders, rest])
        rest, _, last = stem.rpartition(sign)
        if rest and last.lower() in WORDS:
            return WORDS[last.lower()], "/".join([*folders, rest])
    return SUFFIXES[suffix], "/".join([*folders, stem])


class Folder:
    """The watched folder.

    Args:
        incoming: where files appear; ``done`` and ``failed`` are made in it.
        station: ``station.service.Station``.
        recipe: for recordings in no recipe's folder; None: the only one.
        settle: seconds without a change after which a file is complete.
        poll: ask for changes in turns, as network shares need, instead of being told.
    """

    def __init__(self, incoming, station, recipe=None, settle=1.0, poll=False):
        self.incoming, self._station, self._recipe = Path(incoming), station, recipe
        self._settle, self._poll, self._seen, self._unmovable = settle, poll, {}, {}
        self.stop = threading.Event()

    def run(self):
        """Watch until ``stop`` is set or the station stops."""
        from watchfiles import watch

        self.finish_moves()
        milliseconds = max(50, int(1000 * self._settle / 2))
        for _ in watch(
            self.incoming,
            stop_event=self.stop,
            force_polling=self._poll or None,
            debounce=milliseconds,
            rust_timeout=milliseconds,
            yield_on_timeout=True,
            raise_interrupt=False,
        ):
            try:
                self.judge_all(self.look())
            except OSError as error:  # such as a network share that is away for a while
                tell("station.py", f"{error.filename or self.incoming}: {error.strerror or error}; trying again")
                self.stop.wait(AGAIN)
            if self._station.state == STOPPING:
                return

    # ------------------------------------------------------------ looking

    def look(self, now=None):
        """[:class:`Pair`] that are complete, in order of arrival."""
        now, found, seen = time.monotonic() if now is None else now, {}, {}
        for path, stat in _files(self.incoming):
            relative = path.relative_to(self.incoming)
            known = kind_and_name(relative)
            if known is None:
                continue
            facts = stat.st_size, stat.st_mtime_ns
            before, since = self._seen.get(path, (None, now))
            seen[path] = facts, since if before == facts else now
            found.setdefault(known[1], {}).setdefault(known[0], []).append((path, *facts))
        self._seen = seen
        pairs = []
        for name, kinds in found.items():
            pair = self._complete(name, kinds, now)
            if pair is not None:
                pairs.append(pair)
        return sorted(pairs, key=lambda pair: (pair.changed, natural(pair.name)))

    def _complete(self, name, kinds, now):
        other = "xyz" if "xyz" in kinds else "depth"
        if "rgb" not in kinds or other not in kinds:
            return None
        files = {kind: sorted(kinds[kind])[0] for kind in ("rgb", other)}
        for path, *facts in files.values():
            known, since = self._seen[path]
            if now - since < self._settle or self._unmovable.get(path) == known:
                return None
        return Pair(name, {kind: file[0] for kind, file in files.items()}, max(file[2] for file in files.values()))

    # ------------------------------------------------------------ judging

    def judge_all(self, pairs):
        """Judge ``pairs`` one after the other and move them, until ``stop`` is set."""
        for pair in pairs:
            if self.stop.is_set() or self._station.state == STOPPING:
                return
            with contextlib.suppress(FileNotFoundError):  # it has vanished meanwhile
                if all(self._seen[path][0] == _facts(path) for path in pair.paths.values()):
                    self._judge(pair)

    def _judge(self, pair):
        answer = None
        while answer is None and not self.stop.is_set():
            try:
                answer = self._answer(pair)
            except (Busy, JournalError) as error:
                if self._station.state == STOPPING:
                    return
                if isinstance(error, JournalError):
                    tell("station.py", f"{pair.name}: {error}; trying again")
                self.stop.wait(AGAIN if isinstance(error, JournalError) else 0.1)
        if answer is not None:
            try:
                self._move(pair, answer)
            except OSError as error:
                tell("station.py", f"{error.filename}: is judged, but cannot be moved ({error.strerror}); it stays")
                self._unmovable |= {path: self._seen[path][0] for path in pair.paths.values()}

    def _answer(self, pair):
        """The station's answer; a recording that it refuses gets one too."""
        recipe, name = self._recipe, pair.name
        first, _, rest = name.partition("/")
        if rest and first in self._station.recipes.names:
            recipe, name = first, rest
        folder = self._station.store.new_folder()
        try:
            paths = {}
            for kind, path in pair.paths.items():
                paths[kind] = folder / f"{kind}{suffix_of(path)}"
                shutil.copyfile(path, paths[kind])
            files = Files(paths["rgb"], paths.get("xyz"), paths.get("depth"))
            serial = name.rpartition("/")[2]
            recording = Recording(folder, files, pair.name, recipe, serial, {}, serial.startswith(CHECK))
            waiting = self._station.submit(recording)
        except BaseException:
            self._station.store.drop(folder)
            raise
        try:
            return waiting.result()
        except InputError as error:
            return {"id": None, "verdict": CANNOT_JUDGE, "explanation": str(error)}
        except concurrent.futures.CancelledError:
            raise Busy("the station is stopping", 1) from None

    # ------------------------------------------------------------ moving

    def _move(self, pair, answer):
        where = self.incoming / (FAILED if answer["verdict"] == CANNOT_JUDGE else DONE)
        number, mark = 1, ""
        while (where / f"{pair.name}{mark}.verdict.json").exists():
            number += 1
            mark = f"~{number}"
        moves = {}
        for path in pair.paths.values():
            inside = path.relative_to(self.incoming)
            moves[inside.as_posix()] = (
                (where / inside).with_stem(inside.stem + mark).relative_to(self.incoming).as_posix()
            )
        verdict = (where / f"{pair.name}{mark}.verdict.json").relative_to(self.incoming).as_posix()
        plan = {"moves": moves, "verdict": verdict, "answer": answer}
        note = self.incoming / f".{abs(hash(pair.name)):x}{MOVING}"
        atomic_write_text(note, json.dumps(plan))
        self._carry_out(note, plan)

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
        text = json.dumps(told, ensure_ascii=False, indent=1) + "\n"
        atomic_write_text(self.incoming / plan["verdict"], text)
        note.unlink(missing_ok=True)


def _files(folder):
    """Yield (path, stat) of the files below the watched folder that are not hidden, unfinished or moved away."""
    waiting = [(Path(folder), True)]
    while waiting:
        place, top = waiting.pop()
        with contextlib.suppress(FileNotFoundError), os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower().endswith(IGNORED):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        if not (top and entry.name in (DONE, FAILED)):
                            waiting.append((Path(entry.path), False))
                    elif entry.is_file(follow_symlinks=False):
                        yield Path(entry.path), entry.stat(follow_symlinks=False)


def _facts(path):
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
