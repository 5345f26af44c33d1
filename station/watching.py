"""Watches the parts of each recipe for drift, and keeps in the journal all that is needed to go on after a restart."""

import json
import threading
import time

from station.drift import YEAR, Watch


class Watches:
    """A :class:`station.drift.Watch` per recipe. A new start is made with each model version, each year, and when a
    person asks for it; each is an event."""

    def __init__(self, journal):
        self._journal, self._of, self._lock = journal, {}, threading.RLock()

    def of(self, model):
        """The Watch of a model's stream; made or taken up from the journal if need be."""
        with self._lock:
            watch, sha256 = self._of.get(model.recipe, (None, None))
            if watch is None or sha256 != model.sha256:
                watch = self._take_up(model)
            if time.time() - watch.started > YEAR:
                watch = self.start(model, "a year is over")
            return watch

    def start(self, model, why, by="the station"):
        """Begin anew, with the model's present calibration scores; returns the Watch."""
        with self._lock:
            content = {"reason": why, "by": by, "scores": [float(score) for score in model.scores]}
            event = self._journal.append("drift start", content, recipe=model.recipe, model=model.sha256)
            watch = Watch(model.scores, event.epoch)
            self._of[model.recipe] = watch, model.sha256
            return watch

    def _take_up(self, model):
        last = self._journal.last("drift start", model.recipe)
        if last is None or last.model != model.sha256:
            return self.start(model, "first start" if last is None else "another model version")
        watch = Watch(last.content["scores"], last.epoch)
        since = "recipe = ? AND number > ? AND model = ?"
        rows = self._journal.rows(
            f"SELECT content FROM events WHERE {since} AND ranked = 1 ORDER BY number",
            (model.recipe, last.number, model.sha256),
        )
        contents = (json.loads(row[0]) for row in rows)
        watch.replay((content["statistics"], content["ranks"]) for content in contents)
        counted = f"SELECT COUNT(*) FROM events WHERE {since} AND ranked > 0"
        watch.parts = self._journal.rows(counted, (model.recipe, last.number, model.sha256))[0][0]
        self._of[model.recipe] = watch, model.sha256
        return watch

    def forget(self, model):
        """Take the Watch up from the journal again when it is needed next."""
        with self._lock:
            self._of.pop(model.recipe, None)

    def add(self, model, statistics, draw):
        """Rank a part. Returns (ranks, statistics that raise the alarm with this part); ({}, ()) if it is not ranked.

        Args:
            statistics: {name: number}; empty for a part that could not be judged.
            draw: ``station.sampling.Draw``.
        """
        with self._lock:
            watch = self.of(model)
            if not statistics:
                return {}, ()
            if not watch.wants(draw.thin):
                watch.skip()
                return {}, ()
            before = watch.alarmed
            ranks = watch.add(statistics, draw.tie)
            return ranks, tuple(name for name in watch.alarmed if name not in before)
