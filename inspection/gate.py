"""Can this scan be judged at all? Not if a sensor delivered nothing, the cloud is in another unit, or the picture has
lost its colour, has red and blue exchanged, or an exposure far from that of the training parts.

A part that is too thin, too short, of another colour or incomplete is a defect: that is for the score to say.
"""

import numpy as np
from numpy.typing import ArrayLike

from data.findings import times_as_large
from data.scans import Scan, checked_arrays
from data.units import measure
from inspection.regions import measured_pixels
from part_frame.light import Light, fault, light_of_view

FEWEST_POINTS = 16
COARSE = 8  # pixels: step of a grid that nearly always shows that a sensor lives
BLACK = 2  # of 255


def check(scan: Scan, clouds: bool, light: Light | None, size: tuple[float, float] | None) -> str:
    """Why a scan cannot be judged, in one line; "" if it can.

    Args:
        clouds: False: no cloud is read.
        light: the Light that is usual for whole pictures; None: it is not known, or looked at in the part's frame.
        size: usual extent and distance of the points in metres, see ``data.units.Measures``; None: not known.
    """
    dead = dead_sensor(scan.rgb, scan.xyz, clouds)
    if dead:
        return f"{dead}: rescan"
    if clouds and size is not None:
        large = times_as_large(measure(scan.xyz[measured_pixels(scan.xyz)]), *size)
        if large:
            return f"{large}: give it in the unit of the training parts"
    return "" if light is None else fault(light_of_view(scan.rgb), light)


def dead_sensor(rgb: ArrayLike, xyz: ArrayLike, clouds: bool = True) -> str:
    """Text on a sensor that delivered nothing, or "". ``rgb``: [H, W, 3] uint8; ``xyz``: [H, W, 3] metres, which
    counts only with ``clouds``."""
    whole = checked_arrays(rgb, xyz)
    for step in (COARSE, 1):  # what a coarse grid shows is there; what it lacks may lie between
        picture, cloud = (of[::step, ::step] for of in whole)
        found: list[str] = []
        if np.count_nonzero(picture > BLACK) < FEWEST_POINTS:
            found.append("the picture is black: camera or light is off")
        elif (picture == picture[0, 0]).all():
            found.append("the picture has one colour only: the camera gives no picture")
        points = cloud[measured_pixels(cloud)]
        if clouds and len(points) < FEWEST_POINTS:
            found.append(f"the cloud is empty ({len(points)} points): the 3D sensor gives nothing")
        elif clouds and (points == points[0]).all():
            found.append("all points of the cloud are one: the 3D sensor gives nothing")
        if not found:
            break
    return "; ".join(found)
