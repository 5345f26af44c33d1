"""Nearest rows with and without their lower bound, and distinct rows, against plain versions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference_m3dm
from feature_extractors import nearest_rows as module
from feature_extractors.nearest_rows import RowSearch, distinct_rows


def structured(rng, count, width, spread=0.05):
    """Rows near a plane of few dimensions, as features are, in 32-bit floats."""
    plane = np.random.default_rng(9).standard_normal((5, width))
    return torch.from_numpy(
        (rng.standard_normal((count, 5)) @ plane + spread * rng.standard_normal((count, width))).astype(np.float32)
    )


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 80),
    st.integers(3, 200),
    st.integers(2, 90),
    st.booleans(),
    st.sampled_from([300, 4000, 2**24]),
)
def test_nearest_rows_are_those_of_the_full_comparison(seed, count, size, width, flat, block):
    rng = np.random.default_rng(seed)
    rows, patches = structured(rng, size, width, 0.05 if flat else 3), structured(rng, count, width)
    patches[::3] = patches[0].clone()
    expected = torch.cdist(patches.double(), rows.double())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS_A_BLOCK", 37)
        patch.setattr(module, "BOUNDS", block)
        patch.setattr(module, "DIRECTIONS", min(8, width))
        patch.setattr(module, "MOST_LEFT", 1.0)
        for bounded in (False, True):
            distance, index = RowSearch(rows, bounded).nearest(patches)
            noise = (
                2 * module.ROUNDING * float((rows**2).sum(1).max() + (patches**2).sum(1).max())
            )  # of a squared float32 distance
            chosen = expected[torch.arange(count), index]
            assert (chosen**2 <= expected.min(1).values ** 2 + noise).all()
            assert ((distance.double() ** 2 - chosen**2).abs() <= noise).all()


@pytest.mark.parametrize("package", [None, "faiss"])
def test_random_rows_fall_back_to_the_full_comparison(package, monkeypatch):
    if package:
        assert pytest.importorskip(package) is module.faiss()
    else:
        monkeypatch.setattr(module, "faiss", lambda: None)
    rows, patches = torch.randn(20000, 40), torch.randn(100, 40)
    search = RowSearch(rows)
    expected = reference_m3dm.nearest_rows(patches, rows)
    distance, index = search.nearest(patches)
    assert search.bound is not None and torch.equal(index, expected[1])
    torch.testing.assert_close(distance, expected[0], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("bounded, pays", [(False, 0.3), (True, 0.0), (True, 1.0)])
def test_rows_that_do_not_count(bounded, pays, monkeypatch):
    monkeypatch.setattr(module, "MOST_LEFT", pays)
    rng = np.random.default_rng(1)
    rows, patches = structured(rng, 400, 100), structured(rng, 30, 100)
    patches[:5] = rows[:5]
    counts = torch.from_numpy(rng.random(400) < 0.5)
    counts[:5] = False
    expected = reference_m3dm.nearest_rows(patches, rows[counts])
    search = RowSearch(rows, bounded)
    whole, partly = search.nearest(patches), search.nearest(patches, ~counts)
    assert torch.equal(partly.index, counts.nonzero()[:, 0][expected[1]])
    torch.testing.assert_close(partly.distance, expected[0], rtol=1e-5, atol=1e-3)
    assert torch.equal(whole.index[:5], torch.arange(5)) and (whole.distance[:5] < 0.03).all()
    apart = torch.cdist(rows[:1], rows)[0].masked_fill(~counts, torch.inf)
    assert torch.equal(search.nearest_of_row(torch.tensor([0]), 3, ~counts), apart.topk(3, largest=False).indices)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 30), st.integers(1, 40))
def test_distinct_rows(seed, count, width, kinds):
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(rng.standard_normal((kinds, width)).astype(np.float32))[rng.integers(0, kinds, count)]
    first, inverse = distinct_rows(rows)
    assert torch.equal(rows[first][inverse], rows)
    assert first.tolist() == sorted(np.unique(rows.numpy(), axis=0, return_index=True)[1])
