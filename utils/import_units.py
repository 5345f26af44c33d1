"""Which unit coordinates are in: named by the user, or recognised from how much of the world the camera sees."""

from typing import NamedTuple

import numpy as np

from utils.errors import InputError

UNITS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6}  # metres
VIEW = (0.03, 1.5)  # metres: diagonals of what a camera sees of a part and its surroundings
MIXED = 5.0  # times the other scans' extent: another unit
CONSISTENT = (0.005, 10.0)  # metres: outside, even a unit that the user named is worth a word


class Unit(NamedTuple):
    """A unit: metres per number in the file, its name, and how it was found."""

    metres: float
    name: str
    found: str


def extent_of(points, measured):
    """Diagonal of the box that holds the middle 98 % of each coordinate of the measured points [H, W, 3], in their
    unit."""
    low, high = np.percentile(points[measured], [1, 99], axis=0)
    return float(np.linalg.norm(high - low))


def unit_from(text):
    """Unit of ``--unit``: a name of UNITS, or metres per count as a number.

    Raises:
        InputError: neither.
    """
    if text in UNITS:
        return Unit(UNITS[text], text, f"--unit {text}")
    try:
        metres = float(text)
        if not 0 < metres < np.inf:
            raise ValueError
    except ValueError:
        raise InputError(
            f"--unit {text}: needs {', '.join(UNITS)}, or the metres of one count, such as 0.00025"
        ) from None
    return Unit(metres, f"{metres:g} m", f"--unit {text}")


def recognise_unit(extent, whole_numbers):
    """Unit in which ``extent``, the diagonal of what is seen, is that of a part before a camera: 0.03 to 1.5 m.

    Metres or millimetres are recognised; centimetres and a reading that fits several units are refused.

    Args:
        extent: see ``extent_of``. whole_numbers: a depth image of whole numbers, which cameras save in millimetres.

    Returns:
        Unit.

    Raises:
        InputError: without a file's name, that is the caller's to add.
    """
    fitting = [name for name in ("m", "cm", "mm") if VIEW[0] <= extent * UNITS[name] <= VIEW[1]]
    if whole_numbers and "mm" in fitting:
        return Unit(UNITS["mm"], "mm", f"recognised: whole numbers, and {extent:.0f} mm are seen")
    if not whole_numbers and fitting in (["m"], ["mm"]):
        return Unit(UNITS[fitting[0]], fitting[0], f"recognised: {extent:.3g} {fitting[0]} are seen")
    shown = ", ".join(f"{extent * UNITS[name]:.3g} m as {name}" for name in ("m", "cm", "mm"))
    raise InputError(
        f"the unit cannot be recognised: the scan is {shown} across; say it: --unit m, cm or mm, or the metres of one "
        f"count"
    )
