"""Charts for the page: the scores' trend, fails per shift (p-chart), and CUSUM. None of them promises anything."""

import math
import time
from typing import NamedTuple

from inspection.verdict import FAIL

SHIFT_HOURS = 8
SHIFTS = 42  # shown: two weeks
LIMITS = 3  # standard deviations, Shewhart's choice
SLACK, DECISION = 0.5, 5.0  # CUSUM, in standard deviations: Montgomery, Introduction to Statistical Quality Control
WIDTH, HEIGHT, EDGE = 1000, 260, 12  # of a chart, in its own units


class Shift(NamedTuple):
    """A point of the p-chart: share of fails among the judged parts of a shift, and its limits."""

    begin: float  # epoch
    parts: int
    share: float
    low: float
    high: float

    @property
    def outside(self):
        """Whether the share is beyond its limits."""
        return not self.low <= self.share <= self.high


def shifts(journal, recipe, now=None):
    """[:class:`Shift`] of the last two weeks; limits from the mean share of all shifts shown."""
    length, now = SHIFT_HOURS * 3600, time.time() if now is None else now
    rows = journal.rows(
        "SELECT CAST(epoch / ? AS INTEGER), COUNT(*), SUM(verdict = ?) FROM events WHERE kind = 'verdict' AND "
        "recipe = ? AND epoch >= ? AND verdict IN ('pass', 'fail') GROUP BY 1 ORDER BY 1",
        (length, FAIL, recipe, now - SHIFTS * length),
    )
    total = sum(row[1] for row in rows)
    mean = sum(row[2] for row in rows) / total if total else 0.0
    found = []
    for number, parts, fails in rows:
        reach = LIMITS * math.sqrt(mean * (1 - mean) / parts)
        found.append(Shift(number * length, parts, fails / parts, max(0.0, mean - reach), min(1.0, mean + reach)))
    return found


def cusum(p_values):
    """[float], the upper CUSUM of parts' p-values turned into normal scores; above DECISION it signals."""
    from scipy.stats import norm

    sums, value = [], 0.0
    for score in norm.isf([min(max(p, 1e-6), 1 - 1e-6) for p in p_values]):
        value = max(0.0, value + float(score) - SLACK)
        sums.append(value)
    return sums


class Chart(NamedTuple):
    """Points (x, y, kind, title) and horizontal lines (y, title) in the chart's units, and a sentence that says it."""

    points: list
    lines: list
    text: str


def trend(events):
    """The :class:`Chart` of parts' scores, the oldest left, with the threshold of the last one."""
    known = [event for event in events if event.score is not None]
    if not known:
        return Chart([], [], "No part has been judged yet.")
    limit = known[-1].content["threshold"]
    scale = _scale([*(event.score for event in known), limit])
    points = [
        (_x(i, len(known)), scale(e.score), e.verdict, f"{e.number}: {e.verdict}, {e.score:.4g}")
        for i, e in enumerate(known)
    ]
    fails = sum(event.verdict == FAIL for event in known)
    text = f"Scores of the last {len(known)} judged parts: {fails} failed; the last has {known[-1].score:.4g}."
    return Chart(points, [(scale(limit), f"threshold {limit:.4g}")], text)


def shift_chart(found):
    """The :class:`Chart` of shifts."""
    if not found:
        return Chart([], [], "No shift has judged parts yet.")
    scale = _scale([0.0, *(s.share for s in found), *(s.high for s in found)])
    points = []
    for i, s in enumerate(found):
        title = f"{time.strftime('%d %b %H:%M', time.gmtime(s.begin))} UTC: {s.share:.1%} of {s.parts}"
        points.append((_x(i, len(found)), scale(s.share), "fail" if s.outside else "pass", title))
    outside = sum(s.outside for s in found)
    text = (
        f"Share of fails in shifts of {SHIFT_HOURS} h, {len(found)} shown: {outside} outside three standard deviations."
    )
    return Chart(points, [(scale(found[-1].high), f"upper limit {found[-1].high:.1%}")], text)


def recent(journal, recipe, number=200):
    """The newest judged parts of a recipe (of all, for None), the oldest first."""
    return journal.parts(number, recipe=recipe)[::-1]


def _x(i, count):
    return EDGE + (WIDTH - 2 * EDGE) * (i + 0.5) / count


def _scale(values):
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return lambda value: EDGE + (HEIGHT - 2 * EDGE) * (high - value) / span


def cusum_text(events):
    """A sentence on the CUSUM of parts' p-values."""
    values = cusum([event.p_value for event in events if event.p_value is not None])
    if not values:
        return "CUSUM: no part has been judged yet."
    if values[-1] > DECISION:
        return f"CUSUM of the last {len(values)} parts: {values[-1]:.1f}, above {DECISION:g}: scores are higher."
    return f"CUSUM of the last {len(values)} parts: {values[-1]:.1f}, below {DECISION:g}."
