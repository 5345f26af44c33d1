"""The benchmark's verdicts and exit codes, and what two of its rows count and compare."""

import pytest
import torch

import reference_m3dm
from feature_extractors.nearest_rows import RowSearch
from lab import benchmark
from lab.benchmark import Bench, CountingSearch, Figure


@pytest.mark.parametrize(
    "figure, verdict",
    [
        (Figure("", 2.4, "x", at_most=2.4), "met"),
        (Figure("", 2.5, "x", at_most=2.4), "met within 5 %"),
        (Figure("", 2.6, "x", at_most=2.4), "missed"),
        (Figure("", 24, "x", at_least=25), "met within 5 %"),
        (Figure("", 20, "x", at_least=25), "missed"),
        (Figure("", 99, "x", at_least=25, correct=False), "WRONG RESULT"),
        (Figure("", 3, "s"), ""),
    ],
)
def test_verdicts(figure, verdict):
    assert figure.verdict == verdict


def test_a_missed_target_is_exit_code_1_and_a_failing_row_keeps_those_that_are_done(monkeypatch, capsys):
    def broken(_):
        raise RuntimeError("out of memory, say")

    rows = {
        "fast": lambda _: [Figure("fast", 30.0, "times", at_least=25)],
        "small": lambda _: [Figure("small", 3.0, "GiB", at_most=2.4)],
        "bad": broken,
        "last": lambda _: [Figure("last", 2.0, "x")],
    }
    monkeypatch.setattr(benchmark, "Bench", lambda *_: None)
    monkeypatch.setattr(benchmark, "ROWS", rows)
    for chosen, code in ((["fast", "last"], 0), (["fast", "small"], 1), (["bad", "last"], 1)):
        assert benchmark.main(["--device", "cpu", "--rows", *chosen]) == code
    out, err = capsys.readouterr()
    assert "row bad failed: RuntimeError: out of memory, say" in err
    assert out.count("| fast ") == 2 and out.count("| last ") == 2 and "missed" in out


def test_nearest_rows_are_compared_with_the_plain_form(monkeypatch):
    bench = object.__new__(Bench)
    bench.device, bench.rounds = torch.device("cpu"), 1
    generator = torch.Generator().manual_seed(0)
    rows, patches = torch.randn(300, 80, generator=generator), torch.randn(20, 80, generator=generator)
    figure = benchmark.nearest_on(bench, patches, rows, "test", at_least=0.001)
    assert figure.correct and figure.verdict == "met" and "100.00% equal indices" in figure.note
    monkeypatch.setattr(reference_m3dm, "nearest_rows", lambda p, r: torch.cdist(p, r[150:]).min(1))
    assert benchmark.nearest_on(bench, patches, rows, "test", at_least=0.001).verdict == "WRONG RESULT"


def test_spared_products_are_counted():
    generator = torch.Generator().manual_seed(0)
    centres = 5 * torch.randn(8, 80, generator=generator)
    rows, patches = (centres.repeat(n // 8, 1) + 0.1 * torch.randn(n, 80, generator=generator) for n in (800, 2000))
    plain, bounded = CountingSearch(rows, bounded=False), CountingSearch(rows, bounded=True)
    found = [search.nearest(patches).index for search in (plain, bounded, RowSearch(rows))]
    assert plain.products == 800 * 2000 > bounded.products
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
