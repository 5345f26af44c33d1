"""Charts for the page: the scores' trend, fails per shift (p-chart), and CUSUM. None of them promises anything."""

import math
import time
from typing import NamedTuple

from inspection.verdict import FAIL

SHIFT = 8 * 3600  # seconds
SHIFTS = 42  # shown: two weeks
LIMITS = 3  # standard deviations, Shewhart's choice
SLACK, DECISION = 0.5, 5.0  # CUSUM, in standard deviations: Montgomery, Introduction to Statistical Quality Control
WIDTH, HEIGHT, EDGE = 1000, 260, 12  # of a chart, in its own units


class Chart(NamedTuple):
    """Points (x, y, kind, title), a horizontal line (y, title) or None, and a sentence that says it."""

    points: list
    line: tuple | None
    text: str


def _chart(points, line, text, low=math.inf):
    """The :class:`Chart` of points (value, kind, title), evenly spaced, and a line (value, title); ``low``: a value
    that it reaches down to."""
    values = [line[0], *(value for value, *_ in points)]
    low, high = min(low, *values), max(values)
    scale = lambda value: EDGE + (HEIGHT - 2 * EDGE) * (high - value) / ((high - low) or 1.0)
    step = (WIDTH - 2 * EDGE) / len(points)
    placed = [(EDGE + step * (i + 0.5), scale(value), *rest) for i, (value, *rest) in enumerate(points)]
    return Chart(placed, (scale(line[0]), line[1]), text)


def trend(events):
    """The :class:`Chart` of parts' scores, the oldest left, with the threshold of the last one."""
    known = [event for event in events if event.score is not None]
    if not known:
        return Chart([], None, "No part has been judged yet.")
    limit, fails = known[-1].content["threshold"], sum(event.verdict == FAIL for event in known)
    text = f"Scores of the last {len(known)} judged parts: {fails} failed; the last has {known[-1].score:.4g}."
    points = [(e.score, e.verdict, f"{e.number}: {e.verdict}, {e.score:.4g}") for e in known]
    return _chart(points, (limit, f"threshold {limit:.4g}"), text)


def shifts(journal, recipe):
    """The :class:`Chart` of the shares of fails in the last two weeks' shifts, with Shewhart's limits around their mean
    share."""
    rows = journal.rows(
        "SELECT CAST(epoch / ? AS INTEGER), COUNT(*), SUM(verdict = ?) FROM events WHERE kind = 'verdict' AND "
        "recipe = ? AND epoch >= ? AND verdict IN ('pass', 'fail') GROUP BY 1 ORDER BY 1",
        (SHIFT, FAIL, recipe, time.time() - SHIFTS * SHIFT),
    )
    if not rows:
        return Chart([], None, "No shift has judged parts yet.")
    mean, points = sum(fails for *_, fails in rows) / sum(parts for _, parts, _ in rows), []
    for number, parts, fails in rows:
        reach, share = LIMITS * math.sqrt(mean * (1 - mean) / parts), fails / parts
        begin = time.strftime("%d %b %H:%M", time.gmtime(number * SHIFT))
        points.append((share, "fail" if abs(share - mean) > reach else "pass", f"{begin} UTC: {share:.1%} of {parts}"))
    outside, high = sum(kind == "fail" for _, kind, _ in points), min(1.0, mean + reach)
    text = f"Share of fails in shifts of 8 h, {len(rows)} shown: {outside} outside three standard deviations."
    return _chart(points, (high, f"upper limit {high:.1%}"), text, low=0.0)


def cusum(p_values):
    """(the upper CUSUM of parts' p-values turned into normal scores, above DECISION it signals; a sentence on it)."""
    from scipy.stats import norm

    known = [min(max(p, 1e-6), 1 - 1e-6) for p in p_values if p is not None]
    if not known:
        return 0.0, "CUSUM: no part has been judged yet."
    value = 0.0
    for score in norm.isf(known):
        value = max(0.0, value + float(score) - SLACK)
    found = "above {:g}: scores are higher" if value > DECISION else "below {:g}"
    return value, f"CUSUM of the last {len(known)} parts: {value:.1f}, {found.format(DECISION)}."
