"""Fast point feature histograms (FPFH) of an organised point cloud: 33 numbers per point, without network weights.

Rusu, Blodow, Beetz: Fast Point Feature Histograms for 3D Registration, ICRA 2009. The released M3DM has no such
feature. Horwitz, Hoshen: Back to the Feature, 2022, report image-level results of memory banks on FPFH."""

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from common.errors import InputError
from common.progress import note
from feature_extractors.alignment import GRID
from feature_extractors.settings import FPFH_POINTS

FPFH_DIM = 3 * 11
NORMAL_POINTS = 30  # nearest points that a normal is fitted to, the point itself included
LEAVES = 64  # leaves of points that a thread works on at once


def fpfh_patches(xyz, valid):
    """FPFH of an organised cloud [3, S, S] on the patch grid: [3136, 33] float32 tensor on the CPU, row-major.

    Each row is the mean over one of 56×56 cells of the image, in which background pixels count as 0. ``valid``: [N]
    int64, row-major positions of the pixels with a measured point.
    Raises InputError: a measured point is not finite."""
    xyz, valid = xyz.detach().cpu(), valid.cpu()
    picture = torch.zeros(FPFH_DIM, xyz[0].numel())
    picture[:, valid] = torch.from_numpy(fpfh(xyz.flatten(1).T[valid].numpy())).T
    return F.adaptive_avg_pool2d(picture.view(1, FPFH_DIM, *xyz.shape[1:]), GRID)[0].flatten(1).T.contiguous()


def fpfh(points, normal_points=NORMAL_POINTS, feature_points=FPFH_POINTS):
    """FPFH [N, 33] float32 of ``points`` [N, 3], in per cent: each angle's 11 bins sum to 200.

    A point forms a pair with each of its nearest points. The source of a pair is the end whose normal is nearer to the
    line between them. Let n be its normal, d the unit direction to the other end, and m the other end's normal. The
    three angles are n·d; v·m for v = d×n/|d×n|; and the angle of m in the plane of n and w = n×v, atan2(w·m, n·m) =
    atan2(d·m - (n·d)(n·m), |d×n| n·m). They follow from n·d, d·m, n·m and the triple product alone; the triple product
    has the same value whichever end is the source. If both ends are equally near, as between points with the same
    surroundings, the point itself is the source; otherwise rounding would choose the sign of n·d (in Open3D it does).
    If d is parallel to n, all three count as 0, as in Open3D.

    A point's own (simplified) histogram counts these angles. FPFH adds the mean of the neighbours' histograms, weighted
    with 1/distance². Neighbours at exactly the same place do not count; a point without other neighbours gets 0. Of
    points equally far away at the edge of the neighbourhood, any may belong to it. The number of threads changes
    nothing.

    ``normal_points``, ``feature_points``: nearest points that a normal is fitted to, and that a histogram is made of,
    the point itself included; ``feature_points`` is not the smaller one. Raises InputError: a point is not finite."""
    points = np.ascontiguousarray(points, dtype=np.float64)
    if not np.isfinite(points).all():
        raise InputError("the point cloud holds NaN or infinite coordinates; mark such pixels as background (0, 0, 0)")
    if len(points) < 2:
        return np.zeros((len(points), FPFH_DIM), np.float32)
    loops = _loops()
    few, many = min(normal_points, len(points)), min(feature_points, len(points))
    order = loops.order_by_place(points)
    points = points[order]
    boxes = loops.boxes_of(points)
    index, squared = np.empty((len(points), many), np.int32), np.empty((len(points), many))
    pairs, single = np.zeros((len(points), 8), np.float32), np.zeros((len(points), loops.WIDE), np.float32)
    pairs[:, :3] = points - points.mean(0)
    mixed = np.empty((len(points), FPFH_DIM), np.float32)

    steps = [  # each needs all results of the one before
        lambda *part: loops.nearest(points, boxes, few, many, *part, index, squared),
        lambda *part: loops.normals(points, index, few, *part, pairs[:, 4:7]),
        lambda *part: loops.single_histograms(pairs, index, squared, *part, single),
        lambda *part: loops.add_weighted_means(single, index, squared, *part, mixed),
    ]
    starts = range(0, len(boxes), LEAVES)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for step in steps:
            list(pool.map(lambda start, step=step: step(start, min(start + LEAVES, len(boxes))), starts))
    features = np.empty_like(mixed)
    features[order] = mixed
    return features


@lru_cache(maxsize=None)
def _loops():
    """The compiled loops; imported here, since Numba takes a while. Says when they are compiled."""
    from feature_extractors import fpfh_loops

    if not fpfh_loops.are_kept():
        note("FPFH is compiled for this processor, which takes about 10 seconds", sys.stderr)
    return fpfh_loops
