"""How large and how far away a scan is, and which unit its coordinates look like."""
from typing import NamedTuple, Optional

import numpy as np

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001}  # factor to metres
NAMES = {"cm": "centimetres", "mm": "millimetres"}
LARGEST, FURTHEST = 2.0, 20.0  # metres: a scan that is larger or further away is taken for one in another unit
SMALLEST = 0.00025  # metres: below it a unit was given that the coordinates do not have
MILLIMETRES = (20.0, 150.0)  # extent or distance from which they are taken for millimetres and not for centimetres
SAMPLE = 12544  # points that are looked at


class Measures(NamedTuple):
    """Size and place of a cloud, in the unit of its coordinates."""

    extent: float  # largest side of the box of the middle 98 % of points
    reach: float  # largest side of the box of all points
    centre: tuple  # median of the points
    distance: float  # median distance from the origin


def measure(points):
    """Measures of ``points`` [N, 3] float32, N > 0."""
    some = points[::max(1, len(points) // SAMPLE)]
    low, high = np.percentile(some, (1, 99), axis=0)
    return Measures(float((high - low).max()), float((points.max(0).astype(float) - points.min(0)).max()),
                    tuple(float(v) for v in np.median(some, axis=0)),
                    float(np.median(np.linalg.norm(some.astype(np.float64), axis=1))))


def guess_unit(extent, distance):
    """Unit ("m", "cm" or "mm") that an extent and a distance from the origin look like."""
    if extent <= LARGEST and distance <= FURTHEST:
        return "m"
    return "mm" if extent > MILLIMETRES[0] or distance > MILLIMETRES[1] else "cm"


def unit_fault(extent, distance, unit: Optional[str]):
    """Why coordinates of this extent and distance cannot be in ``unit`` (None: metres, not said by the user); None
    where they can."""
    guess = guess_unit(extent, distance)
    if unit is None and guess != "m":
        other = "cm" if guess == "mm" else "mm"
        return (
            f"coordinates look like {NAMES[guess]}, metres are expected: the extent is {extent:.3g}; give --unit "
            f"{guess} "
            f"(factor {UNITS[guess]:g}, then {extent * UNITS[guess]:.3g} m), --unit {other} if they are that, or "
            f"--unit m "
            "if metres are meant")
    if unit in NAMES and extent * UNITS[unit] < SMALLEST:
        return (f"with --unit {unit} the extent is {extent * UNITS[unit]:.2g} m; the coordinates look like "
                f"{'metres' if guess == 'm' else 'another unit'}: leave out --unit, or give the right one")
    return None
