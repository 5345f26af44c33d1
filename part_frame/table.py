"""The plane that a part lies on, with the noise of the sensor on it."""

from typing import NamedTuple

import numpy as np

TRIALS = 200  # triples of points; a table of a third of the points is missed by all of them once in 1,700 scans
SAMPLE = 1500  # points that a trial is counted on
REFINED = 20000  # points that the plane is refined on
MAD = 1.4826  # standard deviation of a normal distribution in median absolute deviations
TILT = 0.6  # least cosine between the table's normal and the line of sight: steeper planes are walls
FEWEST = 0.08  # least share of the points that a table has
BEHIND = 0.02  # largest share of the points that may lie behind a table: it hides what is behind it


class Table(NamedTuple):
    """A plane in the scan. Heights are counted from it towards the camera, in mm.

    ``rotation`` [3, 3]: rows are the table's x (along the camera's columns), y (along its rows) and height axes;
    ``origin`` [3]: the table's point that is nearest to the camera, mm, so that x and y of a place on the table stay
    the same from scan to scan; ``noise``: standard deviation of single points around the table, mm.
    """

    rotation: np.ndarray
    origin: np.ndarray
    noise: float

    def heights(self, points):
        """Heights in mm of points [..., 3] in mm."""
        normal = self.rotation[2].astype(points.dtype)
        return points @ normal - float(self.origin @ self.rotation[2])

    def coordinates(self, points):
        """x, y and height in mm of points [..., 3] in mm."""
        return points @ self.rotation.T - self.rotation @ self.origin


def axes(normal):
    """[3, 3], rows x, y, height of a table whose unit ``normal`` points to the camera; x along the camera's columns."""
    height = np.asarray(normal, float)
    x = np.array([1.0, 0, 0]) - height[0] * height
    x /= np.linalg.norm(x)
    y = np.cross(x, height)  # with height towards the camera (-z) this is the direction of the rows, downwards
    return np.stack([x, y, height])


def find_table(xyz, there):
    """The :class:`Table` in a scan, or None if there is none.

    It is the plane with the most points that has almost no point behind it: the top of a part can be larger than what
    is seen of the table, but the table lies behind it. A plane that is steep to the line of sight is a wall.

    Args:
        xyz: [..., 3] mm, camera at the origin, z along its axis.
        there: [...] bool, the pixels that have a point.
    """
    points, at = xyz.reshape(-1, 3), np.flatnonzero(there)
    if len(at) < 100:
        return None
    draw = np.random.default_rng(0)
    some = points[at[draw.integers(0, len(at), min(SAMPLE, len(at)))]]
    corner, second, third = (some[draw.integers(0, len(some), TRIALS)] for _ in range(3))
    normals = np.cross(second - corner, third - corner)
    length = np.linalg.norm(normals, axis=1)
    keep = length > 1e-9
    normals, corner = normals[keep] / length[keep, None], corner[keep]
    if not len(normals):
        return None
    normals *= np.where((normals * corner).sum(1) > 0, -1, 1)[:, None]  # towards the camera
    view = -corner / np.linalg.norm(corner, axis=1, keepdims=True)
    upright = (normals * view).sum(1) > TILT
    normals, corner = normals[upright], corner[upright]
    if not len(normals):
        return None
    heights = some @ normals.T - (normals * corner).sum(1)  # [sample, trials]
    rough = max(0.002 * float(np.median(np.linalg.norm(some, axis=1))), 0.05)  # 0.2 % of the distance
    support, behind = (np.abs(heights) < rough).mean(0), (heights < -3 * rough).mean(0)
    good = (support > FEWEST) & (behind < BEHIND)
    if not good.any():
        return None
    best = int(np.argmax(np.where(good, support, 0)))
    normal, origin = normals[best], corner[best]
    tolerance = 3 * rough
    points = points[at[:: max(1, len(at) // REFINED)]]
    for _ in range(6):  # refined on all points, with the noise that the fit itself shows
        away = (points - origin) @ normal
        near = points[np.abs(away) < tolerance]
        if len(near) < 50:
            return None
        origin = near.mean(0)
        _, vectors = np.linalg.eigh(np.cov((near - origin).T))
        normal = vectors[:, 0] if vectors[:, 0] @ origin < 0 else -vectors[:, 0]
        away = (near - origin) @ normal
        noise = MAD * float(np.median(np.abs(away - np.median(away))))
        tolerance = min(tolerance, max(4 * noise, 1e-3))
    return Table(axes(normal), (origin @ normal) * normal, max(noise, 1e-4))
