"""The coreset by chunks."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_extractors.coreset import greedy_k_center, k_center_by_chunks, radius
from feature_extractors.memory_bank import MemoryBank


def rows_of(seed, count, directions=4, width=12):
    generator = torch.Generator().manual_seed(seed)
    spread = torch.randn(count, directions, generator=generator) @ torch.randn(directions, width, generator=generator)
    return spread + 0.05 * torch.randn(count, width, generator=generator)


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
    assert (
        len(picks) == len(exact) == min(count, len(rows)) and len(set(picks.tolist())) == len(picks) and picks[0] == 0
    )
    if len(rows) <= times * count:
        assert torch.equal(picks, exact)
    # greedy's radius is at least the best one; four levels add at most 2 for each above the first
    assert radius(rows, picks) <= 10 * radius(rows, exact) + 1e-2


def test_chunks_come_close_to_the_exact_radius():
    """In practice the bound is far away."""
    rows = rows_of(0, 6000)
    exact, chunks = (
        radius(rows, picks) for picks in (greedy_k_center(rows, 200), k_center_by_chunks([rows], 200, 800))
    )
    assert exact < chunks < 1.35 * exact
    assert radius(rows, torch.arange(200)) > 1.5 * exact  # any 200 rows are not as good


def test_a_bank_thinned_by_chunks_knows_where_its_rows_come_from():
    bank, parts = MemoryBank(), [rows_of(number, 100) for number in range(5)]
    for number, rows in enumerate(parts):
        bank.add(rows, number)
    bank.thin_out(20, 0.9, 0, "cpu", max_memory=60 * 24 * 12 / 2**30)  # 60 rows
    bank.gather()
    assert len(bank) == 20 and len(set(bank.part.tolist())) > 1
    for row, part, place in zip(bank.rows, bank.part, bank.place):
        assert torch.equal(row, parts[part][place])
