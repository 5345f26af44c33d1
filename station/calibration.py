"""Which drawn parts calibrate a model version, and how two versions compare.

A drawn part serves once. Its role, calibration or comparison, is drawn with it. Parts of the review queue that were
not drawn ("good after all") never calibrate; they may train the next version.
"""

from typing import NamedTuple

import numpy as np

from inspection.verdict import CANNOT_JUDGE, FAIL, PASS
from station.sampling import DEFECT, GOOD, reviewed, truth, weighted_rate

MOST_PARTS = 2000  # the newest drawn parts that calibrate; as many as the scans that are kept


class Calibration(NamedTuple):
    """Scores that can calibrate a model: those of the file, then those of the drawn parts ``numbers``."""

    scores: list
    peaks: list
    numbers: list
    from_file: int
    waiting: int  # drawn parts that do not count yet, since one at or before them has no review
    unscored: int  # good drawn parts that this version has not judged, and whose scans are gone


def chosen(parts, model, rescored=None):
    """The :class:`Calibration` of a model from drawn parts.

    Args:
        parts: all drawn parts of the recipe in the order of judging, with reviews.
        model: ``station.judging.Model``.
        rescored: {number: (score, peak)} of parts that an older version judged.
    """
    rescored, known = rescored or {}, reviewed(parts)
    used = calibrating(known, model)[-MOST_PARTS:]
    found = {part.number: (part.score, part.content["peak"]) for part in used if part.model == model.sha256}
    found |= {part.number: rescored[part.number] for part in used if part.number in rescored.keys() - found.keys()}
    numbers = sorted(found)
    scores = [float(score) for score in (*model.own_scores, *(found[number][0] for number in numbers))]
    peaks = [float(peak) for peak in (*model.own_peaks, *(found[number][1] for number in numbers))]
    return Calibration(scores, peaks, numbers, len(model.own_scores), len(parts) - len(known), len(used) - len(numbers))


def calibrating(known, model):
    """The parts among reviewed drawn ones that calibrate a model: those with that role that are good and were judged,
    but are not in the model's file."""
    inside = model.known["training"] | model.known["calibration"]
    return [
        part
        for part in known
        if part.content["role"] == "calibration"
        and truth(part) == GOOD
        and part.verdict != CANNOT_JUDGE
        and part.content["fingerprint"] not in inside
    ]


def comparing(parts, models):
    """The drawn parts that compare ``models``: those with that role that are reviewed and in neither file."""
    inside = set().union(*(known for model in models for known in model.known.values()))
    return [
        part
        for part in reviewed(parts)
        if part.content["role"] == "comparison"
        and truth(part) in (GOOD, DEFECT)
        and part.content["fingerprint"] not in inside
    ]


def compared(parts, old, new):
    """What two versions said about the same parts, as a dict for the journal and the page.

    Args:
        parts: from :func:`comparing`.
        old, new: [verdict] of these parts.
    """
    from scipy.stats import binomtest

    def rates(verdicts, name, wrong):
        chosen = [(v == wrong, 1 / p.chance) for p, v in zip(parts, verdicts) if truth(p) == name and v != CANNOT_JUDGE]
        return weighted_rate([event for event, _ in chosen], [weight for _, weight in chosen])._asdict()

    right = [[(v == FAIL) == (truth(p) == DEFECT) for p, v in zip(parts, verdicts)] for verdicts in (old, new)]
    both = np.array([v != CANNOT_JUDGE and w != CANNOT_JUDGE for v, w in zip(old, new)], bool)
    before, after = (np.array(values, bool) & both for values in right)
    mended, broken = int((after & ~before).sum()), int((before & ~after).sum())
    return {
        "parts": len(parts),
        "old": {"false rejects": rates(old, GOOD, FAIL), "escapes": rates(old, DEFECT, PASS)},
        "new": {"false rejects": rates(new, GOOD, FAIL), "escapes": rates(new, DEFECT, PASS)},
        "mended": mended,
        "broken": broken,
        "p_value": float(binomtest(mended, mended + broken).pvalue) if mended + broken else 1.0,  # McNemar, exact
        "differing": [p.number for p, v, w in zip(parts, old, new) if v != w],
    }


def training_parts(journal, recipe):
    """The parts that may train the next version: reviewed as good, and never drawn; their scans may be gone."""
    where = "v.recipe = ? AND v.chance IS NULL AND v.number IN (SELECT part FROM events WHERE kind = 'review')"
    found = journal.events(where, (recipe,), "v.number DESC", MOST_PARTS, review=True)
    used = ("check", "judged_before")  # master parts, and recordings whose first verdict decides how they serve
    return [part for part in found if truth(part) == GOOD and not any(part.content.get(name) for name in used)]
