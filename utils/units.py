"""How large and how far away a scan is, and which unit its coordinates are in: said by the user, or recognised."""

from typing import NamedTuple, Optional

import numpy as np

from utils.errors import InputError

UNITS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6}  # factor to metres
NAMES = {"cm": "centimetres", "mm": "millimetres", "um": "micrometres"}
LARGEST, FURTHEST = 2.0, 20.0  # metres: a scan that is larger or further away is taken for one in another unit
BEYOND = 10.0  # times LARGEST or FURTHEST: no part is that large, whatever unit was said
SMALLEST = {"cm": 2.5e-4, "mm": 2.5e-4, "um": 2.5e-5}  # metres: below it the coordinates are not in the unit said
MILLIMETRES = (20.0, 150.0)  # extent or distance from which they are taken for millimetres and not for centimetres
VIEW = (0.02, 1.2)  # metres: extents of what a camera sees of a part and its surroundings
OFFSET = 1e4  # extents between a part and the origin: coordinates of a map or a hall, not of a sensor
SAMPLE = 12544  # points that are looked at


class Measures(NamedTuple):
    """Size and place of a cloud, in the unit of its coordinates."""

    extent: float  # largest side of the box of the middle 98 % of points
    reach: float  # largest side of the box of all points
    centre: tuple  # median of the points
    distance: float  # median distance from the origin


class Unit(NamedTuple):
    """A unit: metres per number in the file, its name, and how it was found."""

    metres: float
    name: str
    found: str


def measure(points):
    """Measures of ``points`` [N, 3] floats, N > 0."""
    some = points[:: max(1, len(points) // SAMPLE)]
    low, high = np.percentile(some, (1, 99), axis=0)
    return Measures(
        float((high - low).max()),
        float((points.max(0).astype(float) - points.min(0)).max()),
        tuple(float(v) for v in np.median(some, axis=0)),
        float(np.median(np.linalg.norm(some.astype(np.float64), axis=1))),
    )


def guess_unit(extent, distance):
    """Unit (a key of UNITS) that an extent and a distance from the origin look like."""
    for unit in ("m", "mm"):
        if extent * UNITS[unit] <= LARGEST and distance * UNITS[unit] <= FURTHEST:
            break
    else:
        return "um"
    return unit if unit == "m" or extent > MILLIMETRES[0] or distance > MILLIMETRES[1] else "cm"


def unit_fault(extent, distance, unit: Optional[str]):
    """Why coordinates of this extent and distance cannot be in ``unit`` (None: metres, not said by the user); None
    where they can. ``"m"`` says that they are metres, whatever they look like."""
    guess = guess_unit(extent, distance)
    if unit != "m" and distance > OFFSET * extent > 0:
        return (
            f"coordinates lie {distance:.3g} from the origin, the extent is {extent:.3g}: single precision blurs "
            "such a part; take the offset away, or give --unit m if this is meant"
        )
    if unit is None and guess != "m":
        other = "cm" if guess == "mm" else "mm"
        return (
            f"coordinates look like {NAMES[guess]}, metres are expected: the extent is {extent:.3g}; give --unit "
            f"{guess} (factor {UNITS[guess]:g}, then {extent * UNITS[guess]:.3g} m), --unit {other} if they are that, "
            "or --unit m if metres are meant"
        )
    if unit in NAMES:
        size, away = extent * UNITS[unit], distance * UNITS[unit]
        if size < SMALLEST[unit] or size > BEYOND * LARGEST or away > BEYOND * FURTHEST:
            mend = "leave out --unit" if guess == "m" else f"give --unit {guess}"
            return (
                f"with --unit {unit} the extent is {size:.2g} m, {away:.2g} m away; the coordinates look like "
                f"{NAMES.get(guess, 'metres')}: {mend}, or --unit m if metres are meant"
            )
    return None


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
    """Unit in which ``extent`` is that of what a camera sees of a part, 0.02 to 1.2 m.

    Stricter than ``guess_unit``, since it is not only said but used: metres or millimetres are recognised;
    centimetres and an extent that fits several units are refused.

    Args:
        extent: see Measures. whole_numbers: a depth image of whole numbers, which cameras save in millimetres.

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
