"""Which drawn parts calibrate a model version, and how two versions compare.

A drawn part serves once. Its role, calibration or comparison, is drawn with it. Parts of the review queue that were
not drawn ("good after all") never calibrate; they may train the next version.
"""

from typing import NamedTuple

from inspection.verdict import CANNOT_JUDGE
from station.sampling import GOOD, UNCLEAR, rates, reviewed, truth

MOST_PARTS = 2000  # the newest drawn parts that calibrate; as many as the scans that are kept


class Calibration(NamedTuple):
    """Scores that can calibrate a model: those of the file, then those of the drawn parts ``numbers``."""

    scores: list
    peaks: list
    numbers: list
    from_file: int
    waiting: int  # drawn parts that do not count yet, since one at or before them has no review
    unscored: int  # good drawn parts that this version has not judged, and whose scans are gone


def chosen(parts, model, rescored):
    """The :class:`Calibration` of a model from drawn parts.

    Args:
        parts: all drawn parts of the recipe in the order of judging, with reviews.
        model: ``station.judging.Model``.
        rescored: {number: (score, peak)} of parts that an older version judged.
    """
    known = reviewed(parts)
    used = calibrating(known, model)
    own = {part.number: (part.score, part.content["peak"]) for part in used if part.model == model.sha256}
    found = {**rescored, **own}
    numbers = [part.number for part in used if part.number in found]
    scores = [float(score) for score in (*model.own_scores, *(found[number][0] for number in numbers))]
    peaks = [float(peak) for peak in (*model.own_peaks, *(found[number][1] for number in numbers))]
    return Calibration(scores, peaks, numbers, len(model.own_scores), len(parts) - len(known), len(used) - len(numbers))


def serving(known, role, models):
    """The parts among reviewed drawn ones that serve in a role, "calibration" or "comparison": those that were drawn
    for it and are in no file of ``models``."""
    inside = set().union(*(model.known for model in models))
    clear = [part for part in known if part.content["role"] == role and truth(part) != UNCLEAR]
    return [part for part in clear if part.content["fingerprint"] not in inside]


def calibrating(known, model):
    """The newest of the parts that serve as calibration of a model which are good and were judged."""
    parts = serving(known, "calibration", (model,))
    return [part for part in parts if truth(part) == GOOD and part.verdict != CANNOT_JUDGE][-MOST_PARTS:]


def compared(parts, old, new):
    """What two versions said about the same parts, as a dict for the journal and the page.

    Args:
        parts: that serve as comparison.
        old, new: [verdict] of these parts.
    """
    told = {"parts": len(parts), "differing": [p.number for p, v, w in zip(parts, old, new) if v != w]}
    for name, verdicts in (("old", old), ("new", new)):
        judged = [part._replace(verdict=verdict) for part, verdict in zip(parts, verdicts)]
        told[name] = {kind: rate._asdict() for kind, rate in rates(judged).items()}
    return told


def training_parts(journal, recipe):
    """The parts that may train the next version: reviewed as good, and never drawn; their scans may be gone."""
    where = "v.recipe = ? AND v.chance IS NULL AND v.number IN (SELECT part FROM events WHERE kind = 'review')"
    found = journal.events(where, (recipe,), "v.number DESC", MOST_PARTS)
    used = ("check", "judged_before")  # master parts, and recordings whose first verdict decides how they serve
    return [part for part in found if truth(part) == GOOD and not any(part.content.get(name) for name in used)]
