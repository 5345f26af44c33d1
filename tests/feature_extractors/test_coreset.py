"""The coreset against slow, obvious versions, and by chunks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference_m3dm
from feature_extractors import coreset
from feature_extractors.coreset import greedy_k_center, k_center_by_chunks, pick, radius


def rows_of(seed, count, directions=4, width=12):
    generator = torch.Generator().manual_seed(seed)
    spread = torch.randn(count, directions, generator=generator) @ torch.randn(directions, width, generator=generator)
    return spread + 0.05 * torch.randn(count, width, generator=generator)


def replay(rows, picks):
    """Whether each pick was, up to 1e-5, a farthest row of those before it (float64)."""
    rows = rows.astype(np.float64)
    nearest = np.full(len(rows), np.inf)
    for before, now in zip(picks, picks[1:]):
        nearest = np.minimum(nearest, np.linalg.norm(rows - rows[before], axis=1))
        if nearest[now] < (1 - 1e-5) * nearest.max():
            return False
    return True


@settings(deadline=None, max_examples=80)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 150),
    st.integers(1, 20),
    st.booleans(),
    st.sampled_from([(1, 1), (4, 3), (16, 64), (1000, 64)]),
    st.floats(0, 100),
    st.sampled_from([None, 0.0, 0.01, 0.1]),
)
def test_greedy_k_center_picks_a_farthest_row_each_time(seed, count, width, duplicates, sizes, offset, noise):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, width))
    if noise is not None:  # rows near a plane, for which fewer columns are compared
        rows = rows[:, :1] @ rng.standard_normal((1, width)) + noise * rows
    rows = (rows + offset).astype(np.float32)
    if duplicates:
        rows = rows[rng.integers(0, count, count)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coreset, "POOL", sizes[0])
        patch.setattr(coreset, "COMPACT", sizes[1])
        picks = greedy_k_center(torch.from_numpy(rows), count).tolist()
    assert picks[0] == 0 and len(picks) == count
    distinct = len(np.unique(rows, axis=0))
    assert replay(rows, picks[:distinct]) and not any(picks[distinct:])


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("pool", [3, 50, 1000])
def test_greedy_k_center_equals_the_plain_loop(pool, ties, monkeypatch):
    monkeypatch.setattr(coreset, "POOL", pool)
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((1500, 12)) @ rng.standard_normal((12, 40)) + 0.1 * rng.standard_normal((1500, 40))
    if ties:
        rows = rng.standard_normal((600, 5)).round()
    rows[200:400] = rows[7]  # background
    rows = torch.from_numpy(rows.astype(np.float32))
    expected = reference_m3dm.k_center(rows, 300)
    distinct = len(np.unique(rows, axis=0))
    assert torch.equal(greedy_k_center(rows, 300)[:distinct], expected[:distinct])


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 999),
    count=st.integers(1, 30),
    times=st.integers(2, 6),
    sizes=st.lists(st.integers(1, 90), max_size=9),
)
def test_chunks_give_distinct_picks_and_a_radius_within_its_bound(seed, count, times, sizes):
    rows = rows_of(seed, 20 + sum(sizes))
    picks = k_center_by_chunks(rows.split([20, *sizes]), count, times * count)
    exact = greedy_k_center(rows, count)
    assert len(picks) == len(exact) == len(set(picks.tolist())) == min(count, len(rows)) and picks[0] == 0
    if len(rows) <= times * count:
        assert torch.equal(picks, exact)
    # greedy's radius is at least the best one; four levels add at most 2 for each above the first
    assert radius(rows, picks) <= 10 * radius(rows, exact) + 1e-2


def test_limited_memory_comes_close_to_the_exact_radius():
    """In practice the bound is far away."""
    rows = rows_of(0, 6000)
    blocks = rows.split(1000), 6000, 12
    exact = pick(*blocks, 200, 0.9)
    assert torch.equal(exact, greedy_k_center(rows, 200))
    chunks = pick(*blocks, 200, 0.9, max_memory=800 * 24 * 12 / 2**30)  # 800 rows at once
    assert radius(rows, exact) < radius(rows, chunks) < 1.35 * radius(rows, exact)
    assert radius(rows, torch.arange(200)) > 1.5 * radius(rows, exact)  # any 200 rows are not as good
