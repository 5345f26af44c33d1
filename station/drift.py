"""An alarm for drift with a promise: without drift, at most a share delta of starts ever raises it.

Each new part's score is ranked among the calibration parts *and all parts ranked since*, ties broken by a recorded
random number. If all these parts are exchangeable, the ranks are independent and uniform (Vovk, Gammerman and Shafer
2005, chapter 8); then a bet on them is a test martingale, and by Ville's inequality it ever reaches 1/delta with
probability at most delta. P-values against the calibration parts alone are not independent, since they share these
parts; scores of passed parts alone are cut off.

The bet is the composite jumper (Vovk et al., "Retrain or not retrain: conformal test martingales for change-point
detection", 2021). Half of delta belongs to the score, the other half is shared by the other statistics (union bound).
"""

import bisect
import json
import math
import threading
import time
from array import array

import numpy as np

DELTA = 0.01  # false alarms per start
YEAR = 365 * 86400.0  # seconds after which a new start is made
JUMPS = np.array([1e-4, 1e-3, 1e-2, 1e-1, 1.0])  # rates at which a bet moves on to other stakes
STAKES = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])  # the paper's and, for sudden changes, the largest that are possible
SCORE = "score"
EVERY_PART = 20_000  # parts since the start that are all ranked; then part t is ranked with probability EVERY_PART / t


class Jumper:
    """``streams`` test martingales side by side, on ranks that are uniform on [0, 1] without drift."""

    def __init__(self, streams):
        self.capital = np.full((streams, len(JUMPS), len(STAKES)), 1 / len(JUMPS) / len(STAKES))
        self.log_value = np.zeros(streams)  # natural logarithm of the capital; ``capital`` itself is kept near 1

    def bet(self, rank):
        """Bet on the next rank [streams], in [0, 1]."""
        total = self.capital.sum(-1, keepdims=True)
        moved = (1 - JUMPS[:, None]) * self.capital + JUMPS[:, None] * total / len(STAKES)
        self.capital = moved * (1 + STAKES * (np.asarray(rank)[..., None, None] - 0.5))
        total = self.capital.sum((-2, -1))
        self.capital /= total[..., None, None]
        self.log_value = self.log_value + np.log(total)


def rank(seen, value, tie):
    """Put ``value`` among the sorted values ``seen``; returns its rank there, in (0, 1): near 0 for the largest.
    ``tie``, in (0, 1), breaks ties."""
    low, high = bisect.bisect_left(seen, value), bisect.bisect_right(seen, value)
    found = (len(seen) - high + tie * (high - low + 1)) / (len(seen) + 1)
    seen.insert(high, value)
    return found


class Watch:
    """Watches one model's stream of parts since a start (epoch); ``calibration``: scores of the calibration parts."""

    def __init__(self, calibration, started, model=None):
        self.started, self.model, self.parts, self.alarmed = started, model, 0, ()
        self._seen, self._jumper = {SCORE: array("d", sorted(calibration))}, None

    def wants(self, thin):
        """Whether the next part, with the random number ``thin``, is ranked; never depends on what was measured."""
        return thin * (self.parts + 1) < EVERY_PART

    def add(self, statistics, tie):
        """Rank a part and bet on its ranks. The statistics of the first part are those that are watched."""
        if self._jumper is None:
            self._seen |= {name: array("d") for name in statistics if name != SCORE}
            self._jumper = Jumper(len(self._seen))
        self._jumper.bet(np.array([rank(seen, statistics[name], tie) for name, seen in self._seen.items()]))
        self.parts += 1
        over = [name for name, (value, limit) in self.state().items() if value >= limit]
        self.alarmed = tuple(dict.fromkeys((*self.alarmed, *over)))

    def state(self):
        """{statistic: (logarithm of the capital, the one that raises the alarm)}."""
        values = (0.0,) if self._jumper is None else self._jumper.log_value.tolist()
        others = max(len(values) - 1, 1)
        limits = [math.log(2 / DELTA if name == SCORE else 2 * others / DELTA) for name in self._seen]
        return dict(zip(self._seen, zip(values, limits)))


class Watches:
    """A :class:`Watch` per recipe. Each start, with a model version, a year, or when a person asks, is an event."""

    def __init__(self, journal):
        self._journal, self._of, self._lock = journal, {}, threading.RLock()

    def of(self, model):
        """The Watch of a model's stream, taken up from the journal if need be."""
        with self._lock:
            watch = self._of.get(model.recipe)
            if watch is None or watch.model != model.sha256:
                watch = self._of[model.recipe] = self._taken_up(model)
            if time.time() - watch.started > YEAR:
                watch = self.start(model, "a year is over")
            return watch

    def start(self, model, why, by="the station"):
        """Begin anew, with the model's present calibration scores."""
        with self._lock:
            content = {"reason": why, "by": by, "scores": [float(score) for score in model.scores]}
            event = self._journal.append("drift start", content, recipe=model.recipe, model=model.sha256)
            self._of[model.recipe] = Watch(model.scores, event.epoch, model.sha256)
            return self._of[model.recipe]

    def _taken_up(self, model):
        last = self._journal.last("drift start", model.recipe)
        if last is None or last.model != model.sha256:
            return self.start(model, "first start" if last is None else "another model version")
        watch = Watch(last.content["scores"], last.epoch, model.sha256)
        since, values = "recipe = ? AND number > ? AND model = ?", (model.recipe, last.number, model.sha256)
        ranked = f"SELECT content FROM events WHERE {since} AND ranked = 1 ORDER BY number"
        for content in (json.loads(text) for (text,) in self._journal.rows(ranked, values)):
            watch.add(content["statistics"], content["tie"])
        counted = f"SELECT COUNT(*) FROM events WHERE {since} AND ranked > 0"
        watch.parts = self._journal.rows(counted, values)[0][0]
        return watch

    def forget(self, model):
        """Take the Watch up from the journal again when it is needed next."""
        with self._lock:
            self._of.pop(model.recipe, None)

    def add(self, model, statistics, draw):
        """(1 if the part is ranked, 2 if it is only counted in a very long stream, 0 if it could not be judged and so
        has no ``statistics`` {name: number}; the statistics that raise the alarm with this part)."""
        with self._lock:
            watch = self.of(model)
            if not statistics:
                return 0, ()
            if not watch.wants(draw.thin):
                watch.parts += 1
                return 2, ()
            before = watch.alarmed
            watch.add(statistics, draw.tie)
            return 1, tuple(name for name in watch.alarmed if name not in before)
