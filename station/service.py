"""The station itself: a bounded queue, one part judged at a time, its verdict written before it is answered."""

import contextlib
import hashlib
import json
import queue
import re
import sqlite3
import threading
import time
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from common.errors import InputError, tell
from inspection.verdict import PASS
from station import sampling
from station.journal import JournalError
from station.store import DRAWN, FAILED, PASSED, PICTURES, Arrived, size_of
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
    """A part that has come in. ``check``: a master part or the like, which counts in no rate, is not drawn and is not
    watched for drift."""

    arrived: Arrived
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
    """A part in the queue. Who answers it holds ``lock``: the judge, or who gives it up."""

    def __init__(self, recording):
        self.recording, self.answer, self.lock, self.started = recording, Future(), threading.Lock(), 0.0


class Station:
    """Takes recordings, judges, records, keeps and tells.

    Args:
        journal, recipes, store: what it works with.
        settings: :class:`Settings`.

    Attributes:
        state: LOADING, READY, STOPPING or STUCK.
        counts: {(recipe, verdict): parts judged since the start}.
        seconds_spent: on these parts.
        events: number of events told since the start.
    """

    def __init__(self, journal, recipes, store, settings=Settings()):
        self.journal, self.recipes, self.store, self.settings = journal, recipes, store, settings
        self.watches, self.state, self.counts = Watches(journal), LOADING, Counter()
        self.seconds_spent, self.events = 0.0, 0
        self._queue, self._drawings = queue.Queue(settings.waiting), queue.Queue(DRAWINGS)
        self._listeners, self._at_hand, self._ended = [], None, threading.Event()
        self._worker = threading.Thread(target=self._work, name="judge", daemon=True)

    def listen(self, hear):
        """Have ``hear(event)`` called after each verdict, review, comparison and alarm."""
        self._listeners.append(hear)

    def tell_all(self, event):
        """Tell the listeners of an event; one that fails disturbs nobody."""
        self.events += 1
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
        self.store.begin()
        self.recipes.load_all()
        models = {name: self.recipes.get(name).sha256 for name in self.recipes.names}
        for name in models:
            self.watches.of(self.recipes.get(name))
        self.journal.append("start", {"models": models, **self.settings._asdict(), **self.store.rules._asdict()})
        self._worker.start()
        for work in (self._draw, self._look_after):
            threading.Thread(target=work, daemon=True).start()
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
        if self._worker.ident is not None:  # it was started
            self._worker.join(seconds)
        while self._drawings.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.02)
        return not self._worker.is_alive()

    @property
    def waiting(self):
        """Number of parts in the queue."""
        return self._queue.qsize()

    # ------------------------------------------------------------ taking parts

    def submit(self, recording):
        """Put a recording into the queue; returns the Future of its answer, a dict.

        The Future raises Busy if the station stops before it comes to the part, InputError for an unknown recipe, and
        JournalError if the verdict could not be written. The recording's folder is kept or removed in any case.

        Raises:
            Busy: it is not taken.
        """
        job = _Job(recording)
        try:
            if self.state != READY:
                raise Busy(f"the station is {self.state}", 5)
            self._queue.put_nowait(job)
        except (Busy, queue.Full) as error:
            self.store.drop(recording.arrived)
            if isinstance(error, Busy):
                raise
            mean = self.seconds_spent / max(1, sum(self.counts.values())) or 1.0
            raise Busy(f"{self.settings.waiting} parts are waiting already", mean * self.settings.waiting / 2) from None
        if self.state == STOPPING:  # begun meanwhile: begin_stop may have emptied the queue before
            self._send_back(job)
        return job.answer

    def _send_back(self, job):
        with job.lock:
            if not job.answer.done():
                job.answer.set_exception(Busy(f"the station is {self.state}", 10))
        self.store.drop(job.recording.arrived)

    def _work(self):
        while not self._ended.is_set():
            with contextlib.suppress(queue.Empty):
                self._take(self._queue.get(timeout=WATCH_SECONDS))

    def _take(self, job):
        job.started, self._at_hand = time.monotonic(), job
        try:
            if not job.answer.done() and job.answer.set_running_or_notify_cancel():
                self._judge(job)
        except Exception as error:  # whatever it is: one part's trouble must not end the station
            if not isinstance(error, (JournalError, InputError)):
                tell("station.py", f"{type(error).__name__}: {error}")
            with job.lock:
                if not job.answer.done():
                    job.answer.set_exception(error)
        finally:
            self._at_hand = None
            self.store.drop(job.recording.arrived)
            if self.state == STUCK:
                self.state = READY

    def _judge(self, job):
        recording = job.recording
        model, sha256 = self.recipes.get(recording.recipe), recording.arrived.sha256
        content_hash = _digest(sha256)
        key = _digest([sha256, model.sha256, model.options, recording.check])
        known = self.journal.by_key(key)
        if known is not None:
            with job.lock:
                if not job.answer.done():
                    job.answer.set_result({**self.answer(known), "repeated": True})
            return
        before = self.journal.first_of(content_hash, model.recipe)  # by another version, calibration or option
        counts = not recording.check and before is None  # a part counts once, and a master part never
        draw = sampling.draw(self.journal.secret, content_hash, self.settings.every if counts else 0)
        judged = model.judge(recording.arrived.files)
        mark = model.fingerprint(recording.arrived.files) if draw.chance is not None else ""
        with job.lock:  # from here on the part is not given up any more
            if job.answer.done():
                return
            ranks, alarms = self.watches.add(model, judged.statistics, draw) if counts else ({}, ())
            ranked = 0 if not (counts and judged.statistics) else 1 if ranks else 2
            room = self.store.has_room
            kind = DRAWN if draw.chance is not None else PASSED if judged.verdict == PASS else FAILED
            kept = (kind, size_of(recording.arrived)) if room else None
            more = {"ranks": ranks, "fingerprint": mark} | ({} if before is None else {"judged_before": before})
            if not room:
                more |= {"pictures": False, "note": "the disk is nearly full: files and pictures are not kept"}
            try:
                columns = {"ranked": ranked, "recording": content_hash, "key": key}
                event = self._append(job, model, judged, draw, more, kept, **columns)
            except JournalError:
                self.watches.forget(model)  # it has ranked a part that is not in the journal
                raise
            if room:
                self._keep(event, recording, judged)
            job.answer.set_result(self.answer(event))
        self.counts[model.recipe, judged.verdict] += 1
        self.seconds_spent += time.monotonic() - job.started
        if alarms:
            columns = {"recipe": model.recipe, "model": model.sha256}
            self.tell_all(self.journal.append("drift alarm", {"statistics": alarms}, **columns))
        self.tell_all(event)

    def _append(self, job, model, judged, draw, more, kept=None, **columns):
        recording, stated = job.recording, ("threshold", "peak", "regions", "explanation", "statistics")
        content = {
            **{name: getattr(judged, name) for name in stated},
            "sha256": recording.arrived.sha256,
            "options": model.options,
            "milliseconds": round(judged.milliseconds, 2),
            "role": draw.role,
            "tie": draw.tie,
            "metadata": recording.metadata,
            "check": recording.check,
            "pictures": bool(judged.draw),
            **more,
        }
        columns |= {name: getattr(judged, name) for name in ("verdict", "p_value", "score")}
        columns |= {"serial": recording.serial, "name": recording.name, "recipe": model.recipe, "model": model.sha256}
        return self.journal.append("verdict", content, kept, chance=draw.chance, **columns)

    def _keep(self, event, recording, judged):
        try:
            self.store.keep(event.number, recording.arrived)
        except OSError as error:
            self._lost(event, error)
            return
        if judged.draw:
            self._drawings.put((event, judged.draw))

    def _lost(self, event, error):
        tell("station.py", f"part {event.number}: its files or pictures could not be kept ({error})")
        with contextlib.suppress(JournalError):
            self.journal.append("note", {"note": "files or pictures could not be kept"}, part=event.number)

    def _draw(self):
        while True:
            event, draw = self._drawings.get()
            try:
                draw(self.store.folder_of(event.number))
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
            if job.answer.done():
                return
            self.state = STUCK if self.state == READY else self.state
            model = self.recipes.get(job.recording.recipe)
            judged = model.refused(f"judging took longer than {self.settings.part_seconds:g} s")
            event = self._append(
                job, model, judged, sampling.Draw(None, None, 0.5, 0.5), {"ranks": {}, "fingerprint": ""}
            )
            job.answer.set_result(self.answer(event))
            self.tell_all(event)
        except Exception as error:
            job.answer.set_exception(error)
        finally:
            job.lock.release()

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
        """The JSON of a verdict's event: what /judge answers, what pages, webhook and MQTT get."""
        stated = ("threshold", "regions", "explanation", "milliseconds", "metadata", "check")
        sometimes = ("judged_before", "note", "clock")
        return {
            "id": event.number,
            **{name: getattr(event, name) for name in ("time", "verdict", "p_value", "score", "name", "serial")},
            **{name: event.content[name] for name in stated},
            "model": event.recipe,
            "model_id": f"{event.recipe}:{event.model[:12]}",
            "drawn_for_review": event.chance is not None,
            "pictures": self.pictures(event),
            "review": event.review,
            **{name: event.content[name] for name in sometimes if name in event.content},
        }

    def pictures(self, event):
        """{name: address} of a part's pictures, as long as they are kept; they are drawn a moment after the verdict."""
        fresh = time.time() - event.epoch < DRAWN_AFTER
        if not event.content["pictures"] or not (fresh or self.store.picture(event.number, PICTURES[0])):
            return {}
        return {name: f"/parts/{event.number}/pictures/{name}.jpg" for name in PICTURES}

    def without_folders(self, error):
        """An error's text without folders of this machine, for answers."""
        text = str(error)
        for folder in (self.journal.path.parent.resolve(), self.recipes.folder.resolve(), Path.cwd()):
            text = text.replace(f"{folder}/", "").replace(str(folder), "")
        return re.sub(r"/\S+/", "", text)


def _digest(facts):
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
