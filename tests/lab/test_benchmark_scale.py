"""The benchmark's rows about shards, at small sizes: what they compare, and the account that docs/scale.md rests on."""

import types

import pytest
import torch

from lab import benchmark_scale as module
from lab.benchmark_shared import Bench


@pytest.fixture
def bench(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "SIZES", (2000,))
    monkeypatch.setattr(module, "BANK", 500)
    monkeypatch.setattr(module, "WIDTH", 40)
    bench = object.__new__(Bench)
    bench.device, bench.rounds, bench.folder = torch.device("cpu"), 1, tmp_path
    return bench


def test_shards_are_compared_with_one_place(bench, monkeypatch):
    picks, near = module.shards(bench)
    assert picks.correct and near.correct and "100.00% of the indices equal" in near.note
    monkeypatch.setattr(module, "sharded_k_center", lambda rows, count, crew: torch.arange(count))
    assert module.shards(bench)[0].verdict == "WRONG RESULT"


def test_what_goes_over_the_network(bench):
    rows, places = module.projected_rows(2000), module.TimedDevices(4, "cpu")
    module.sharded_k_center(rows, 200, places)
    cost, row = places.cost(10.0), 4 * module.WIDTH
    assert cost.seconds == 10 and cost.side_by_side < 10 and cost.exchanges > 2
    told = cost.sent - 2000 * row - 4 * row  # rows, and the first pick to each shard
    assert 0 < told <= 4 * 199 * row and told % (4 * row) == 0
    assert cost.received <= (cost.exchanges - 1) * 4 * 256 * (row + 8 + 4)


def test_partitions(bench):
    figures = module.partitions(bench)
    assert len(figures) == len(module.PARTITIONS) and all(0.9 < f.value < 4 and f.verdict == "met" for f in figures)


def test_rates(bench, monkeypatch):
    monkeypatch.setattr(module, "RATES_AT", (1000, 2000))
    monkeypatch.setattr(module, "SPOOLED", 2)
    monkeypatch.setattr(module, "COMPARED", 300)
    monkeypatch.setattr(
        module,
        "ShardedSearch",
        lambda rows, _: types.SimpleNamespace(from_vector=lambda _: None, raw_each=lambda *_: None),
    )
    monkeypatch.setattr(module, "Actors", lambda *_: None)  # Ray has tests of its own
    figures = module.rates(bench)
    assert [f.unit for f in figures] == ["s", "s", "million comparisons a second", "MB/s", "MB/s", "ms", "ms"]
    assert all(f.value > 0 for f in figures)
