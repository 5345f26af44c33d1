"""Fast point feature histograms (FPFH) of an organised point cloud: 33 numbers a point, no weights.

Rusu, Blodow, Beetz: Fast Point Feature Histograms for 3D Registration, ICRA 2009. Each point's histogram tells how the normals around it
turn, in three angles of 11 bins each. The released M3DM has nothing like it; image-level results of memory banks on FPFH are in
Horwitz, Hoshen: Back to the Feature, 2022.
"""
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Optional

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from feature_extractors.alignment import GRID
from utils.errors import InputError

BINS = 11
FPFH_DIM = 3 * BINS
BLOCK = 256  # points whose pairs are in hand at once: what stays in a core's cache
PARALLEL = 1e-6  # squared sine below which a line runs along a normal, in single precision
_COSINES = 2 * np.arange(1, BINS) / BINS - 1  # the bins' lower bounds, without the first


class Neighbours(NamedTuple):
    """The nearest points of each point: ``index`` [N, K] int64, ``distance`` [N, K] float64, nearest first, the point itself among them."""

    index: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True)
class FpfhSettings:
    """How large the surroundings are, and where the camera stands.

    Attributes:
        normal_points: points that a normal is fitted to, the point itself among them.
        feature_points: points whose histograms go into one, the point itself among them.
        normal_radius, feature_radius: of these only those within so many units of the cloud (metres), or None for no limit.
        camera: (x, y, z) that normals are turned to, in the cloud's units.
    """

    normal_points: int = 30
    feature_points: int = 100
    normal_radius: Optional[float] = None
    feature_radius: Optional[float] = None
    camera: tuple = (0.0, 0.0, 0.0)

    def __post_init__(self):
        if min(self.normal_points, self.feature_points) < 3:
            raise ValueError("surroundings of fewer than 3 points have no normal and no histogram")
        if any(radius is not None and not radius > 0 for radius in (self.normal_radius, self.feature_radius)):
            raise ValueError("a radius has to be more than 0")


def fpfh_patches(xyz, settings=FpfhSettings(), valid=None, workers=None):
    """FPFH of an organised cloud on the patches' grid.

    Args:
        xyz: tensor [3, S, S] or array [H, W, 3]; background 0.
        settings: FpfhSettings.
        valid: [S, S] or [H, W] bool, the pixels that are measured; by default those whose x, y and z are all non-zero.
        workers: threads; by default as many as torch uses. The result does not depend on them.

    Returns:
        [3136, 33] float32 tensor, row-major, on the device of ``xyz``: the mean over each of 56×56 cells of the picture, of 4×4 pixels at
        224×224, in which background pixels count as 0. Exactly 0 where a cell is all background, and where the cloud has a single point.

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
    picture[:, valid] = fpfh(xyz[valid], settings, workers).T
    return F.adaptive_avg_pool2d(torch.from_numpy(picture)[None], GRID)[0].flatten(1).T.contiguous().to(device)


def fpfh(points, settings=FpfhSettings(), workers=None):
    """FPFH of points.

    A point's own (simplified) histogram counts the angles to its neighbours, in per cent of them; FPFH adds to it the mean of its neighbours'
    histograms, weighted with 1/distance², in per cent too. Each angle's 11 bins therefore sum up to 200. Neighbours at the very same place
    have no direction and count for nothing; a point that has no others is 0.

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
    with ThreadPoolExecutor(workers or torch.get_num_threads()) as pool:
        near = nearest(points, max(settings.normal_points, settings.feature_points), pool)
        normals = estimate_normals(points, first(near, settings.normal_points, settings.normal_radius), settings.camera, pool)
        near = first(near, settings.feature_points, settings.feature_radius)
        single = _by_blocks(pool, lambda rows: _single_histograms(points, normals, near, rows), len(points))
        return _by_blocks(pool, lambda rows: single[rows] + _weighted_mean(single, near, rows), len(points))


def nearest(points, count, pool):
    """The ``count`` Neighbours of each of points [N, 3] (all N, where there are fewer), itself among them."""
    tree = cKDTree(points)
    found = _by_blocks(pool, lambda rows: np.stack(tree.query(points[rows], range(1, min(count, len(points)) + 1)), axis=1), len(points))
    return Neighbours(found[:, 1].astype(np.int64), found[:, 0])


def first(near, count, radius):
    """The ``count`` nearest Neighbours; those further away than ``radius`` (None: no limit) get the distance NaN."""
    index, distance = near.index[:, :count], near.distance[:, :count]
    return Neighbours(index, distance if radius is None else np.where(distance <= radius, distance, np.nan))


def estimate_normals(points, near, camera, pool):
    """Normals [N, 3] float64 of unit length: the direction in which a point's neighbours spread least, turned to ``camera``.

    Where all neighbours lie at one place, and where fewer than 3 are within the radius, it is the direction of the camera.
    """
    return _by_blocks(pool, lambda rows: _normals(points, near, camera, rows), len(points))


def _normals(points, near, camera, rows):
    inside = ~np.isnan(near.distance[rows])[..., None]
    offset = (points[near.index[rows]] - points[rows, None]) * inside  # small numbers, so that nothing cancels
    count = inside.sum(1)
    offset -= offset.sum(1, keepdims=True) / count[:, None] * inside
    offset *= inside
    spread, axes = np.linalg.eigh(offset.transpose(0, 2, 1) @ offset)
    view = np.asarray(camera) - points[rows]
    normal = axes[:, :, 0]
    normal = np.where(((normal * view).sum(1) < 0)[:, None], -normal, normal)
    undefined = (spread[:, 2] <= 0) | (count[:, 0] < 3)
    if undefined.any():
        length = np.linalg.norm(view[undefined], axis=1, keepdims=True)
        normal[undefined] = np.where(length > 0, view[undefined] / np.where(length > 0, length, 1), (0.0, 0.0, 1.0))
    return normal


def _single_histograms(points, normals, near, rows):
    """[B, 33] simplified histograms of the points ``rows``: shares of their neighbours in per cent.

    Of a pair that end is the source whose normal is nearer to the line between them; with its normal n, unit direction d to the other end
    and the other's normal m the angles are n·d, v·m for v = d×n/|d×n|, and the angle of m in the plane of n and w = n×v,
    atan2(w·m, n·m) = atan2(d·m - (n·d)(n·m), |d×n| n·m). All three follow from n·d, d·m, n·m and the triple product alone; the last has the
    same value whichever end is the source. Where d runs along n all three count as 0.

    Bins are counted from their lower bounds: so many lie at or above each. A pair without direction or beyond the radius is NaN throughout
    and lies above none.
    """
    index = near.index[rows].T  # [K, B], so that sums over K run along memory
    distance = near.distance[rows].T
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(distance > 0, 1 / distance, np.nan)
        here, there = normals[rows].astype(np.float32).T, [normals[:, i].astype(np.float32)[index] for i in range(3)]
        line = [((points[:, i][index] - points[rows, i]) * scale).astype(np.float32) for i in range(3)]
    own, other, between = (_dot(a, b) for a, b in ((here, line), (there, line), (here, there)))
    triple = _dot(line, _cross(here, there))
    swap = np.abs(other) > np.abs(own)
    own, other = np.where(swap, -other, own), np.where(swap, -own, other)
    squared_sine = 1 - own * own
    along = squared_sine < PARALLEL
    sine = np.sqrt(np.maximum(squared_sine, PARALLEL))
    height, width = other - own * between, between * sine
    turned = height / (np.abs(height) + np.abs(width))  # rises with the angle over the right half, see _turn
    turned = np.where(width < 0, np.copysign(2, height) - turned, turned)
    angles = turned, triple / sine, own
    if along.any():
        angles = [np.where(along, np.float32(0), angle) for angle in angles]
    total = np.count_nonzero(~np.isnan(own), axis=0)
    histogram = np.empty((3, BINS, len(total)), np.float32)
    for angle, bounds, out in zip(angles, (_turn(np.pi * _COSINES), _COSINES, _COSINES), histogram):
        reached = np.stack([total, *(np.add.reduce(angle >= np.float32(bound), axis=0, dtype=np.int64) for bound in bounds)])
        out[:-1], out[-1] = reached[:-1] - reached[1:], reached[-1]
    return (histogram * (100 / np.maximum(total, 1)).astype(np.float32)).reshape(FPFH_DIM, -1).T


def _turn(angle):
    """A number from -2 to 2 that rises with the angle from -π to π and needs no arcus: sin/(|sin| + |cos|), mirrored over the left half."""
    sine, cosine = np.sin(angle), np.cos(angle)
    turned = sine / (np.abs(sine) + np.abs(cosine))
    return np.where(cosine < 0, np.copysign(2, sine) - turned, turned)


def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a, b):
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def _weighted_mean(single, near, rows):
    """[B, 33]: mean of the neighbours' simplified histograms [N, 33] with weights 1/distance², each angle's bins 100 in sum."""
    distance = near.distance[rows]
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(distance > 0, (distance / np.nanmax(distance, axis=1, keepdims=True)) ** -2, 0)
    count, width = weight.shape
    start = np.arange(count + 1) * width
    mean = csr_array((weight.astype(np.float32).ravel(), near.index[rows].ravel(), start), (count, len(single))) @ single
    mean = mean.reshape(count, 3, BINS)
    total = mean.sum(2, keepdims=True)
    return (mean * np.divide(100, total, out=np.zeros_like(total), where=total > 0)).reshape(count, FPFH_DIM)


def _by_blocks(pool, work, count):
    """``work(slice)`` of all blocks of ``count`` rows, done by the pool's threads, as one array."""
    size = BLOCK
    return np.concatenate(list(pool.map(work, [slice(i, min(i + size, count)) for i in range(0, count, size)])))
