"""Whether a point cloud lies on its picture: the outline of its points against the picture's foreground."""

import numpy as np

BORDER = 2  # pixels of the grid that count as its border
PLAIN, CLEAR = 0.9, 30.0  # share of the border that looks alike; grey levels by which the foreground differs from it
INSIDE = 0.7  # share of the points that lie on the foreground
GAIN, FITTING = 0.15, 0.85  # overlap by which another placement has to be better, and what it has to reach
PART = (0.03, 0.9)  # share of the picture that a part can take for its outline to be seen


def misfit(picture, valid):
    """How the points lie against the picture, as text; None where they fit, or where one of them shows no outline.

    Args:
        picture: [S, S, 3] grey levels. valid: [S, S] bool, where there are points. Both cover the whole file, each
            stretched to S × S.

    An outline is seen only where the border is plain: without points, and of one colour that the foreground differs
    from clearly.
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
    """Pixels [S, S] bool of a picture [S, S, 3] that differ clearly from its border; None where border and rest are
    not told apart."""
    border = _border(picture)
    difference = np.abs(picture - np.median(border, axis=0)).max(axis=2)
    if (_border(difference) < CLEAR / 2).mean() < PLAIN:
        return None
    part = difference >= CLEAR
    unclear = (difference >= CLEAR / 2) & ~part
    return part if PART[0] <= part.mean() <= PART[1] and unclear.sum() < part.sum() / 2 else None


def overlap(one, other):
    """Pixels in both of two masks over pixels in either."""
    return float((one & other).sum() / max(1, (one | other).sum()))


def best_shift(mask, target):
    """(rows, columns) by which ``mask`` has to be rolled to cover most of ``target``."""
    found = np.fft.irfft2(np.fft.rfft2(target) * np.conj(np.fft.rfft2(mask)), target.shape)
    return tuple(
        int(s) if s <= len(mask) // 2 else int(s) - len(mask) for s in np.unravel_index(found.argmax(), found.shape)
    )


def _border(array):
    inner = np.zeros(array.shape[:2], bool)
    inner[BORDER:-BORDER, BORDER:-BORDER] = True
    return array[~inner]
