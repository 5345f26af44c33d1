"""The station itself: a bounded queue, one part judged at a time, its verdict written before it is answered."""

import contextlib
import hashlib
import json
import queue
import shutil
import sqlite3
import threading
import time
from concurrent.futures import Future
from typing import NamedTuple

from common.errors import InputError, tell
from common.files import sha256_of
from inspection.verdict import PASS, VERDICTS
from station import answers, sampling
from station.journal import JournalError
from station.judging import Files
from station.store import DRAWN, FAILED, PASSED, PICTURES, size_of
from station.watching import Watches

TIDY_SECONDS, WATCH_SECONDS = 60.0, 0.2  # between two looks: at what is kept; at how long the part at hand takes
DRAWN_AFTER = 60.0  # seconds after a verdict its pictures are there, or never will be
DRAWINGS = 64  # parts whose pictures wait to be drawn
LOADING, READY, STOPPING, STUCK = "loading", "ready", "stopping", "stuck"


class Busy(Exception):
    """The part was not taken: the queue is full, or the station is loading, stopping or stuck. ``seconds``: after
    which another try makes sense."""

    def __init__(self, message, seconds):
        super().__init__(message)
        self.seconds = max(1, round(seconds))


class Recording(NamedTuple):
    """A part that has come in.

    ``folder``: from ``Store.new_folder``, holds ``files`` alone; ``check``: a master part or the like, which counts in
    no rate, is not drawn and is not watched for drift.
    """

    folder: object
    files: Files
    name: str | None = None
    recipe: str | None = None
    serial: str | None = None
    metadata: dict = {}
    check: bool = False


class Settings(NamedTuple):
    """Limits of the station."""

    every: int = 50  # 1 in so many parts is drawn for review; 0: none
    waiting: int = 32  # parts in the queue
    part_seconds: float = 60.0


class _Job:
    def __init__(self, recording):
        self.recording, self.answer, self.started, self.lock = recording, Future(), None, threading.Lock()
        self.settled = False

    def settle(self, result=None, error=None):
        """Answer the job; False if it was answered already."""
        with self.lock:
            if self.settled:
                return False
            self.settled = True
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(result)
        return True


class Station:
    """Takes recordings, judges, records, keeps and tells.

    Args:
        journal, recipes, store: what it works with.
        settings: :class:`Settings`.
    """

    def __init__(self, journal, recipes, store, settings=Settings()):
        self.journal, self.recipes, self.store, self.settings = journal, recipes, store, settings
        self.watches, self.state, self.counts = Watches(journal), LOADING, {}
        self.seconds_spent = 0.0
        self._queue, self._drawings = queue.Queue(settings.waiting), queue.Queue(DRAWINGS)
        self._listeners, self._at_hand, self._ended = [], None, threading.Event()
        self._worker = None

    def listen(self, hear):
        """Have ``hear(event)`` called after each event of a verdict, review, promotion, calibration or alarm."""
        self._listeners.append(hear)

    def tell_all(self, event):
        """Tell the listeners of an event; one that fails disturbs nobody."""
        for hear in tuple(self._listeners):
            try:
                hear(event)
            except Exception as error:  # a broken line to the plant must not stop the judging
                tell("station.py", f"a listener failed: {error}")

    # ------------------------------------------------------------ life

    def start(self):
        """Load the models and begin to judge.

        Raises:
            InputError: a model cannot be used.
        """
        self.recipes.load_all()
        for name in self.recipes.names:
            self.watches.of(self.recipes.get(name))
        models = {name: self.recipes.get(name).sha256 for name in self.recipes.names}
        facts = {"models": models, **self.settings._asdict(), **self.store.rules._asdict()}
        self.journal.append("start", facts)
        self._worker = threading.Thread(target=self._work, name="judge", daemon=True)
        for thread in (
            self._worker,
            threading.Thread(target=self._draw, name="draw", daemon=True),
            threading.Thread(target=self._look_after, name="look after", daemon=True),
        ):
            thread.start()
        if self.state == LOADING:
            self.state = READY

    def begin_stop(self):
        """Take nothing more; parts in the queue are sent back, the one at hand is finished."""
        self.state = STOPPING
        self._ended.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._send_back(self._queue.get_nowait())

    def finish(self, seconds):
        """Wait at most so many seconds for the part at hand and the pictures; returns whether all was finished."""
        self.begin_stop()
        end = time.monotonic() + seconds
        if self._worker is not None:
            self._worker.join(max(0.0, end - time.monotonic()))
            while self._drawings.unfinished_tasks and time.monotonic() < end:
                time.sleep(0.02)
        return self._worker is None or not self._worker.is_alive()

    @property
    def waiting(self):
        """Number of parts in the queue."""
        return self._queue.qsize()

    # ------------------------------------------------------------ taking parts

    def submit(self, recording):
        """Put a recording into the queue; returns the Future of its answer, a dict.

        The Future raises Busy if the station stops before it comes to the part, InputError for an unknown recipe, and
        JournalError if the verdict could not be written.

        Raises:
            Busy: it is not taken.
        """
        if self.state != READY:
            raise Busy(f"the station is {self.state}", 5)
        job = _Job(recording)
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            judged = sum(self.counts.values())
            mean = self.seconds_spent / judged if judged else 1.0
            raise Busy(f"{self.settings.waiting} parts are waiting already", mean * self.settings.waiting / 2) from None
        if self.state != READY:  # stopped meanwhile: begin_stop may have emptied the queue before
            self._send_back(job)
        return job.answer

    def _send_back(self, job):
        job.settle(error=Busy(f"the station is {self.state}", 10))
        self.store.drop(job.recording.folder)

    def _work(self):
        while not self._ended.is_set():
            try:
                job = self._queue.get(timeout=WATCH_SECONDS)
            except queue.Empty:
                continue
            job.started, self._at_hand = time.monotonic(), job
            try:
                self._judge(job)
            except Exception as error:  # whatever it is: one part's trouble must not end the station
                if not isinstance(error, (JournalError, InputError)):
                    tell("station.py", f"{type(error).__name__}: {error}")
                job.settle(error=error)
            finally:
                self._at_hand = None
                self.store.drop(job.recording.folder)
                if self.state == STUCK:
                    self.state = READY

    def _judge(self, job):
        recording = job.recording
        model = self.recipes.get(recording.recipe)
        hashes = {kind: sha256_of(path) for kind, path in recording.files._asdict().items() if path is not None}
        content_hash = _digest(hashes)
        key = _digest([hashes, model.sha256, model.options, recording.check])
        known = self.journal.by_key(key)
        if known is not None:
            job.settle({**self.answer(known), "repeated": True})
            return
        before = self.journal.first_of(content_hash, model.recipe)  # by another version, calibration or option
        counts = not recording.check and before is None  # a part counts once, and a master part never
        draw = sampling.draw(self.journal.secret, content_hash, self.settings.every if counts else 0)
        judged = model.judge(recording.files)
        with job.lock:  # from here on the part is not given up any more
            if job.settled:
                return
            ranks, alarms = self.watches.add(model, judged.statistics, draw) if counts else ({}, ())
            ranked = 0 if not (counts and judged.statistics) else 1 if ranks else 2
            room = self.store.has_room
            kind = DRAWN if draw.chance is not None else PASSED if judged.verdict == PASS else FAILED
            kept = (kind, size_of(recording.folder)) if room else None
            content = self._content(job, model, judged, draw, hashes, ranks)
            if before is not None:
                content["judged_before"] = before
            if not room:
                content["pictures"] = False
                content["note"] = "the disk is nearly full: files and pictures are not kept"
            try:
                event = self._append(recording, model, judged, (content_hash, key), draw, ranked, content, kept)
            except JournalError:
                self.watches.forget(model)  # it has ranked a part that is not in the journal
                raise
            job.settled = True
        if room:
            self._keep(event, recording, judged)
        self._count(model, judged, job)
        job.answer.set_result(self.answer(event))
        if alarms:
            self._alarm(model, alarms)
        self.tell_all(event)

    def _content(self, job, model, judged, draw, hashes, ranks):
        recording = job.recording
        return {
            "sha256": hashes,
            "fingerprint": judged.fingerprint,
            "options": model.options,
            "threshold": judged.threshold,
            "peak": judged.peak,
            "regions": judged.regions,
            "explanation": judged.explanation,
            "milliseconds": round(judged.milliseconds, 2),
            "statistics": judged.statistics,
            "ranks": ranks,
            "role": draw.role,
            "tie": draw.tie,
            "metadata": recording.metadata,
            "check": recording.check,
            "pictures": bool(judged.draw),
        }

    def _append(self, recording, model, judged, hashes, draw, ranked, content, kept):
        return self.journal.append(
            "verdict",
            content,
            kept,
            recipe=model.recipe,
            model=model.sha256,
            serial=recording.serial,
            name=recording.name,
            recording=hashes[0],
            key=hashes[1],
            verdict=judged.verdict,
            p_value=judged.p_value,
            score=judged.score,
            chance=draw.chance,
            ranked=ranked,
        )

    def _keep(self, event, recording, judged):
        try:
            self.store.keep(event.number, recording.folder)
        except OSError as error:
            self._lost(event, error)
            return
        if judged.draw:
            self._drawings.put((event, judged.draw))

    def _lost(self, event, error):
        tell("station.py", f"part {event.number}: its files or pictures could not be kept ({error})")
        with contextlib.suppress(JournalError):
            self.journal.append("note", {"note": "files or pictures could not be kept"}, part=event.number)

    def _count(self, model, judged, job):
        self.counts[model.recipe, judged.verdict] = self.counts.get((model.recipe, judged.verdict), 0) + 1
        self.seconds_spent += time.monotonic() - job.started

    def _alarm(self, model, names):
        event = self.journal.append("drift alarm", {"statistics": names}, recipe=model.recipe, model=model.sha256)
        self.tell_all(event)

    def _draw(self):
        while True:
            event, draw = self._drawings.get()
            try:
                draw(self.store.folder_of(event.number))
                self.store.measure(event.number)
            except Exception as error:  # a picture less is no reason to stop
                self._lost(event, error)
            finally:
                self._drawings.task_done()

    def _look_after(self):
        tidied = time.monotonic()
        while not self._ended.wait(WATCH_SECONDS):
            job = self._at_hand
            if job is not None and time.monotonic() - job.started > self.settings.part_seconds:
                self._give_up(job)
            if time.monotonic() - tidied > TIDY_SECONDS:
                with contextlib.suppress(JournalError, sqlite3.Error):
                    self.store.tidy()
                tidied = time.monotonic()

    def _give_up(self, job):
        """Answer for a part that takes too long. Its key stays free, so that the same files can be judged later."""
        if not job.lock.acquire(timeout=0.01):
            return  # its verdict is being written
        try:
            if job.settled:
                return
            job.settled = True
        finally:
            job.lock.release()
        self.state = STUCK if self.state == READY else self.state
        try:
            model, recording = self.recipes.get(job.recording.recipe), job.recording
            judged = model.refused(f"judging took longer than {self.settings.part_seconds:g} s")
            draw = sampling.Draw(None, None, 0.5, 0.5)
            content = self._content(job, model, judged, draw, {}, {})
            event = self._append(recording, model, judged, (None, None), draw, 0, content, None)
            job.answer.set_result(self.answer(event))
            self.tell_all(event)
        except Exception as error:
            job.answer.set_exception(error)

    # ------------------------------------------------------------ people

    def review(self, number, truth, by, kind="", note=""):
        """Record what a person says about a part; returns the event.

        Args:
            truth: good, defect or unclear.
            by: the person's name.
            kind: of the defect.

        Raises:
            KeyError: there is no such part.
            InputError: something is missing.
            JournalError: it could not be written.
        """
        part = self.journal.part(number)
        if part is None:
            raise KeyError(number)
        if truth not in (sampling.GOOD, sampling.DEFECT, sampling.UNCLEAR):
            raise InputError(f"{truth!r}: a part is good, defect or unclear")
        if not by.strip():
            raise InputError("a review needs the name of who reviews")
        content = {"truth": truth, "kind": kind.strip(), "by": by.strip(), "note": note.strip()}
        event = self.journal.append("review", content, part=number, recipe=part.recipe, model=part.model)
        self.tell_all(event)
        return event

    # ------------------------------------------------------------ answers

    def answer(self, event):
        """A verdict as the JSON that everybody gets."""
        return answers.answer(event, self.pictures(event))

    def pictures(self, event):
        """{name: address} of a part's pictures, as long as they are kept; they are drawn a moment after the verdict."""
        fresh = time.time() - event.epoch < DRAWN_AFTER
        if not event.content["pictures"] or not (fresh or self.store.picture(event.number, PICTURES[0])):
            return {}
        return {name: f"/parts/{event.number}/pictures/{name}.jpg" for name in PICTURES}

    def numbers(self):
        """{(recipe, verdict): parts judged since the start}, with zeros."""
        zeros = {(name, verdict): 0 for name in self.recipes.names for verdict in VERDICTS}
        return {**zeros, **self.counts}

    @property
    def disk_free(self):
        """Bytes that are free on the journal's disk."""
        return shutil.disk_usage(self.journal.path.parent).free


def _digest(facts):
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
