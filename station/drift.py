"""An alarm for drift with a promise: without drift, at most a share delta of starts ever raises it.

Each new part's score is ranked among the calibration parts *and all parts ranked since*, ties broken by a recorded
random number. If all these parts are exchangeable, the ranks are independent and uniform (Vovk, Gammerman and Shafer
2005, chapter 8); then a bet on them is a test martingale, and by Ville's inequality it ever reaches 1/delta with
probability at most delta. P-values against the calibration parts alone would not do: they share these parts, and are
not independent. Nor would passed parts alone, whose scores are cut off.

The bet is the composite jumper (Vovk et al., "Retrain or not retrain: conformal test martingales for change-point
detection", 2021). Several statistics are watched: half of delta belongs to the score, the other half is shared by the
others, so that the promise holds for all of them together (union bound).

What can raise it: another light, another sensor, another material, and more defective parts.
"""

import bisect
from array import array

import numpy as np

DELTA = 0.01  # false alarms per start
YEAR = 365 * 86400.0  # seconds after which a new start is made
JUMPS = np.array([1e-4, 1e-3, 1e-2, 1e-1, 1.0])  # rates at which a bet moves on to other stakes
STAKES = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])  # the paper's and, for sudden changes, the largest that are possible
SCORE = "score"
EVERY_PART = 20_000  # parts since the start that are all ranked; then part t is ranked with probability EVERY_PART / t


class Jumper:
    """A test martingale on ranks that are uniform on [0, 1] without drift; ``streams`` of them side by side."""

    def __init__(self, streams=()):
        shape = (*streams, len(JUMPS), len(STAKES)) if streams else (len(JUMPS), len(STAKES))
        self.capital = np.full(shape, 1 / len(JUMPS) / len(STAKES))
        self.log_scale = np.zeros(shape[:-2])  # capital is kept near 1, so that it cannot overflow

    def bet(self, rank):
        """Bet on the next rank, in [0, 1] and of the shape ``streams``."""
        total = self.capital.sum(-1, keepdims=True)
        moved = (1 - JUMPS[:, None]) * self.capital + JUMPS[:, None] * total / len(STAKES)
        self.capital = moved * (1 + STAKES * (np.asarray(rank)[..., None, None] - 0.5))
        total = self.capital.sum((-2, -1))
        self.capital /= total[..., None, None]
        self.log_scale = self.log_scale + np.log(total)

    @property
    def log_value(self):
        """Natural logarithm of the capital; it begins at 0."""
        return self.log_scale


class Ranks:
    """The values seen so far, sorted."""

    def __init__(self, values=()):
        self.values = array("d", sorted(values))

    def add(self, value, tie):
        """The rank of ``value`` among those before it and itself, in (0, 1): near 0 for the largest; then it is
        added. ``tie``: in (0, 1); it breaks ties."""
        low, high = bisect.bisect_left(self.values, value), bisect.bisect_right(self.values, value)
        rank = (len(self.values) - high + tie * (high - low + 1)) / (len(self.values) + 1)
        self.values.insert(high, value)
        return rank


class Watch:
    """Watches one model's stream of parts since a start.

    Args:
        calibration: scores of the calibration parts.
        started: epoch of the start.
    """

    def __init__(self, calibration, started):
        self.started, self.parts, self.ranked, self.alarmed = started, 0, 0, ()
        self._ranks, self._jumper = {SCORE: Ranks(calibration)}, Jumper((1,))

    def wants(self, thin):
        """Whether the next part is ranked: it depends on how many there were, and on the part's own random number
        ``thin`` in (0, 1); never on what was measured."""
        return thin * (self.parts + 1) < EVERY_PART

    def skip(self):
        """Count a part that is not ranked."""
        self.parts += 1

    def add(self, statistics, tie):
        """Rank a part; returns {statistic: rank}. The statistics of the first part are those that are watched; all
        later parts have to have them."""
        if not self.ranked:
            self._begin(statistics)
        found = {name: ranks.add(statistics[name], tie) for name, ranks in self._ranks.items()}
        self._bet(list(found.values()))
        return found

    def replay(self, rows):
        """Take up the parts of a journal: ``rows`` of (statistics, ranks), in order."""
        for statistics, ranks in rows:
            if not self.ranked:
                self._begin(ranks)
            for name, seen in self._ranks.items():
                seen.values.append(statistics[name])
            self._bet([ranks[name] for name in self._ranks])
        for seen in self._ranks.values():
            seen.values = array("d", sorted(seen.values))

    def _begin(self, names):
        self._ranks |= {name: Ranks() for name in names if name != SCORE}
        self._jumper = Jumper((len(self._ranks),))
        self._limits = np.array([self.limit(name) for name in self._ranks])

    def _bet(self, ranks):
        self._jumper.bet(ranks)
        self.parts, self.ranked = self.parts + 1, self.ranked + 1
        if (self._jumper.log_value >= self._limits).any():
            over = [name for name, is_over in zip(self._ranks, self._jumper.log_value >= self._limits) if is_over]
            self.alarmed = tuple(dict.fromkeys((*self.alarmed, *over)))

    def limit(self, name):
        """Logarithm of the capital at which a statistic raises the alarm."""
        return float(np.log(2 / DELTA if name == SCORE else 2 * (len(self._ranks) - 1) / DELTA))

    def state(self):
        """{statistic: (logarithm of the capital, the one that raises the alarm)}."""
        return {name: (float(v), self.limit(name)) for name, v in zip(self._ranks, self._jumper.log_value)}
