"""The station itself: a bounded queue, one part judged at a time, its verdict written before it is answered."""

import concurrent.futures
import contextlib
import hashlib
import json
import queue
import re
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from common.errors import InputError, tell
from inspection.verdict import PASS
from station import sampling
from station.drift import Watches
from station.journal import JournalError
from station.store import DRAWN, FAILED, OF_PICTURES, PASSED, PICTURES, Store

TIDY_SECONDS, LOOK_SECONDS = 60.0, 0.2  # between two looks: at what is kept; at whether the station stops
DRAWN_AFTER = 60.0  # seconds after a verdict its pictures are there, or never will be
DRAWINGS = 64  # parts whose pictures wait to be drawn
LIMITS = ("sample", "waiting", "part_seconds", "keep_days", "keep_passed", "keep_drawn", "keep_gib", "free_gib")
LOADING, READY, STOPPING, STUCK = "loading", "ready", "stopping", "stuck"


class Busy(Exception):
    """The part was not taken; another try makes sense after ``seconds``."""

    def __init__(self, message, seconds):
        super().__init__(message)
        self.seconds = max(1, round(seconds))


class Station:
    """Takes recordings, judges, records, keeps and tells; ``settings`` has the numbers LIMITS.

    Since the start: ``counts`` {(recipe, verdict): parts}, ``seconds_spent`` on them, number of ``events`` told.
    ``stopping`` is set once nothing more is taken.
    """

    def __init__(self, journal, recipes, settings):
        self.journal, self.recipes, self.store, self.settings = journal, recipes, Store(journal, settings), settings
        self.watches, self.state, self.counts = Watches(journal), LOADING, Counter()
        self.seconds_spent, self.events, self._listeners = 0.0, 0, []
        self._waiting, self._drawings = queue.Queue(settings.waiting), queue.Queue(DRAWINGS)
        self._judge, self._begun, self.stopping = ThreadPoolExecutor(1, "judging"), [], threading.Event()
        self._worker = threading.Thread(target=self._work, name="station", daemon=True)

    def listen(self, hear):
        """Have ``hear(event)`` called after each verdict, review, comparison and alarm."""
        self._listeners.append(hear)

    def tell_all(self, event):
        """Tell the listeners of an event; one that fails disturbs nobody."""
        self.events += 1
        for hear in self._listeners:
            with _told("a line to the plant failed"):
                hear(event)

    def start(self):
        """Load the models and begin to judge."""
        self.store.begin()
        self.recipes.load_all()
        models = {model.recipe: model.sha256 for model, _ in self.judging}
        self.journal.append("start", {"models": models, **{name: getattr(self.settings, name) for name in LIMITS}})
        self._worker.start()
        threading.Thread(target=self._keep_house, daemon=True).start()
        if self.state == LOADING:
            self.state = READY

    def begin_stop(self):
        """Take nothing more; parts in the queue are sent back, the one at hand is finished."""
        self.state = STOPPING
        if not self.stopping.is_set():
            self._stopped = time.monotonic()
            self.stopping.set()
        with contextlib.suppress(queue.Empty):
            while True:
                recording, answer = self._waiting.get_nowait()
                self.store.drop(recording)
                if not answer.cancelled():
                    answer.set_exception(Busy("the station is stopping", 10))

    def finish(self, seconds):
        """Wait for the part at hand and the pictures until so many seconds after the stop began; whether it ended."""
        self.begin_stop()
        end = self._stopped + seconds
        if self._worker.ident is not None:  # it was started
            self._worker.join(max(0.0, end - time.monotonic()))
        while self._drawings.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.02)
        return not self._worker.is_alive()

    @property
    def waiting(self):
        """Number of parts in the queue."""
        return self._waiting.qsize()

    @property
    def judging(self):
        """[(Model that judges, its ``station.drift.Watch``)] of all recipes."""
        models = [self.recipes.get(name) for name in self.recipes.names]
        return [(model, self.watches.of(model)) for model in models]

    def submit(self, recording):
        """Put a :class:`station.store.Recording` into the queue; returns the Future of its answer, a dict.

        Busy, here or from the Future: it is not taken, or the station stops before. The Future raises InputError for an
        unknown recipe, and JournalError if the verdict could not be written. The recording's folder is kept or removed
        in any case.
        """
        answer = Future()
        try:
            if self.state != READY:
                raise Busy(f"the station is {self.state}", 5)
            self._waiting.put_nowait((recording, answer))
        except (Busy, queue.Full) as error:
            self.store.drop(recording)
            if isinstance(error, Busy):
                raise
            mean = self.seconds_spent / max(1, self.counts.total()) or 1.0
            raise Busy(f"{self.settings.waiting} parts are waiting already", mean * self.settings.waiting / 2) from None
        if self.state == STOPPING:  # begun meanwhile: begin_stop may have emptied the queue before
            self.begin_stop()
        return answer

    def _work(self):
        while self.state != STOPPING:
            with contextlib.suppress(queue.Empty):
                recording, answer = self._waiting.get(timeout=LOOK_SECONDS)
                try:
                    if answer.set_running_or_notify_cancel():
                        self._take(recording, answer)
                except Exception as error:  # whatever it is: one part's trouble must not end the station
                    if not isinstance(error, (JournalError, InputError)) or answer.done():
                        tell("station.py", f"{type(error).__name__}: {error}")
                    if not answer.done():
                        answer.set_exception(error)
                finally:
                    concurrent.futures.wait(self._begun)  # the files are not removed before
                    self.store.drop(recording)
                    self.state = READY if self.state == STUCK else self.state
        self._judge.shutdown(wait=False)

    def _take(self, recording, answer):
        """Draw, judge, record, keep, answer and tell."""
        begun, model, sha256 = time.monotonic(), self.recipes.get(recording.recipe), recording.sha256
        known = {"recording": _digest(sha256), "key": _digest([sha256, model.sha256, model.options, recording.check])}
        event = self.journal.newest("v.key = ?", (known["key"],))
        if event is not None:
            return answer.set_result({**self.answer(event), "repeated": True})
        first = "SELECT MIN(number) FROM events WHERE recording = ? AND recipe = ?"
        ((before,),) = self.journal.rows(first, (known["recording"], model.recipe))  # with another version or option
        counts = not recording.check and before is None  # a part counts once, and a master part never
        draw = sampling.draw(self.journal.secret, known["recording"], self.settings.sample if counts else 0)
        future = self._judge.submit(model.judge, recording.files)  # one that takes too long is given up
        self._begun = [future]
        concurrent.futures.wait([future], self.settings.part_seconds)
        if future.done():
            judged, more = future.result(), {} if before is None else {"judged_before": before}
        else:  # it counts nowhere, and its key stays free, so that the same files can be judged later
            self.state = STUCK if self.state == READY else self.state
            judged = model.refused(f"judging took longer than {self.settings.part_seconds:g} s")
            counts, draw, known, more = False, draw._replace(chance=None, role=None), {}, {}
        alarms, event = self._record(recording, model, judged, counts, draw, known, more)
        self.counts[model.recipe, event.verdict] += 1
        self.seconds_spent += time.monotonic() - begun
        answer.set_result(self.answer(event))
        if alarms:
            columns = {"recipe": model.recipe, "model": model.sha256}
            self.tell_all(self.journal.append("drift alarm", {"statistics": alarms}, **columns))
        self.tell_all(event)

    def _record(self, recording, model, judged, counts, draw, known, more):
        """Write the verdict and keep the files; returns (statistics that raise the drift alarm, the event)."""
        ranked, alarms = self.watches.add(model, judged.content["statistics"], draw) if counts else (0, ())
        keeps = self.store.has_room and bool(known)
        if known and not keeps:
            more = {**more, "note": "the disk is nearly full: files and pictures are not kept"}
        content = {
            **judged.content,
            "sha256": recording.sha256,
            "fingerprint": "" if draw.chance is None else model.fingerprint(recording.files),
            "options": model.options,
            "role": draw.role,
            "tie": draw.tie,
            "metadata": recording.metadata,
            "check": recording.check,
            "pictures": judged.pictures if keeps else (),
            **more,
        }
        columns = {"serial": recording.serial, "name": recording.name, "recipe": model.recipe, "model": model.sha256}
        columns |= {"verdict": judged.verdict, "p_value": judged.p_value, "score": judged.score, "ranked": ranked}
        kind = DRAWN if draw.chance is not None else PASSED if judged.verdict == PASS else FAILED
        kept = (kind, OF_PICTURES + sum(path.stat().st_size for path in recording.files.values())) if keeps else None
        try:
            event = self.journal.append("verdict", content, kept, chance=draw.chance, **columns, **known)
        except JournalError:
            self.watches.forget(model)  # it has ranked a part that is not in the journal
            raise
        with _told(f"part {event.number}: its files could not be kept"):
            if keeps:
                self.store.keep(event.number, recording)
            if content["pictures"]:
                self._drawings.put((event.number, judged.draw))
        return alarms, event

    def _keep_house(self):
        """Draw pictures as they are asked for, and look now and then at what is kept."""
        tidied = time.monotonic()
        while self._worker.is_alive() or not self._drawings.empty():
            with contextlib.suppress(queue.Empty):
                number, draw = self._drawings.get(timeout=LOOK_SECONDS)
                with _told(f"part {number}: its pictures could not be kept"):
                    draw(self.store.folder_of(number))
                self._drawings.task_done()
            if time.monotonic() - tidied > TIDY_SECONDS:
                with _told("old files could not be removed"):
                    self.store.tidy()
                tidied = time.monotonic()

    def review(self, number, truth, by, kind="", note=""):
        """Record what the person ``by`` says about a part: good, defect of a ``kind``, unclear. Returns the event."""
        part = self.journal.part(number)
        if part is None:
            raise InputError("there is no part with this number")
        content = {"truth": truth, "kind": kind, "by": by, "note": note}
        event = self.journal.append("review", content, part=number, recipe=part.recipe, model=part.model)
        self.tell_all(event)
        return event

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
        drawn = event.content["pictures"]
        names = PICTURES if drawn is True else drawn or ()  # earlier programs noted only whether there are any
        if not (time.time() - event.epoch < DRAWN_AFTER or self.store.picture(event.number, PICTURES[0])):
            return {}
        return {name: f"/parts/{event.number}/pictures/{name}.jpg" for name in names}

    def without_folders(self, error):
        """An error's text without folders of this machine, for answers."""
        text = str(error)
        for folder in (self.journal.path.parent.resolve(), self.recipes.folder.resolve(), Path.cwd()):
            text = text.replace(f"{folder}/", "").replace(str(folder), "")
        return re.sub(r"/\S+/", "", text)


@contextlib.contextmanager
def _told(what):
    """Tell of an error in the block, which must not stop the judging."""
    try:
        yield
    except Exception as error:
        tell("station.py", f"{what} ({error})")


def _digest(facts):
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
