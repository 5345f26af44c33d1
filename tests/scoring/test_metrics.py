"""AU-PRO against a version that walks through every threshold and region; ROC AUC against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from sklearn.metrics import roc_auc_score

from common.errors import InputError
from scoring.au_pro import area_up_to, calculate_au_pro
from scoring.metrics import compute_metrics, roc_auc


def slow_au_pro(gts, maps, limit, thresholds):
    normal = np.sort(np.concatenate([m[g == 0] for g, m in zip(gts, maps)]))
    x, y = [], []
    for position in reversed([int(p) for p in np.linspace(0, len(normal) - 1, thresholds)]):
        x.append(1 - (position + 1) / len(normal))
        y.append(slow_pro(gts, maps, normal[position]))
    return slow_area(x + [1.0], y + [1.0], limit)


def slow_exact_au_pro(gts, maps, limit):
    normal = np.concatenate([m[g == 0] for g, m in zip(gts, maps)])
    thresholds = sorted(set(normal.tolist()), reverse=True)
    x, y = [(normal > t).mean() for t in thresholds], [slow_pro(gts, maps, t) for t in thresholds]
    return slow_area(x + [1.0], y + [1.0], limit)


def slow_pro(gts, maps, threshold):
    shares = []
    for g, m in zip(gts, maps):
        regions, count = label(g, np.ones((3, 3)))
        shares += [(m[regions == i] > threshold).mean() for i in range(1, count + 1)]
    return np.mean(shares)


def slow_area(x, y, limit):
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
    assert calculate_au_pro(gts, maps, limit, thresholds)[0] == pytest.approx(
        slow_au_pro(gts, maps, limit, thresholds), abs=1e-9
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 4, 64]))
def test_exact_au_pro_equals_the_slow_version(seed, levels):
    rng = np.random.default_rng(seed)
    gts = (rng.random((3, 8, 8)) > 0.85).astype(np.uint8)
    gts[0, 0, 0] = 1
    maps = (rng.random((3, 8, 8)) + 0.5 * gts).astype(np.float32)
    maps = np.round(maps * levels) / levels if levels else maps
    for limit in (0.01, 0.05, 0.3):
        area, (fprs, pros) = calculate_au_pro(gts, maps, limit, "exact")
        assert area == pytest.approx(slow_exact_au_pro(gts, maps, limit), abs=1e-9)
        assert area_up_to(fprs, pros, limit) / limit == area


def test_undefined_metrics_are_none():
    zeros, noise = np.zeros((2, 8, 8), np.uint8), np.random.default_rng(0).random((2, 8, 8))
    assert [*compute_metrics([0, 0], [0.1, 0.2], zeros, noise)] == [None, None, None]
    ones = np.ones_like(zeros)
    assert calculate_au_pro(ones, noise)[0] is None
    half = zeros.copy()
    half[:, :4] = 1
    image, pixel, au_pro = compute_metrics([1, 1], [0.1, 0.2], half, noise)
    assert image is None and pixel is not None and au_pro is not None


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64, np.uint8]), st.sampled_from([2, 10, 255]))
def test_roc_auc_with_ties_is_scikit_learns(seed, dtype, levels):
    rng = np.random.default_rng(seed)
    labels = (rng.random(500) > 0.9).astype(np.uint8)
    labels[:2] = 0, 1
    scores = (rng.integers(0, levels, 500) + (0 if dtype == np.uint8 else 0.1)).astype(dtype)
    assert roc_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_that_holds_no_numbers_is_refused_with_the_parts_name(value):
    rng = np.random.default_rng(0)
    gts, maps = rng.random((3, 8, 8)) > 0.7, rng.random((3, 8, 8))
    maps[1, 2, 3] = value
    with pytest.raises(InputError, match="part 1: "):
        calculate_au_pro(gts, maps)
    with pytest.raises(InputError, match="toy/test/hole/rgb/001.png: 1 of 64"):
        compute_metrics([0, 1, 1], [0.1, 0.2, 0.3], gts, maps, ["a", "toy/test/hole/rgb/001.png", "c"])
    with pytest.raises(ValueError, match="NaN"):
        roc_auc([0, 1, 1], [0.1, value, 0.3])
    with pytest.raises(InputError, match="^b: "):
        compute_metrics([0, 1, 1], [0.1, value, 0.3], gts, maps, ["a", "b", "c"])
