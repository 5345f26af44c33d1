"""Coreset, nearest rows, scores, maps and late fusion against slow, obvious versions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from sklearn.linear_model import SGDOneClassSVM
from sklearn.random_projection import SparseRandomProjection

import reference_m3dm
from common.errors import InputError
from feature_extractors import coreset
from feature_extractors.coreset import greedy_k_center, project
from feature_extractors.late_fusion import LateFusion
from feature_extractors.memory_bank import MemoryBank, anomaly_map
from feature_extractors.nearest_rows import RowSearch
from tests.conftest import fixture


def replay(rows, picks):
    """Whether each pick was, up to 1e-5, a farthest row of those before it (float64)."""
    rows = rows.astype(np.float64)
    nearest = np.full(len(rows), np.inf)
    for before, pick in zip(picks, picks[1:]):
        nearest = np.minimum(nearest, np.linalg.norm(rows - rows[before], axis=1))
        if nearest[pick] < (1 - 1e-5) * nearest.max():
            return False
    return True


@settings(deadline=None, max_examples=80)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 150),
    st.integers(1, 20),
    st.booleans(),
    st.sampled_from([1, 4, 16, 1000]),
    st.floats(0, 100),
    st.sampled_from([None, 0.0, 0.01, 0.1]),
)
def test_greedy_k_center_picks_a_farthest_row_each_time(seed, count, width, duplicates, pool, offset, noise):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, width))
    if noise is not None:  # rows near a plane, for which fewer columns are compared
        rows = rows[:, :1] @ rng.standard_normal((1, width)) + noise * rows
    rows = (rows + offset).astype(np.float32)
    if duplicates:
        rows = rows[rng.integers(0, count, count)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coreset, "ON_CPU", coreset.ON_CPU._replace(pool=pool))
        picks = greedy_k_center(torch.from_numpy(rows), count).tolist()
    assert picks[0] == 0 and len(picks) == count
    distinct = len(np.unique(rows, axis=0))
    assert replay(rows, picks[:distinct]) and not any(picks[distinct:])


@pytest.mark.parametrize("pool", [3, 50, 1000])
def test_greedy_k_center_equals_the_plain_loop(pool, monkeypatch):
    monkeypatch.setattr(coreset, "ON_CPU", coreset.ON_CPU._replace(pool=pool))
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((1500, 12)) @ rng.standard_normal((12, 40)) + 0.1 * rng.standard_normal((1500, 40))
    rows[200:400] = rows[7]  # background
    rows = rows.astype(np.float32)
    rows = torch.from_numpy(rows)
    assert torch.equal(greedy_k_center(rows, 300), reference_m3dm.k_center(rows, 300))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.sampled_from([1, 7, 128]), st.booleans())
def test_sizes_for_a_gpu_make_the_same_picks(seed, count, compact, ties):
    rows = np.random.default_rng(seed).standard_normal((300, 6)).astype(np.float32)
    rows = torch.from_numpy(rows.round() if ties else rows)

    class OnGpu(coreset.FarthestFirst):
        waits = property(lambda _: False, lambda *_: None)

    with pytest.MonkeyPatch.context() as patch:
        expected = greedy_k_center(rows, count)
        patch.setattr(coreset, "FarthestFirst", OnGpu)
        patch.setattr(coreset, "ON_CPU", coreset.ON_GPU._replace(pool=20, compact=compact))
        assert torch.equal(greedy_k_center(rows, count), expected)


@pytest.mark.parametrize("half", [False, True])
def test_picks_in_half_precision(half):
    """The release's own, recorded with its half precision on; two equally far rows stand the other way round there."""
    recorded = fixture("coreset")
    rng = np.random.Generator(np.random.PCG64(3))
    z = rng.standard_normal((4000, 20), np.float32) @ rng.standard_normal((20, 300), np.float32)
    z = z + np.float32(0.1) * rng.standard_normal((4000, 300), np.float32)
    bank = MemoryBank()
    bank.add(torch.from_numpy(z), 0)
    bank.thin_out(400, 0.9, 0, "cpu", half=half)
    theirs = recorded["picks_half" if half else "picks"]
    assert (bank._kept.numpy() == theirs).mean() >= 0.99 and set(bank._kept.tolist()) == set(theirs.tolist())
    assert (bank._kept.numpy() == recorded["picks" if half else "picks_half"]).mean() < 0.8


def test_projection_is_scikit_learns_and_falls_back_to_the_rows():
    rows = torch.randn(500, 400)
    expected = SparseRandomProjection(eps=0.9, random_state=3).fit_transform(rows.numpy())
    np.testing.assert_allclose(project(rows.split(99), 500, 400, 0.9, 3), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(project([rows[:, :20]], 500, 20, 0.9, 3), rows[:, :20])


@pytest.mark.parametrize("eps, divisor, root", [(0, 1, 4), (1e-5, 1, 4), (0, 1000, 4)])
def test_score_equals_the_formula(eps, divisor, root):
    rng = np.random.default_rng(2)
    rows, patches = rng.standard_normal((50, 16)), rng.standard_normal((12, 16)) * 2
    bank = MemoryBank(eps, divisor)
    bank.add(torch.from_numpy(rows).float(), 0)
    mean, std = 0.3, 1.7
    bank.scale(mean, std)
    bank.gather()
    score, distance, _ = bank.measure(torch.from_numpy(patches).float())

    rows, patches = (rows - mean) / std, (patches - mean) / std
    d = cdist(patches, rows)
    p = d.min(1).argmax()
    near = np.argsort(cdist(rows[[d[p].argmin()]], rows)[0])[1:3]
    s, e = d[p].min() / divisor, np.linalg.norm(patches[p] - rows[near], axis=1) / divisor
    assert float(score) == pytest.approx((1 - np.exp(s / root) / (np.exp(e / root).sum() + eps)) * s, rel=1e-3)
    np.testing.assert_allclose(distance, d.min(1), rtol=1e-4)


def test_own_rows_can_be_left_out():
    bank, parts = MemoryBank(), torch.randn(3, 10, 4)
    for i, part in enumerate(parts):
        bank.add(part, i)
    bank.gather()
    bank.append_row(0.0)
    assert bank.part.tolist() == [0] * 10 + [1] * 10 + [2] * 10 + [-1]
    others = torch.cat([parts[0], parts[2], torch.zeros(1, 4)])
    np.testing.assert_allclose(
        bank.measure(parts[1], excluding_part=1)[1], RowSearch(others).nearest(parts[1]).distance, atol=1e-6
    )
    assert bank.measure(parts[1])[1].max() < 1e-2 < bank.measure(parts[1], excluding_part=1)[1].max()


def test_a_bank_too_small_without_the_part_is_refused():
    bank = MemoryBank()
    for i in range(2):
        bank.add(torch.randn(2, 3), i)
    bank.gather()
    bank.measure(torch.randn(2, 3))
    with pytest.raises(InputError, match="a memory bank of 2 rows"):
        bank.measure(torch.randn(2, 3), excluding_part=1)


def test_a_bank_that_changes_is_made_ready_anew():
    bank = MemoryBank()
    bank.add(torch.randn(9, 3) + 9, 0)
    bank.gather()
    before = bank.measure(torch.zeros(1, 3)).distance
    bank.append_row(0.0)
    assert float(bank.measure(torch.zeros(1, 3)).distance) == 0 < float(before)


def test_zero_rows_and_too_small_banks():
    bank = MemoryBank()
    bank.add(torch.tensor([[1.0, 0.0], [1.0, 2.0], [0.0, 0.0]]), 0)
    bank.gather()
    bank.drop_rows_with_zero()
    assert bank.rows.tolist() == [[1, 2]] and len(bank) == 1
    with pytest.raises(InputError, match="f_coreset"):
        bank.measure(torch.ones(1, 2))


def test_map_is_upsampled_and_blurred_through_8_bits():
    distance = torch.rand(784) * 5
    grid = torch.nn.functional.interpolate(
        distance.view(1, 1, 28, 28), size=(224, 224), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    levels = Image.fromarray(np.floor(grid / grid.max() * np.float32(255)).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(4)
    )
    np.testing.assert_allclose(anomaly_map(distance, 224), np.asarray(levels) / 255 * grid.max(), rtol=1e-5)
    np.testing.assert_allclose(
        anomaly_map(distance, 224, float_blur=True), gaussian_filter(grid, 4, mode="nearest", truncate=4), rtol=1e-5
    )
    assert (
        len(np.unique(anomaly_map(distance, 224))) <= 256 < len(np.unique(anomaly_map(distance, 224, float_blur=True)))
    )


def test_an_all_zero_map_stays_zero():
    for float_blur in (False, True):
        assert not anomaly_map(torch.zeros(3136), 100, float_blur).any()


def test_late_fusion_is_two_one_class_svms():
    rng = np.random.default_rng(4)
    scores, maps = rng.random((6, 2)).astype(np.float32), rng.random((6, 2, 5, 5)).astype(np.float32)
    fusion = LateFusion([1.0, 0.1], [2.0, 0.5], nu=0.4, max_iter=50)
    for s, m in zip(scores, maps):
        fusion.add(s, m)
    fusion.fit()
    on_scores = SGDOneClassSVM(random_state=42, nu=0.4, max_iter=50).fit(scores * np.float32([1, 0.1]))
    pixels = maps.transpose(0, 2, 3, 1).reshape(-1, 2) * np.float32([2, 0.5])
    on_pixels = SGDOneClassSVM(random_state=42, nu=0.4, max_iter=50).fit(pixels)
    score, pixel_map = fusion.predict(scores[0], maps[0])
    assert score[0] == pytest.approx(on_scores.coef_ @ (scores[0] * [1, 0.1]), rel=1e-5)
    np.testing.assert_allclose(pixel_map.ravel(), pixels[:25] @ on_pixels.coef_, rtol=1e-5)
    assert fusion.weights["score"] == on_scores.coef_.tolist()
