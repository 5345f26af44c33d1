"""Size and distance of a scan, and the unit of its coordinates, which is given by the user or recognised."""

import argparse
from typing import NamedTuple, Optional

import numpy as np

from common.errors import InputError

UNITS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6}  # factor to metres
NAMES = {"cm": "centimetres", "mm": "millimetres", "um": "micrometres"}
LARGEST, FURTHEST = 2.0, 20.0  # metres: a scan that is larger or farther away seems to be in another unit
BEYOND = 10.0  # times LARGEST or FURTHEST: no part is that large or far away, so the given unit is refused
SMALLEST = 2.5e-4  # metres, and a tenth of it in micrometres: no part is smaller, so the given unit is refused
COUNTS = ("mm", "0.00025", "0.0001")  # depth images of whole numbers count these
OTHERS = ("mm", "cm", "0.00025", "0.0001", "um")  # that coordinates which are not metres may be in
PLAUSIBLE = 5e-3  # metres: a unit that makes a scan smaller is not advised
MILLIMETRES = (20.0, 150.0)  # a larger extent or distance looks like millimetres, not centimetres
VIEW = (0.02, 1.2)  # metres: range of extents that a camera sees of a part and its surroundings
OFFSET = 1e4  # a part this many extents from the origin has coordinates of a map or a hall, not of a sensor
SAMPLE = 12544  # points that are measured


class WrongUnit(InputError):
    """A file's coordinates are not in the unit that they should be in."""


class Measures(NamedTuple):
    """Size and place of a cloud, in the unit of its coordinates."""

    extent: float  # largest side of the box of the middle 98 % of points
    reach: float  # largest side of the box of all points
    centre: tuple  # median of the points
    distance: float  # median distance from the origin


class Unit(NamedTuple):
    """A unit: metres per number in the file, and how it was found."""

    metres: float
    found: str

    @property
    def name(self) -> str:
        """A key of UNITS, or the millimetres."""
        return next((name for name, metres in UNITS.items() if metres == self.metres), f"{1000 * self.metres:g} mm")


def metres_of(unit) -> float:
    """Metres of one count of ``unit``: a key of UNITS, or the metres as text, such as "0.0001"."""
    return UNITS.get(unit) or float(unit)


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
    """The unit (a key of UNITS) that an extent and a distance from the origin look like."""
    for unit in ("m", "mm"):
        if extent * UNITS[unit] <= LARGEST and distance * UNITS[unit] <= FURTHEST:
            break
    else:
        return "um"
    return unit if unit == "m" or extent > MILLIMETRES[0] or distance > MILLIMETRES[1] else "cm"


def unit_fault(extent, distance, unit: Optional[str]):
    """Text on why coordinates of this extent and distance cannot be in ``unit``; None if they can. ``unit``: None means
    metres, since the user gave no unit; ``"m"`` means metres whatever they look like."""
    guess, meant = guess_unit(extent, distance), "or --unit m if metres are meant"
    if unit == "m":
        return None
    if distance > OFFSET * extent > 0:
        offset = f"coordinates lie {distance:.3g} from the origin, the extent is {extent:.3g}"
        return f"{offset}: single precision blurs such a part; take the offset away, or give --unit m if this is meant"
    if unit is None and guess != "m":
        sizes = {name: (extent * metres_of(name), distance * metres_of(name)) for name in OTHERS}
        fitting = [name for name, (size, away) in sizes.items() if PLAUSIBLE <= size <= LARGEST and away <= FURTHEST]
        advice = ", ".join(_advised(name, *sizes[name]) for name in dict.fromkeys([guess, *fitting]))
        seen = f"the extent is {extent:.3g}, {distance:.3g} away"
        return f"coordinates look like {NAMES[guess]}, metres are expected: {seen}; give {advice}; {meant}"
    if unit is not None:
        size, away = extent * metres_of(unit), distance * metres_of(unit)
        small = size < (SMALLEST / 10 if metres_of(unit) < 1e-5 else SMALLEST)
        if small or size > BEYOND * LARGEST or away > BEYOND * FURTHEST:
            mend = "leave out --unit" if guess == "m" else f"give --unit {guess}"
            seen = f"with --unit {unit} the extent is {size:.2g} m, {away:.2g} m away"
            return f"{seen}; the coordinates look like {NAMES.get(guess, 'metres')}: {mend}, {meant}"
    return None


def _advised(unit, size, away):
    return f"--unit {unit} (factor {metres_of(unit):g}) if the scan is {size:.3g} m across and {away:.3g} m away"


def unit(text: str) -> str:
    """argparse type of --unit: a key of UNITS, or the metres of one count."""
    try:
        known = text in UNITS or 0 < float(text) < np.inf
    except ValueError:
        known = False
    if not known:
        wanted = f"needs {', '.join(UNITS)}, or the metres of one count, such as 0.00025"
        raise argparse.ArgumentTypeError(f"{text}: {wanted}")
    return text


def recognise_unit(extent, distance, whole_numbers):
    """The Unit, metres or millimetres, in which ``extent`` is a size that a camera sees of a part, 0.02 to 1.2 m.

    Since it is used and not only reported, it is stricter than ``guess_unit``: it refuses centimetres, an extent that
    fits several units, and so nearly all depth images of ``whole_numbers``, which may count 1, 0.25 or 0.1 mm.
    Raises InputError: no unit, or several, fit; the caller adds the file's name.
    """
    tried = COUNTS if whole_numbers else ("m", "cm", "mm")
    fitting = [name for name in tried if VIEW[0] <= extent * metres_of(name) <= VIEW[1]]
    if fitting in (["m"], ["mm"]):
        return Unit(metres_of(fitting[0]), f"recognised: {extent:.3g} {fitting[0]} are seen")
    shown = "; ".join(
        f"--unit {name} if it is {distance * metres_of(name):.3g} m away and {extent * metres_of(name):.3g} m across"
        for name in fitting or tried
    )
    why = "fits several units" if len(fitting) > 1 else "cannot be told"
    raise InputError(f"the unit of the scan {why}; say it: {shown}; or the metres of one count, such as --unit 0.0002")
