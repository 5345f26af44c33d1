"""What the benchmark's rows on a saved model count and compare."""

import torch

from feature_extractors.nearest_rows import RowSearch
from lab.benchmark_model import CountingSearch, products


def test_spared_products_are_counted():
    generator = torch.Generator().manual_seed(0)
    centres = 5 * torch.randn(8, 80, generator=generator)
    rows, patches = (centres.repeat(n // 8, 1) + 0.1 * torch.randn(n, 80, generator=generator) for n in (800, 40))
    plain, bounded = CountingSearch(rows, bounded=False), CountingSearch(rows, bounded=True)
    found = [search.nearest(patches).index for search in (plain, bounded, RowSearch(rows))]
    assert plain.products == 800 * 40 and torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    noise = CountingSearch(torch.randn(800, 80, generator=generator), bounded=True)
    noise.nearest(torch.randn(40, 80, generator=generator))
    assert 0 < noise.products <= 800 * 40 * 2


def test_the_bare_products_run_over_all_rows(monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "mm", lambda a, b, out: seen.append((len(a), b.shape[1], tuple(out.shape))))
    products(torch.zeros(3000, 4), torch.zeros(3001, 4))
    assert sum(columns for _, columns, _ in seen) == 3001
    assert all(shape == (3000, columns) for _, columns, shape in seen)
