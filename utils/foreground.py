"""From a scan of a part lying on a plane to the part alone: plane removal, square padding, largest cluster.

Steps and constants are those of the released M3DM's preprocessing of MVTec 3D-AD; distances are metres.
"""

from typing import NamedTuple

import numpy as np

from utils.clusters import largest_cluster
from utils.errors import InputError

FRAME = 10  # pixels around the picture in which only the plane is expected
PLANE_THRESHOLD, PLANE_BAND = 0.004, 0.005  # of the search; of the removal
DRAWS, DRAW_SIZE = 1000, 50
PLANE_SHARE = 0.5  # of the frame's points that have to lie on the plane
EPS, MIN_POINTS = 0.006, 30
STEP = 100  # sides are rounded up to a multiple of this


class Isolated(NamedTuple):
    """The part alone."""

    rgb: np.ndarray
    xyz: np.ndarray
    touching: int  # of the part's points in the frame
    off_plane: int  # points off the plane, in the part or not
    points: int  # of the part


def isolate(rgb, xyz, seed=0, keep_touching=False):
    """The part alone; everything else that was measured becomes 0 in rgb and xyz. Pixels without a measurement keep
    their rgb.

    Args:
        rgb: [H, W, 3] uint8.
        xyz: [H, W, 3] float32, 0 where nothing was measured.
        seed: of the search for the plane.
        keep_touching: a part that touches the frame is no error.

    Returns:
        Isolated, with new arrays.

    Raises:
        InputError: without a file's name, that is the caller's to add. There is no plane: fewer than 50 of the
        frame's pixels
            are measured, or fewer than half of these lie within 0.004 m of the best plane. Nothing is left: off the
            plane no 30 points lie within 0.006 m of one. The part touches the frame: a point of the largest cluster
            lies within 10 pixels of the picture's edge, so that the part may be cut off and the plane be bent
            towards it.
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
        raise InputError(
            f"nothing is left: no cluster of {MIN_POINTS} points within {EPS} m off the plane ({above.sum()} points in "
            f"all)"
        )
    touching = int((part & frame).sum())
    if touching and not keep_touching:
        raise InputError(
            f"the part touches the frame: {touching} of its points lie within {FRAME} pixels of the picture's edge; "
            "take it out, or keep such parts with --keep_touching"
        )
    gone = (measured & ~part)[..., None]
    return Isolated(
        np.where(gone, 0, rgb).astype(rgb.dtype),
        np.where(gone, 0, xyz).astype(xyz.dtype),
        touching,
        int(above.sum()),
        int(part.sum()),
    )


def find_plane(points, seed=0):
    """Plane through most of the points by RANSAC: the draw with the most points within 0.004 m, refitted to these.

    Own code, since it is the fastest and needs no large library. The frame of a scan of 900×900 pixels (35,000 points),
    one thread, the same points of the plane removed by all three: with a tenth of the frame off the plane 0.1 s of
    processor time here, 0.6 s by Open3D 0.20, 2.5 s by scikit-learn 1.9's RANSACRegressor; with all of it on the plane
    0.10, 0.01 and 0.04 s, since the libraries stop early. Each of them takes another second of imports per process.

    Args:
        points: [N, 3] float64.

    Returns:
        (normal [3] of unit length, offset): points on the plane have ``point @ normal == offset``.

    Raises:
        InputError: too few points, or too few of them on the plane.
    """
    if len(points) < DRAW_SIZE:
        raise InputError(
            f"no plane: {len(points)} of the frame's pixels are measured, {DRAW_SIZE} are needed; was this part "
            f"preprocessed before?"
        )
    rng = np.random.default_rng(seed)
    draws = points[np.array([rng.choice(len(points), DRAW_SIZE, replace=False) for _ in range(DRAWS)])]
    normals, offsets = _fit(draws)
    found = np.array(
        [np.count_nonzero(np.abs(points @ n - o) <= PLANE_THRESHOLD) for n, o in zip(normals, offsets)]
    )  # one by one stays in cache
    best = found.argmax()
    if found[best] < PLANE_SHARE * len(points):
        raise InputError(
            f"no plane: {found[best] / len(points):.0%} of the frame's {len(points)} points lie within "
            f"{PLANE_THRESHOLD} m of the best "
            f"one, {PLANE_SHARE:.0%} are needed"
        )
    normals, offsets = _fit(points[np.abs(points @ normals[best] - offsets[best]) <= PLANE_THRESHOLD][None])
    return normals[0], offsets[0]


def _fit(groups):
    """Planes (normals [G, 3], offsets [G]) of least squared distance to each group of points [G, N, 3]."""
    middle = groups.mean(1)
    centred = groups - middle[:, None]
    normals = np.linalg.eigh(centred.transpose(0, 2, 1) @ centred)[1][:, :, 0]
    return normals, (normals * middle).sum(1)


def pad_square(array):
    """[H, W, ...] centred in zeros: a square whose side is the larger of H and W, rounded up to the next 100; an odd
    row or column of the padding is at the bottom or right."""
    height, width = array.shape[:2]
    side = -(-max(height, width) // STEP) * STEP
    top, left = (side - height) // 2, (side - width) // 2
    out = np.zeros((side, side, *array.shape[2:]), array.dtype)
    out[top : top + height, left : left + width] = array
    return out
