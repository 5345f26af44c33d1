"""Which parts are drawn for review, what they say about all parts, and which of them calibrate or compare models.

A part is drawn by a number that depends only on its files and on the journal's secret key: before the part is judged,
and the same again if the same files come again. An auditor who has the journal can repeat every draw. Reviews of fails
alone would be a biased sample: only good parts with high scores are in that queue. So parts of the queue that were not
drawn ("good after all") never calibrate; they may train the next version. A drawn part serves once, in a role that is
drawn with it.
"""

import hashlib
import hmac
from itertools import takewhile
from typing import NamedTuple

from inspection.verdict import CANNOT_JUDGE, CONFIDENCE, FAIL, PASS

COMPARISON_SHARE = 1 / 3  # of the drawn parts: they compare model versions; the others calibrate
MOST_PARTS = 2000  # the newest drawn parts that calibrate; as many as the scans that are kept
TRUTHS = GOOD, DEFECT, UNCLEAR = ("good", "defect", "unclear")


class Draw(NamedTuple):
    """A part's draw."""

    chance: float | None  # its sampling probability if it was drawn
    role: str | None  # "calibration" or "comparison" if it was drawn
    tie: float  # tie, thin: in (0, 1); they break ties among equal scores, and
    thin: float  # decide which parts of a very long stream are watched for drift


class WeightedRate(NamedTuple):
    """An estimated share of all parts, from ``parts`` reviewed ones."""

    parts: int
    value: float | None
    low: float | None
    high: float | None


class Calibration(NamedTuple):
    """Scores that can calibrate a model: those of the file, then those of the drawn parts ``numbers``."""

    scores: list
    peaks: list
    numbers: list
    from_file: int
    waiting: int  # drawn parts that do not count yet, since one at or before them has no review


def draw(secret, recording, every):
    """The :class:`Draw` of a recording (SHA-256 of its files) with the journal's key, 1 in ``every``; 0: none."""
    chance = 1 / every if every else 0.0
    drawn = _number(secret, "draw", recording) < chance
    role = "comparison" if _number(secret, "role", recording) < COMPARISON_SHARE else "calibration"
    tie, thin = (_number(secret, purpose, recording) for purpose in ("tie", "thin"))
    return Draw(chance if drawn else None, role if drawn else None, tie, thin)


def _number(secret, purpose, recording):
    digest = hmac.new(secret, f"{purpose}:{recording}".encode(), hashlib.sha256).digest()
    return (int.from_bytes(digest[:6], "big") + 0.5) / 2**48


def reviewed(parts):
    """The drawn ``parts`` before the first one that still waits for its review, in the order of judging: whoever
    reviews only some of them, such as the fails, makes a biased sample of an unbiased one."""
    return list(takewhile(lambda part: part.review is not None, parts))


def rates(parts):
    """{"false rejects", "escapes", "not judged", "defects": :class:`WeightedRate`} of all parts of the line, from drawn
    ones with reviews. Each counts with 1 over its sampling probability (Horvitz and Thompson, JASA 47, 1952)."""
    known = [part for part in reviewed(parts) if part.review["truth"] != UNCLEAR]
    judged = [part for part in known if part.verdict != CANNOT_JUDGE]
    rate = lambda parts, of: weighted_rate([of(part) for part in parts], [1 / part.chance for part in parts])
    return {
        "false rejects": rate([p for p in judged if p.review["truth"] == GOOD], lambda p: p.verdict == FAIL),
        "escapes": rate([p for p in judged if p.review["truth"] == DEFECT], lambda p: p.verdict == PASS),
        "not judged": rate(known, lambda p: p.verdict == CANNOT_JUDGE),
        "defects": rate(known, lambda p: p.review["truth"] == DEFECT),
    }


def weighted_rate(events, weights):
    """The :class:`WeightedRate` of ``events`` [n] bool with ``weights`` [n]; the interval is Clopper's and Pearson's
    with the effective number of parts (sum w)² / sum w² (Korn and Graubard, Survey Methodology 24, 1998)."""
    if not events:
        return WeightedRate(0, None, None, None)
    from scipy.stats import beta

    share = sum(w for e, w in zip(events, weights) if e) / sum(weights)
    size, tail = sum(weights) ** 2 / sum(w * w for w in weights), (1 - CONFIDENCE) / 2
    count = share * size
    low = 0.0 if count <= 0 else float(beta.ppf(tail, count, size - count + 1))
    high = 1.0 if count >= size else float(beta.ppf(1 - tail, count + 1, size - count))
    return WeightedRate(len(events), share, low, high)


def chosen(parts, model, rescored):
    """The :class:`Calibration` of a model from all drawn parts of the recipe in the order of judging; ``rescored``:
    {number: (score, peak)} of parts that an older version judged."""
    known = reviewed(parts)
    used = calibrating(known, model)
    own = {part.number: (part.score, part.content["peak"]) for part in used if part.model == model.sha256}
    found = {**rescored, **own}
    numbers = [part.number for part in used if part.number in found]
    scores = [float(score) for score in (*model.own_scores, *(found[number][0] for number in numbers))]
    peaks = [float(peak) for peak in (*model.own_peaks, *(found[number][1] for number in numbers))]
    return Calibration(scores, peaks, numbers, len(model.own_scores), len(parts) - len(known))


def serving(known, role, models):
    """The parts among reviewed drawn ones that were drawn for a role and are in no file of ``models``."""
    inside = set().union(*(model.known for model in models))
    clear = [part for part in known if part.content["role"] == role and part.review["truth"] != UNCLEAR]
    return [part for part in clear if part.content["fingerprint"] not in inside]


def calibrating(known, model):
    """The newest of the parts that serve as calibration of a model which are good and were judged."""
    parts = serving(known, "calibration", (model,))
    return [part for part in parts if part.review["truth"] == GOOD and part.verdict != CANNOT_JUDGE][-MOST_PARTS:]


def compared(judged):
    """What two versions said about parts [(part, old verdict, new verdict)], for journal and page."""
    told = {"parts": len(judged), "differing": [part.number for part, old, new in judged if old != new]}
    for place, name in enumerate(("old", "new"), 1):
        found = rates([row[0]._replace(verdict=row[place]) for row in judged])
        told[name] = {kind: rate._asdict() for kind, rate in found.items()}
    return told
