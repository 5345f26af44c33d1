"""AU-PRO against a version that walks through every threshold and region."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from sklearn.metrics import roc_auc_score

from utils.au_pro_util import area_up_to, calculate_au_pro
from utils.metrics import compute_metrics, roc_auc


def slow_au_pro(gts, maps, limit, thresholds):
    normal = np.sort(np.concatenate([m[g == 0] for g, m in zip(gts, maps)]))
    x, y = [], []
    for position in reversed([int(p) for p in np.linspace(0, len(normal) - 1, thresholds)]):
        shares = []
        for g, m in zip(gts, maps):
            regions, count = label(g, np.ones((3, 3)))
            shares += [(m[regions == i] > normal[position]).mean() for i in range(1, count + 1)]
        x.append(1 - (position + 1) / len(normal))
        y.append(np.mean(shares))
    x.append(1.0)
    y.append(1.0)
    area = 0.0
    for (x0, y0), (x1, y1) in zip(zip(x, y), zip(x[1:], y[1:])):
        if x0 >= limit:
            break
        if x1 > limit:
            x1, y1 = limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.3, 1.0]), st.sampled_from([10, 100]), st.booleans())
def test_au_pro_equals_the_slow_version(seed, limit, thresholds, levels):
    rng = np.random.default_rng(seed)
    gts = (rng.random((3, 16, 16)) > 0.8).astype(np.uint8)
    maps = rng.random((3, 16, 16)) + 0.5 * gts
    maps = np.round(maps * 8) / 8 if levels else maps
    assert calculate_au_pro(gts, maps, limit, thresholds)[0] == pytest.approx(slow_au_pro(gts, maps, limit, thresholds), abs=1e-9)


def test_au_pro_of_perfect_and_useless_maps():
    gts = np.zeros((2, 40, 40), np.uint8)
    gts[0, 10:20, 10:20] = 1
    assert calculate_au_pro(gts, gts + np.random.default_rng(0).random(gts.shape) * 0.1)[0] == pytest.approx(1, abs=1e-3)
    assert calculate_au_pro(gts, -1.0 * gts)[0] == pytest.approx(0, abs=1e-9)


def test_diagonal_pixels_are_one_region():
    gt = np.eye(8, dtype=np.uint8)[None]
    score = np.zeros((1, 8, 8))
    score[0, 0, 0] = 1
    pros = calculate_au_pro(gt, score)[1][1]
    assert pros[0] == pytest.approx(1 / 8)


def test_undefined_metrics_are_none():
    zeros, noise = np.zeros((2, 8, 8), np.uint8), np.random.default_rng(0).random((2, 8, 8))
    assert [*compute_metrics([0, 0], [0.1, 0.2], zeros.ravel(), noise.ravel(), zeros, noise)] == [None, None, None]
    ones = np.ones_like(zeros)
    assert calculate_au_pro(ones, noise)[0] is None
    half = zeros.copy()
    half[:, :4] = 1
    image, pixel, au_pro = compute_metrics([1, 1], [0.1, 0.2], half.ravel(), noise.ravel(), half, noise)
    assert image is None and pixel is not None and au_pro is not None


def test_roc_auc_is_scikit_learns():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 50), rng.random(50)
    assert roc_auc(labels, scores) == roc_auc_score(labels, scores)


def test_area_up_to_interpolates_the_last_point():
    assert area_up_to(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0.5) == pytest.approx(0.125)
