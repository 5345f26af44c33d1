"""Fast point feature histograms (FPFH) of an organised point cloud: 33 numbers per point, without network weights.

Rusu, Blodow, Beetz: Fast Point Feature Histograms for 3D Registration, ICRA 2009. A point's histogram describes how
the normals around it turn, by three angles with 11 bins each. The released M3DM has no such feature. Horwitz, Hoshen:
Back to the Feature, 2022, report image-level results of memory banks on FPFH.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Optional

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree

from common.errors import InputError
from feature_extractors.alignment import GRID
from feature_extractors.settings import FPFH_POINTS

BINS = 11
FPFH_DIM = 3 * BINS
BLOCK = 256  # points whose pairs are computed at once, so that they stay in a core's cache
PARALLEL = 1e-6  # squared sine below which a line counts as parallel to a normal, in single precision
TIE = 1e-6  # difference of cosines below which both ends' normals count as equally near to the line
COSINES = (2 * np.arange(1, BINS) / BINS - 1).astype(np.float32)  # lower bounds of all bins but the first
TURNS = (np.pi * (2 * np.arange(1, BINS) / BINS - 1)).astype(np.float32)


class Neighbours(NamedTuple):
    """The nearest points of each point, nearest first, the point itself included.

    ``index`` [N, K] int64; ``distance`` [N, K] float32, NaN if the neighbour is farther away than the radius.
    """

    index: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True)
class FpfhSettings:
    """Size of each point's neighbourhood, and the camera's position.

    Attributes:
        normal_points: number of nearest points that a normal is fitted to, the point itself included.
        feature_points: number of nearest points that a histogram is made of, the point itself included.
        normal_radius, feature_radius: points farther away than this are left out, in the cloud's unit (metres); None:
            no limit.
        camera: (x, y, z) that normals point towards, in the cloud's unit.
    """

    normal_points: int = 30
    feature_points: int = FPFH_POINTS
    normal_radius: Optional[float] = None
    feature_radius: Optional[float] = None
    camera: tuple = (0.0, 0.0, 0.0)

    def __post_init__(self):
        if min(self.normal_points, self.feature_points) < 3:
            raise ValueError("surroundings of fewer than 3 points have no normal and no histogram")
        if any(radius is not None and not radius > 0 for radius in (self.normal_radius, self.feature_radius)):
            raise ValueError("a radius has to be more than 0")


def fpfh_patches(xyz, settings=FpfhSettings(), valid=None):
    """FPFH of an organised cloud on the patch grid.

    Args:
        xyz: tensor [3, S, S] or array [H, W, 3]; background 0.
        settings: FpfhSettings.
        valid: [S, S] or [H, W] bool, the pixels with a measured point; by default those whose x, y and z are all
            non-zero.

    Returns:
        [3136, 33] float32 tensor, row-major, on the device of ``xyz``. Each row is the mean over one of 56×56 cells of
        the image (4×4 pixels at 224×224), in which background pixels count as 0. It is exactly 0 if the cell is all
        background, or if the cloud has a single point.

    Raises:
        InputError: a measured point is not finite.
    """
    device = xyz.device if isinstance(xyz, torch.Tensor) else torch.device("cpu")
    if isinstance(xyz, torch.Tensor):
        xyz = xyz.detach().cpu().permute(1, 2, 0).numpy()
    if xyz.ndim != 3 or xyz.shape[2] != 3:
        raise ValueError(f"xyz has to be a tensor [3, S, S] or an array [H, W, 3], is {xyz.shape} as an array")
    valid = (xyz != 0).all(axis=2) if valid is None else np.asarray(valid, bool)
    picture = np.zeros((FPFH_DIM, *valid.shape), np.float32)
    picture[:, valid] = fpfh(xyz[valid], settings).T
    return F.adaptive_avg_pool2d(torch.from_numpy(picture)[None], GRID)[0].flatten(1).T.contiguous().to(device)


def fpfh(points, settings=FpfhSettings()):
    """FPFH of points.

    A point's own (simplified) histogram counts the angles to its neighbours, in per cent of the neighbours. FPFH adds
    the mean of the neighbours' histograms, weighted with 1/distance², also in per cent. So each angle's 11 bins sum to
    200. Neighbours at exactly the same place have no direction and do not count; a point without other neighbours gets
    0. The function uses as many threads as torch; the result does not depend on their number.

    Args:
        points: [N, 3] floats.

    Returns:
        [N, 33] float32.

    Raises:
        InputError: a point is not finite.
    """
    points = np.ascontiguousarray(points, dtype=np.float64)
    if not np.isfinite(points).all():
        raise InputError("the point cloud holds NaN or infinite coordinates; mark such pixels as background (0, 0, 0)")
    if len(points) < 2:
        return np.zeros((len(points), FPFH_DIM), np.float32)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        near = nearest(points, max(settings.normal_points, settings.feature_points), pool)
        around = first(near, settings.normal_points, settings.normal_radius)
        normals = estimate_normals(points, around, settings.camera, pool)
        near = first(near, settings.feature_points, settings.feature_radius)
        single = single_histograms(points, normals, near, pool)
    return single + weighted_mean(single, near)


def nearest(points, count, pool):
    """Neighbours: the ``count`` nearest (all N if fewer) of each of ``points`` [N, 3], found in ``pool``'s threads."""
    tree, count = cKDTree(points), min(count, len(points))
    near = Neighbours(np.empty((len(points), count), np.int64), np.empty((len(points), count), np.float32))

    def search(rows):
        near.distance[rows], near.index[rows] = (found.reshape(-1, count) for found in tree.query(points[rows], count))

    _by_blocks(pool, search, len(points))
    return near


def first(near, count, radius):
    """The first ``count`` Neighbours; those farther away than ``radius`` (None: no limit) get the distance NaN."""
    index, distance = near.index[:, :count], near.distance[:, :count]
    return Neighbours(index, distance if radius is None else np.where(distance <= radius, distance, np.float32("nan")))


def estimate_normals(points, near, camera, pool):
    """Normals [N, 3] float64 of unit length, turned to ``camera``: the direction in which the neighbours spread least.

    If all neighbours lie at one place, or fewer than 3 are within the radius, the normal points to the camera.
    """
    normals = np.empty_like(points)

    def fit(rows):
        inside = ~np.isnan(near.distance[rows])
        offset = points.take(near.index[rows], axis=0) - points[rows, None]  # small numbers lose fewer digits below
        if not inside.all():
            offset *= inside[..., None]
        count, mean = inside.sum(1), offset.sum(1) / inside.sum(1)[:, None]
        moments = offset.transpose(0, 2, 1) @ offset
        spread, axes = np.linalg.eigh(moments - count[:, None, None] * mean[:, :, None] * mean[:, None])
        view, normal = np.asarray(camera) - points[rows], axes[:, :, 0]
        normals[rows] = np.where(((normal * view).sum(1) < 0)[:, None], -normal, normal)
        undefined = (spread[:, 2] <= 0) | (count < 3)
        if undefined.any():
            view, length = view[undefined], np.linalg.norm(view[undefined], axis=1, keepdims=True)
            normals[rows][undefined] = np.where(length > 0, view / np.where(length > 0, length, 1), (0.0, 0.0, 1.0))

    _by_blocks(pool, fit, len(points))
    return normals


def single_histograms(points, normals, near, pool):
    """Simplified histograms [N, 33] float32 of ``points`` [N, 3] with ``normals`` [N, 3], in per cent of the pairs.

    Each point forms a pair with each neighbour. The source of a pair is the end whose normal is nearer to the line
    between them. Let n be its normal, d the unit direction to the other end, and m the other end's normal. The three
    angles are n·d; v·m for v = d×n/|d×n|; and the angle of m in the plane of n and w = n×v,
    atan2(w·m, n·m) = atan2(d·m - (n·d)(n·m), |d×n| n·m). They follow from n·d, d·m, n·m and the triple
    product alone; the triple product has the same value whichever end is the source.

    If both ends are equally near, as between points with the same surroundings, the point itself is the source;
    otherwise rounding would choose the sign of n·d (in Open3D it does). If d is parallel to n, all three count as 0,
    as in Open3D.

    To fill the bins, the angles at or above each bin's lower bound are counted. A pair without direction or beyond the
    radius is NaN and lies above no bound.
    """
    middle = points.mean(0)
    # centred coordinates keep their precision in float32
    place = [(points[:, i] - middle[i]).astype(np.float32) for i in range(3)]
    normal = [normals[:, i].astype(np.float32) for i in range(3)]
    single = np.empty((len(points), 3, BINS), np.float32)
    counter = np.uint8 if near.index.shape[1] < 256 else np.int32  # sums of bytes are fast

    def count(rows):
        index = np.ascontiguousarray(near.index[rows].T)  # [K, B]: sums over K then read memory in order
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.ascontiguousarray((1 / near.distance[rows]).T)
            line = [(p.take(index, mode="clip") - p[rows]) * scale for p in place]  # 0 · inf is NaN
        here, there = [n[rows] for n in normal], [n.take(index, mode="clip") for n in normal]
        triple, between = _dot(line, _cross(here, there)), _dot(here, there)
        own, other = _dot(here, line), _dot(there, line)
        # the source's cosine is own or -other, whichever is larger in size; the other end's is minus the smaller one
        difference = own - other
        larger = np.copysign(own + other, difference)
        tie = np.abs(difference) < TIE
        if tie.any():
            larger[tie] = (own + other)[tie]
        own = (difference + larger) / 2
        other = own - difference
        squared_sine = 1 - own * own
        sine = np.sqrt(np.maximum(squared_sine, np.float32(PARALLEL)))
        rise, run = torch.from_numpy(other - own * between), torch.from_numpy(between * sine)
        turn = torch.atan2(rise, run).numpy()  # numpy's is slow
        angles = [turn, triple / sine, own]
        along = squared_sine < PARALLEL
        if along.any():
            angles = [np.where(along, np.float32(0), angle) for angle in angles]
        total = len(index) - np.add.reduce(np.isnan(own), axis=0, dtype=np.int64)
        for i, (angle, bounds) in enumerate(zip(angles, (TURNS, COSINES, COSINES))):
            reached = [np.add.reduce((angle >= bound).view(np.uint8), axis=0, dtype=counter) for bound in bounds]
            reached = np.stack([total, *reached, np.zeros_like(total)], axis=1).astype(np.float32)
            share = (100 / np.maximum(total, 1)).astype(np.float32)[:, None]
            single[rows, i] = (reached[:, :-1] - reached[:, 1:]) * share

    _by_blocks(pool, count, len(points))
    return single.reshape(-1, FPFH_DIM)


def weighted_mean(single, near):
    """[N, 33]: mean of the neighbours' histograms [N, 33] with weights 1/distance²; each angle's bins sum to 100."""
    with np.errstate(invalid="ignore", divide="ignore"):
        largest = np.nanmax(near.distance, axis=1, keepdims=True)
        weight = np.where(near.distance > 0, (largest / near.distance) ** 2, np.float32(0))
    index, rows, weight = (torch.from_numpy(np.ascontiguousarray(a)) for a in (near.index, single, weight))
    mean = F.embedding_bag(index, rows, mode="sum", per_sample_weights=weight).numpy().reshape(-1, 3, BINS)
    total = mean.sum(2, keepdims=True)
    return (mean * np.divide(100, total, out=np.zeros_like(total), where=total > 0)).reshape(-1, FPFH_DIM)


def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a, b):
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def _by_blocks(pool, work, count):
    """Call ``work(slice)`` for all blocks of ``count`` rows, in the threads of ``pool``."""
    for _ in pool.map(work, [slice(i, min(i + BLOCK, count)) for i in range(0, count, BLOCK)]):
        pass
