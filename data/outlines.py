"""Check whether a point cloud lies on its picture: compare the outline of its points with the picture's foreground."""

import numpy as np

BORDER = 2  # pixels: width of the grid's border
PLAIN, CLEAR = 0.9, 30.0  # least share of the border that looks alike; grey levels between border and foreground
INSIDE = 0.7  # least share of the points that lie on the foreground
GAIN, FITTING = 0.15, 0.85  # another placement must improve the overlap by this, and reach this overlap
PART = (0.03, 0.9)  # share of the picture that a part may take; else its outline is not used


def misfit(picture, valid):
    """Text on how the points are misplaced on a picture [S, S, 3]; None if they fit, or if no outline can be seen.
    ``valid`` [S, S] bool: where the cloud has points. Both are stretched to S × S.

    The border has to be plain: without points, and of one colour that clearly differs from the foreground.
    """
    part = foreground(picture)
    if part is None or _border(valid).mean() > 1 - PLAIN or not PART[0] <= valid.mean() <= PART[1]:
        return None
    fit = overlap(valid, part)
    others = {
        "mirrored left to right": valid[:, ::-1],
        "mirrored top to bottom": valid[::-1],
        "turned by 180°": valid[::-1, ::-1],
        "with rows and columns exchanged": valid.T,
    }
    shift = best_shift(valid, part)
    others["shifted by {:.0%} of the height and {:.0%} of the width".format(*(s / len(valid) for s in shift))] = (
        np.roll(valid, shift, (0, 1))
    )
    best, how = max((overlap(other, part), name) for name, other in others.items())
    if best >= FITTING and best > fit + GAIN:
        return f"the points' outline fits the picture's foreground by {fit:.0%}; {how} it would by {best:.0%}"
    inside = (valid & part).sum() / valid.sum()
    return f"only {inside:.0%} of the points lie on the picture's foreground" if inside < INSIDE else None


def foreground(picture):
    """[S, S] bool: the pixels of a picture [S, S, 3] that clearly differ from its border; None if that is unclear."""
    border = _border(picture)
    difference = np.abs(picture - np.median(border, axis=0)).max(axis=2)
    if (_border(difference) < CLEAR / 2).mean() < PLAIN:
        return None
    part = difference >= CLEAR
    unclear = (difference >= CLEAR / 2) & ~part
    return part if PART[0] <= part.mean() <= PART[1] and unclear.sum() < part.sum() / 2 else None


def overlap(one, other):
    """Intersection over union of two masks."""
    return float((one & other).sum() / max(1, (one | other).sum()))


def best_shift(mask, target):
    """(rows, columns) to roll ``mask`` by, so that it covers as much of ``target`` as possible."""
    found = np.fft.irfft2(np.fft.rfft2(target) * np.conj(np.fft.rfft2(mask)), target.shape)
    return tuple(
        int(s) if s <= len(mask) // 2 else int(s) - len(mask) for s in np.unravel_index(found.argmax(), found.shape)
    )


def _border(array):
    inner = np.zeros(array.shape[:2], bool)
    inner[BORDER:-BORDER, BORDER:-BORDER] = True
    return array[~inner]
