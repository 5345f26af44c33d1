"""Names the folders of a category that differ from the training parts in more than defects: another camera, or day.

A method finds such a difference as surely as a defect, so scores of the folder say little of its defects.
"""

from collections import Counter
from statistics import median

import numpy as np

from data.part_facts import Facts

SPACING = 1.25  # a folder's points lie this many times as far apart, or as near
FOCAL, CENTRE = 1.03, 0.03  # focal lengths differ by this factor; principal points by this share of the larger side
GREY = 0.5  # levels: pictures whose channels differ by less have no colour
COLOURED = 4.0  # levels: pictures whose channels differ by more have colour
SWAPPED = 3.0  # the mean colour fits this many times better with red and blue exchanged
COLOUR, SPREADS = 15.0, 6.0  # levels and usual spreads by which the mean colour differs


def usual_of(rows) -> Facts:
    """What the training parts in ``rows`` have in common, as the Facts of one part, which a model can keep as JSON."""
    known = [part.facts for row in rows if row.split == "train" for part in row.parts]
    coloured, rays = [f for f in known if f.colour], [f.rays for f in known if f.rays]
    return Facts(
        picture_size=_most(f.picture_size for f in known),
        tiff_size=_most(f.tiff_size for f in known),
        colour=_mean(coloured) if coloured else None,
        rays=tuple(median(values) for values in zip(*rays)) if rays else None,
        **{what: _median(getattr(f, what) for f in known) for what in ("chroma", "extent", "distance", "spacing")},
    )


def _most(values):
    counts = Counter(value for value in values if value)
    return counts.most_common(1)[0][0] if counts else None


def told_apart(facts, known, with_clouds=True):
    """Texts on what the parts of ``facts`` differ in from those of ``known``, apart from defects."""
    texts = [_size("pictures have", "picture_size", facts, known), _colour(facts, known)]
    if with_clouds:
        texts += [_size("point clouds have", "tiff_size", facts, known), _spacing(facts, known), _rays(facts, known)]
    return [text for text in texts if text]


def differences(rows, with_clouds=True):
    """Texts on the folders whose parts differ from train/good, of Rows with facts."""
    used = [row for row in rows if row.parts]
    reference = next((row for row in used if row.split == "train"), None)
    if reference is None:
        return []
    why = "another camera, mode or day is told from a defect by no method"
    read = [[part.facts for part in row.parts if part.files.xyz or not with_clouds] for row in used]
    known = read[used.index(reference)]
    return [
        f"{row.parts[0].path.parents[1]}: {text}: {why}"
        for row, facts in zip(used, read)
        if row is not reference
        for text in told_apart(facts, known, with_clouds)
    ]


def _size(what, field, facts, known):
    own, others = (Counter(filter(None, (getattr(f, field) for f in some))) for some in (facts, known))
    if not own or not others or set(own) & set(others):
        return None
    shown, usual = (counts.most_common(1)[0][0] for counts in (own, others))
    return f"{what} {shown[0]}×{shown[1]} pixels, those of train/good {usual[0]}×{usual[1]}"


def _colour(facts, known):
    here, there = ([f for f in some if f.colour is not None] for some in (facts, known))
    if not here or not there:
        return None
    grey, usual = (median(f.chroma for f in some) for some in (here, there))
    if grey < GREY and usual > COLOURED:
        return "pictures have no colour, those of train/good have"
    if usual < GREY and grey > COLOURED:
        return "pictures have colour, those of train/good have none"
    own, mean = _mean(here), _mean(there)
    away, exchanged = _apart(own, mean), _apart(own[::-1], mean)
    spread = median(_apart(f.colour, mean) for f in there)
    if away > max(COLOUR / 2, 2 * spread) and exchanged * SWAPPED < away:
        return f"red and blue seem to be exchanged: the mean colour is {_levels(own)}, in train/good {_levels(mean)}"
    if away > max(COLOUR, SPREADS * spread):
        return f"the mean colour is {_levels(own)}, in train/good {_levels(mean)}"
    return None


def _spacing(facts, known):
    own, usual = (_median(f.spacing for f in some) for some in (facts, known))
    if not own or not usual or 1 / SPACING < own / usual < SPACING:
        return None
    return f"points lie {own / usual:.2g} times as far apart as in train/good"


def _rays(facts, known):
    own, usual = ([f for f in some if f.rays and f.tiff_size] for some in (facts, known))
    if not own or not usual or own[0].tiff_size != usual[0].tiff_size:
        return None
    here, there = (np.median(np.abs([f.rays for f in some]), axis=0) for some in (own, usual))
    focal, off = here[:2] / there[:2], np.abs(here - there)[2:].max()
    if focal.max() < FOCAL and focal.min() > 1 / FOCAL and off < CENTRE * max(own[0].tiff_size):
        return None
    shown = [" ".join(f"{value:.4g}" for value in rays) for rays in (here, there)]
    return f"seen by another camera (fx fy cx cy {shown[0]}, in train/good {shown[1]})"


def _median(values):
    there = [value for value in values if value]
    return median(there) if there else None


def _mean(facts):
    return tuple(map(median, zip(*(f.colour for f in facts))))


def _apart(one, other):
    return max(abs(a - b) for a, b in zip(one, other))


def _levels(colour):
    return "(" + ", ".join(f"{value:.0f}" for value in colour) + ")"
