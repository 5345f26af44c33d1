"""Memory banks, their training rows, maps and late fusion against slow, obvious versions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from sklearn.linear_model import SGDOneClassSVM

from common.errors import InputError
from feature_extractors import row_store
from feature_extractors.late_fusion import LateFusion
from feature_extractors.memory_bank import MemoryBank, anomaly_map
from feature_extractors.row_store import RowStore, require_space


def bank_of(*parts, **options):
    """A MemoryBank of the rows of several parts."""
    number = torch.cat([torch.full((len(rows),), i) for i, rows in enumerate(parts)])
    return MemoryBank(torch.cat(parts), number, **options)


@pytest.mark.parametrize("eps, divisor", [(0, 1), (1e-5, 1), (0, 1000)])
def test_score_equals_the_formula(eps, divisor):
    rng, root = np.random.default_rng(2), 4
    rows, patches = rng.standard_normal((50, 16)), rng.standard_normal((12, 16)) * 2
    mean, std = 0.3, 1.7
    bank = bank_of(torch.from_numpy(rows).float(), mean=mean, std=std, weight_eps=eps, divisor=divisor)
    score, (distance, _) = bank.measure(torch.from_numpy(patches).float())
    patches = (patches - mean) / std
    d = cdist(patches, rows)
    p = d.min(1).argmax()
    near = np.argsort(cdist(rows[[d[p].argmin()]], rows)[0])[1:3]
    s, e = d[p].min() / divisor, np.linalg.norm(patches[p] - rows[near], axis=1) / divisor
    assert float(score) == pytest.approx((1 - np.exp(s / root) / (np.exp(e / root).sum() + eps)) * s, rel=1e-3)
    np.testing.assert_allclose(distance, d.min(1), rtol=1e-4)


def test_a_bank_too_small_is_refused():
    bank = bank_of(torch.randn(2, 3), torch.randn(2, 3))
    bank.measure(torch.randn(2, 3))
    with pytest.raises(InputError, match="a memory bank of 2 rows.*f_coreset"):
        bank.measure(torch.randn(2, 3), excluding_part=1)


@pytest.mark.parametrize("spooled", [False, True])
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    parts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    width=st.integers(1, 9),
    offset=st.floats(-1e3, 1e3),
)
def test_training_rows_come_back_as_they_were(tmp_path_factory, spooled, seed, parts, width, offset):
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("spool")
    added = [torch.from_numpy((rng.standard_normal((count, width)) + offset).astype(np.float32)) for count in parts]
    store, rows = RowStore(folder if spooled else None), torch.cat(added)
    for part in added:
        store.append(part)
    assert len(store) == len(rows) and store.parts == len(parts)
    for number, part in enumerate(added):
        assert torch.equal(store.part(number), part)
    index = torch.from_numpy(rng.integers(0, len(rows), 50))  # any order, some twice
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_store, "BLOCK", 20)
        blocks = list(store.blocks(index, 0.5, 2.0))
    assert torch.equal(torch.cat(blocks), (rows[index] - 0.5) / 2) and max(map(len, blocks)) <= max(1, 20 // width)
    for row, part in zip(index, store.origin(index)):
        assert store.starts[part] <= row < store.starts[part + 1]
    mean, std = store.mean_std()
    assert mean == pytest.approx(float(rows.double().mean()), rel=1e-5, abs=1e-5)
    if rows.numel() > 1:
        assert std == pytest.approx(float(rows.double().std()), rel=1e-3, abs=1e-4)
    assert not list(folder.iterdir())  # not even while it is in use
    store.close()
    assert store.parts == 0


def test_too_little_room_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"need 1048576.0 GiB there, .* free; make room, or choose another disk with --spool_dir"
    ):
        require_space(tmp_path, 2**50)
    require_space(tmp_path / "new", 1)
    assert (tmp_path / "new").is_dir()


def test_map_is_upsampled_and_blurred_through_8_bits():
    distance = torch.rand(784) * 5
    grid = torch.nn.functional.interpolate(
        distance.view(1, 1, 28, 28), size=(224, 224), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    levels = Image.fromarray(np.floor(grid / grid.max() * np.float32(255)).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(4)
    )
    rounded, exact = anomaly_map(distance, 224), anomaly_map(distance, 224, float_blur=True)
    np.testing.assert_allclose(rounded, np.asarray(levels) / 255 * grid.max(), rtol=1e-5)
    np.testing.assert_allclose(exact, gaussian_filter(grid, 4, mode="nearest", truncate=4), rtol=1e-5)
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
