"""FPFH against a plain form written out pair by pair, and against Open3D; its nearest points against all distances."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from feature_extractors import fpfh_loops
from feature_extractors.fpfh import FPFH_DIM, fpfh, fpfh_patches
from tests.make_data import scan as part

SMALL = (10, 20)


def scan(size=64, seed=0):
    """Points [N, 3] of a generated part, float64."""
    xyz = part(size, seed)
    return xyz[(xyz != 0).all(axis=2)].astype(float)


def bumps(seed, count):
    """Random points [N, 3] of a curved surface in front of the camera."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, 1, (2, count))
    return np.stack([x, y, 3 + 0.3 * np.sin(3 * x) * np.cos(4 * y) + 0.02 * rng.standard_normal(count)], axis=1)


def plain_fpfh(points, normal_points, feature_points):
    """The definition, pair by pair in double precision, with frames and cross products."""
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)

    order = np.argsort(distance, axis=1, kind="stable")
    normals = []
    for i, point in enumerate(points):
        near = points[order[i, :normal_points]]
        normal = np.linalg.svd(near - near.mean(0))[2][-1]
        normals.append(normal * (1 if normal @ -point >= 0 else -1))

    def angles(i, j):
        d = (points[j] - points[i]) / distance[i, j]
        n, m = normals[i], normals[j]
        if abs(m @ d) > abs(n @ d) + 1e-6:
            d, n, m = -d, m, n
        v = np.cross(d, n)
        v /= np.linalg.norm(v)
        w = np.cross(n, v)
        return np.arctan2(w @ m, n @ m) / np.pi, v @ m, n @ d

    single, sets = np.zeros((len(points), 3, 11)), []
    for i in range(len(points)):
        sets.append([j for j in order[i, :feature_points] if distance[i, j] > 0])
        for j in sets[-1]:
            for k, value in enumerate(angles(i, j)):
                single[i, k, min(int((value + 1) / 2 * 11), 10)] += 100 / len(sets[-1])
    out = single.copy()
    for i, near in enumerate(sets):
        if near:
            mean = sum(single[j] / distance[i, j] ** 2 for j in near)
            out[i] += 100 * mean / np.maximum(mean.sum(1, keepdims=True), 1e-300)
    return out.reshape(len(points), -1)


@pytest.mark.parametrize("sizes", [SMALL, (30, 100), (120, 120)])
def test_equals_the_plain_form(sizes):
    points = bumps(0, 110)
    difference = np.abs(fpfh(points, *sizes) - plain_fpfh(points, *sizes)).max(axis=1)
    assert (difference < 1e-3).mean() > 0.97  # in single precision a pair may fall on the other side of a bin's bound
    assert difference.max() < 2 * 100 / 20


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(2, 400),
    kind=st.sampled_from(["surface", "clusters", "grid", "line", "doubled"]),
    share=st.floats(0, 1),
)
def test_the_nearest_points_are_the_nearest_of_all(seed, count, kind, share):
    rng = np.random.default_rng(seed)
    points = {
        "surface": lambda: bumps(seed, count),
        "clusters": lambda: rng.normal(size=(count, 3)) * 1e-4 + rng.integers(0, 3, (count, 1)),
        "grid": lambda: rng.integers(0, 6, (count, 3)).astype(float),
        "line": lambda: np.linspace([0, 0, 1], [1, 2, 3], count),
        "doubled": lambda: np.repeat(bumps(seed, count), 2, axis=0)[:count],
    }[kind]()
    many = max(1, round(share * min(count, 120)))
    few = max(1, many // 3)
    points = points[fpfh_loops.order_by_place(points)]
    boxes = fpfh_loops.boxes_of(points)
    index, squared = np.empty((len(points), many), np.int32), np.empty((len(points), many))
    for leaf in range(len(boxes)):  # one by one: each begins with a new guess
        fpfh_loops.nearest(points, boxes, few, many, leaf, leaf + 1, index, squared)
    apart = ((points[:, None] - points[None]) ** 2).sum(2)
    np.testing.assert_allclose(np.take_along_axis(apart, index.astype(int), 1), squared, rtol=1e-12)
    assert all(len(set(row)) == many for row in index)
    expected = np.sort(apart, axis=1)
    np.testing.assert_allclose(np.sort(squared[:, :few], axis=1), expected[:, :few], rtol=1e-9, atol=1e-30)
    np.testing.assert_allclose(np.sort(squared, axis=1), expected[:, :many], rtol=1e-9, atol=1e-30)


@pytest.mark.open3d
@pytest.mark.parametrize("seed", range(3))
def test_equals_open3d(seed):
    open3d = pytest.importorskip("open3d")
    points, near = scan(224, seed), open3d.geometry.KDTreeSearchParamKNN
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    cloud.estimate_normals(near(30))
    cloud.orient_normals_towards_camera_location(np.zeros(3))
    expected = np.asarray(open3d.pipelines.registration.compute_fpfh_feature(cloud, near(100)).data).T
    got = fpfh(points)
    difference = np.abs(got - expected).max(axis=1)
    assert np.median(difference) < 1e-3
    assert (difference < 0.01).mean() > 0.975 and difference.max() < 2.5 * 100 / 99  # the others: at a bin's bound
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 3e-4


def test_threads_and_repetition_change_nothing():
    points, threads = scan(), torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(fpfh(points))
    finally:
        torch.set_num_threads(threads)
    assert all(np.array_equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 29])
def test_few_points_and_shapes_that_are_no_surface(count):
    got = fpfh(bumps(1, count))
    assert got.shape == (count, FPFH_DIM) and got.dtype == np.float32 and np.isfinite(got).all()
    np.testing.assert_allclose(got.reshape(count, 3, 11).sum(2), 200 if count > 1 else 0, rtol=1e-5)
    assert not fpfh(np.full((count, 3), 0.3)).any()
    assert np.isfinite(fpfh(np.linspace([0, 0, 1], [1, 1, 2], 150))).all()


def test_coplanar_points_fill_the_middle_bins_alone():
    rng = np.random.default_rng(0)
    points = np.append(rng.uniform(-1, 1, (200, 2)), np.full((200, 1), 2.0), axis=1)
    expected = np.zeros(FPFH_DIM)
    expected[[5, 16, 27]] = 200
    np.testing.assert_allclose(fpfh(points), np.tile(expected, (200, 1)), atol=1e-3)


def test_patches_are_means_of_4_by_4_pixels():
    xyz = part(224)
    valid = (xyz != 0).all(axis=2)
    picture = np.zeros((224, 224, FPFH_DIM))
    picture[valid] = fpfh(xyz[valid])
    expected = picture.reshape(56, 4, 56, 4, FPFH_DIM).mean((1, 3)).reshape(3136, FPFH_DIM)
    got = fpfh_patches(torch.from_numpy(xyz).permute(2, 0, 1), torch.from_numpy(np.flatnonzero(valid)))
    assert got.dtype == torch.float32 and got.is_contiguous()
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-3)
    empty = ~valid.reshape(56, 4, 56, 4).any((1, 3)).reshape(-1)
    assert empty.sum() > 500 and not got.numpy()[empty].any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_coordinates_are_refused(value):
    points = bumps(0, 50)
    points[7, 1] = value
    with pytest.raises(InputError, match="NaN or infinite"):
        fpfh(points)
