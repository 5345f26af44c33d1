"""Isolates a part that lies on a plane in a scan: plane removal, largest cluster, square padding.

Steps and constants are those of the released M3DM's preprocessing of MVTec 3D-AD. Distances are in metres.
"""

from typing import NamedTuple

import numpy as np

from common.errors import InputError
from data.clusters import largest_cluster

FRAME = 10  # width in pixels of the frame at the image's edge, in which only the plane is expected
PLANE_THRESHOLD, PLANE_BAND = 0.004, 0.005  # distance to the plane in the search, and in the removal
DRAWS, DRAW_SIZE = 1000, 50
PLANE_SHARE = 0.5  # share of the frame's points that has to lie on the plane
EPS, MIN_POINTS = 0.006, 30
STEP = 100  # sides are rounded up to a multiple of this


class Isolated(NamedTuple):
    """A part without its background."""

    rgb: np.ndarray
    xyz: np.ndarray
    touching: int  # number of the part's points in the frame
    share: float  # of the points off the plane that are the part's


def isolate(rgb, xyz, seed=0, keep_touching=False):
    """The part alone: all other measured pixels become 0 in ``rgb`` [H, W, 3] uint8 and ``xyz`` [H, W, 3] float32.
    Pixels without a point (0) keep their rgb. ``seed``: of the search for the plane; ``keep_touching``: a part that
    touches the frame is no error.

    Raises InputError, to which the caller adds the file's name: there is no plane (fewer than 50 of the frame's pixels
    are measured, or fewer than half of these lie within 0.004 m of the best one); nothing is left (off the plane, no
    point has 30 points within 0.006 m); or the part touches the frame of 10 pixels: it may be cut off, and the plane
    tilted.
    """
    measured = xyz.any(axis=2)
    frame = np.ones(measured.shape, bool)
    frame[FRAME:-FRAME, FRAME:-FRAME] = False
    normal, offset = find_plane(xyz[measured & frame].astype(np.float64), seed)
    points = xyz.astype(np.float64)
    above = measured & (np.abs(points @ normal - offset) > PLANE_BAND)
    part = np.zeros_like(measured)
    part[above] = largest_cluster(points[above], EPS, MIN_POINTS)
    if not part.any():
        none = f"no cluster of {MIN_POINTS} points within {EPS} m off the plane ({above.sum()} points in all)"
        raise InputError(f"nothing is left: {none}")
    touching = int((part & frame).sum())
    if touching and not keep_touching:
        raise InputError(
            f"the part touches the frame: {touching} of its points lie within {FRAME} pixels of the picture's edge; "
            "take it out, or keep such parts with --keep_touching"
        )
    gone = (measured & ~part)[..., None]
    rgb, xyz = (np.where(gone, 0, of).astype(of.dtype) for of in (rgb, xyz))
    return Isolated(rgb, xyz, touching, float(part.sum() / above.sum()))


def find_plane(points, seed=0):
    """(normal [3] of unit length, offset) of the plane through most of ``points`` [N, 3], with ``point @ normal`` =
    offset.

    RANSAC: the draw with the most points within 0.004 m, refitted to these. Own code, the fastest: 0.1 s on the frame
    of 900×900 pixels; Open3D 0.20 took 0.6 s, RANSACRegressor of scikit-learn 1.9 2.5 s.
    Raises InputError: too few points, or too few of them on the plane.
    """
    if len(points) < DRAW_SIZE:
        few = f"{len(points)} of the frame's pixels are measured, {DRAW_SIZE} are needed"
        raise InputError(f"no plane: {few}; was this part preprocessed before?")
    rng = np.random.default_rng(seed)
    draws = points[np.array([rng.choice(len(points), DRAW_SIZE, replace=False) for _ in range(DRAWS)])]
    normals, offsets = _fit(draws)
    # one plane at a time, so that the data stays in the cache
    found = np.array([np.count_nonzero(np.abs(points @ n - o) <= PLANE_THRESHOLD) for n, o in zip(normals, offsets)])
    best = found.argmax()
    if found[best] < PLANE_SHARE * len(points):
        share = f"{found[best] / len(points):.0%} of the frame's {len(points)} points"
        raise InputError(f"no plane: {share} lie within {PLANE_THRESHOLD} m of the best, {PLANE_SHARE:.0%} are needed")
    normals, offsets = _fit(points[np.abs(points @ normals[best] - offsets[best]) <= PLANE_THRESHOLD][None])
    return normals[0], offsets[0]


def _fit(groups):
    """Planes (normals [G, 3], offsets [G]) of least squared distance to each group of points [G, N, 3]."""
    middle = groups.mean(1)
    centred = groups - middle[:, None]
    normals = np.linalg.eigh(centred.transpose(0, 2, 1) @ centred)[1][:, :, 0]
    return normals, (normals * middle).sum(1)


def pad_square(array):
    """Pad [H, W, ...] with zeros to a square whose side is the larger of H and W, rounded up to the next 100. The array
    is centred; an odd row or column of padding goes to the bottom or right."""
    side = -(-max(array.shape[:2]) // STEP) * STEP
    before = [(side - own) // 2 for own in array.shape[:2]]
    widths = [(first, side - own - first) for first, own in zip(before, array.shape)]
    return np.pad(array, widths + [(0, 0)] * (array.ndim - 2))
