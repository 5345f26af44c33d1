"""Sampling, neighbours and alignment against slow, obvious versions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_extractors import alignment
from feature_extractors.alignment import align
from models import pointnet2_utils as ops
from models.models import PointTransformer


def brute_sample(points, count):
    """The kernel's rule, one point after the other."""
    squares = points[:, 0] ** 2 + points[:, 1] ** 2 + points[:, 2] ** 2
    nearest, picked = np.full(len(points), np.inf, np.float32), [0]
    for _ in range(count - 1):
        best, winner = -1, 0
        for i, p in enumerate(points):
            if squares[i].astype(np.float64) <= 1e-3:
                continue
            d = p - points[picked[-1]]
            nearest[i] = min(nearest[i], d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
            if nearest[i] > best:
                best, winner = nearest[i], i
        picked.append(winner)
    return picked


def brute_nearest(queries, points, k):
    d = points[None].astype(np.float64) - queries[:, None]
    return np.argsort(d[..., 0] ** 2 + d[..., 1] ** 2 + d[..., 2] ** 2, axis=1, kind="stable")[:, :k]


@st.composite
def clouds(draw):
    """Point clouds, half of them on a coarse grid so that distances tie, some near the origin."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, scale = draw(st.integers(1, 40)), draw(st.sampled_from([0.01, 0.1, 1.0]))
    points = rng.integers(0, 4, (count, 3)) if draw(st.booleans()) else rng.standard_normal((count, 3))
    return (points * scale).astype(np.float32)


@settings(deadline=None, max_examples=150)
@given(clouds(), st.integers(1, 50))
def test_sampling_equals_brute_force(points, count):
    expected, tensor = brute_sample(points, count), torch.from_numpy(points)
    assert ops.farthest_point_sample(tensor, count).tolist() == expected
    admissible = torch.from_numpy((points[:, 0] ** 2 + points[:, 1] ** 2 + points[:, 2] ** 2).astype(np.float64) > 1e-3)
    assert ops._sample_torch(tensor, admissible, count).tolist() == expected


@settings(deadline=None, max_examples=150)
@given(clouds(), st.integers(1, 40), st.sampled_from([1, 2**24]))
def test_neighbours_equal_brute_force(points, k, block):
    k = min(k, len(points))
    queries, expected = points[::3], brute_nearest(points[::3], points, k)
    index, squared = ops.nearest_points(torch.from_numpy(queries), torch.from_numpy(points), k)
    assert np.array_equal(index, expected)
    np.testing.assert_allclose(squared, ((points[expected] - queries[:, None]) ** 2).sum(-1), rtol=1e-5, atol=1e-12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, "SQUARES", block)
        again = ops._nearest_torch(torch.from_numpy(queries).double(), torch.from_numpy(points).double(), k)
    assert np.array_equal(again, expected)


@pytest.mark.parametrize("count", [1, 5, 12])
def test_too_few_points_are_repeated(count):
    torch.manual_seed(0)
    points = torch.randn(count, 3) + 3
    model = PointTransformer(group_size=16, num_group=32).eval()
    center_index, center, neighbours = model.group(points, 16)
    assert center.shape == (32, 3) and neighbours.shape == (32, 16)
    assert int(neighbours.max()) < count and set(center_index.tolist()) == set(range(count))
    with torch.no_grad():
        tokens, again = model(points)
    assert torch.isfinite(tokens).all() and torch.equal(again, center)


@pytest.mark.parametrize("size", [64, 224])
def test_alignment_equals_the_steps_written_out(size):
    rng = np.random.default_rng(1)
    picture = np.zeros((size, size, 3), np.float32)
    rows, cols = np.mgrid[:size, :size]
    inside = (rows - size / 2) ** 2 + (cols - size / 2.3) ** 2 < (size / 3) ** 2
    picture[inside] = np.stack([rows, cols, 0 * rows + 40], -1)[inside] / 100 + 0.001 * rng.random((inside.sum(), 3))
    valid = np.flatnonzero(inside)
    points = picture.reshape(-1, 3)[valid]
    centers = points[rng.choice(len(points), 40, replace=False)]
    tokens = rng.standard_normal((40, 7)).astype(np.float32)

    squared = ((points[:, None].astype(np.float64) - centers[None]) ** 2).sum(-1)
    nearest = np.argsort(squared, axis=1)[:, :3]
    weight = 1 / (np.take_along_axis(squared, nearest, 1) + 1e-8)
    weight /= weight.sum(1, keepdims=True)
    full = np.zeros((size * size, 7), np.float32)
    full[valid] = (tokens[nearest] * weight[..., None]).sum(1)
    image = torch.from_numpy(full.T.reshape(1, 7, size, size).copy())
    expected = F.adaptive_avg_pool2d(F.avg_pool2d(image, 3, stride=1), 56)[0].reshape(7, -1).T

    index, weight = ops.interpolation_weights(torch.from_numpy(points), torch.from_numpy(centers))
    on_gpu = alignment._step_by_step(torch.from_numpy(tokens), index, weight, torch.from_numpy(valid), size)
    for ours in (align(*map(torch.from_numpy, (tokens, centers, points, valid)), size), on_gpu):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
        assert torch.equal((ours == 0).all(1), (expected == 0).all(1))
