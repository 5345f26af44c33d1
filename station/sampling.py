"""Which parts are drawn for review, and what the drawn ones say about all parts.

A part is drawn by a number that depends only on its files and on the journal's secret key: before the part is judged,
whatever its verdict, and the same again if the same files come again. An auditor who has the journal can repeat every
draw. Reviews of fails alone would be a biased sample: only good parts with high scores are in that queue.
"""

import hashlib
import hmac
from itertools import takewhile
from typing import NamedTuple

from inspection.verdict import CANNOT_JUDGE, CONFIDENCE, FAIL, PASS

COMPARISON_SHARE = 1 / 3  # of the drawn parts: they compare model versions; the others calibrate
TRUTHS = GOOD, DEFECT, UNCLEAR = ("good", "defect", "unclear")


class Draw(NamedTuple):
    """A part's draw: ``chance``: its sampling probability if it was drawn, else None; ``role``: "calibration" or
    "comparison" if it was drawn; ``tie``, ``thin``: numbers in (0, 1) that break ties among equal scores, and that
    decide which parts of a very long stream are watched for drift."""

    chance: float | None
    role: str | None
    tie: float
    thin: float


class WeightedRate(NamedTuple):
    """An estimated share of all parts, from ``parts`` reviewed ones; None where there is none."""

    parts: int
    value: float | None
    low: float | None
    high: float | None


def draw(secret, recording, every):
    """The :class:`Draw` of a recording.

    Args:
        secret: the journal's key.
        recording: SHA-256 of the recording's files.
        every: 1 in so many parts is drawn; 0: none.
    """
    chance = 1 / every if every else 0.0
    drawn = _number(secret, "draw", recording) < chance
    role = "comparison" if _number(secret, "role", recording) < COMPARISON_SHARE else "calibration"
    tie, thin = (_number(secret, purpose, recording) for purpose in ("tie", "thin"))
    return Draw(chance if drawn else None, role if drawn else None, tie, thin)


def _number(secret, purpose, recording):
    digest = hmac.new(secret, f"{purpose}:{recording}".encode(), hashlib.sha256).digest()
    return (int.from_bytes(digest[:6], "big") + 0.5) / 2**48


def reviewed(parts):
    """The drawn ``parts`` before the first one that still waits for its review, in the order of judging.

    Whoever reviews only some of the drawn parts, such as the fails, makes a biased sample of an unbiased one. So what
    comes after a part without review does not count yet.
    """
    return list(takewhile(lambda part: part.review is not None, parts))


def truth(part):
    """A reviewed part's "good", "defect" or "unclear"."""
    return part.review["truth"]


def rates(parts):
    """{"false rejects", "escapes", "not judged", "defects": :class:`WeightedRate`} of all parts of the line.

    Each drawn part counts with 1 over its sampling probability (Horvitz and Thompson, JASA 47, 1952), as a ratio of
    two such sums.

    Args:
        parts: drawn parts with reviews.
    """
    known = [part for part in reviewed(parts) if truth(part) != UNCLEAR]
    judged = [part for part in known if part.verdict != CANNOT_JUDGE]
    rate = lambda parts, of: weighted_rate([of(part) for part in parts], [1 / part.chance for part in parts])
    return {
        "false rejects": rate([p for p in judged if truth(p) == GOOD], lambda p: p.verdict == FAIL),
        "escapes": rate([p for p in judged if truth(p) == DEFECT], lambda p: p.verdict == PASS),
        "not judged": rate(known, lambda p: p.verdict == CANNOT_JUDGE),
        "defects": rate(known, lambda p: truth(p) == DEFECT),
    }


def weighted_rate(events, weights, confidence=CONFIDENCE):
    """The :class:`WeightedRate` of ``events`` [n] bool with ``weights`` [n].

    The interval is Clopper's and Pearson's with the effective number of parts (sum w)² / sum w² (Korn and Graubard,
    Survey Methodology 24, 1998); with equal weights it is exactly Clopper's and Pearson's.
    """
    if not events:
        return WeightedRate(0, None, None, None)
    from scipy.stats import beta

    share = sum(w for e, w in zip(events, weights) if e) / sum(weights)
    size, tail = sum(weights) ** 2 / sum(w * w for w in weights), (1 - confidence) / 2
    count = share * size
    low = 0.0 if count <= 0 else float(beta.ppf(tail, count, size - count + 1))
    high = 1.0 if count >= size else float(beta.ppf(1 - tail, count + 1, size - count))
    return WeightedRate(len(events), share, low, high)
