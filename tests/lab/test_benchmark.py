"""The benchmark's verdicts, exit codes and files, and that its rows run on something small."""

import json

import pytest
import torch

import reference_m3dm
from lab import benchmark, benchmark_rows
from lab.benchmark import Row
from lab.benchmark_shared import Bench, Figure


@pytest.mark.parametrize(
    "figure, verdict",
    [
        (Figure("", 2.4, "x", at_most=2.4), "met"),
        (Figure("", 2.5, "x", at_most=2.4), "met within 5 %"),
        (Figure("", 2.6, "x", at_most=2.4), "missed"),
        (Figure("", 25, "x", at_least=25), "met"),
        (Figure("", 24, "x", at_least=25), "met within 5 %"),
        (Figure("", 20, "x", at_least=25), "missed"),
        (Figure("", 99, "x", at_least=25, correct=False), "WRONG RESULT"),
        (Figure("", 3, "s"), ""),
    ],
)
def test_verdicts(figure, verdict):
    assert figure.verdict == verdict


@pytest.mark.parametrize("values, code", [([30.0, 2.0], 0), ([30.0, 3.0], 1), ([20.0, 2.0], 1)])
def test_a_missed_target_is_exit_code_1(tmp_path, monkeypatch, capsys, values, code):
    monkeypatch.setattr(benchmark, "Bench", lambda *_: type("", (), {"device": torch.device("cpu")})())
    rows = {
        "fast": Row(lambda _: [Figure("fast", values[0], "times", at_least=25)], True),
        "small": Row(lambda _: [Figure("small", values[1], "GiB", at_most=2.4)], True),
        "slow": Row(lambda _: pytest.fail("not a quick row"), False),
    }
    monkeypatch.setattr(benchmark, "ROWS", rows)
    assert benchmark.main(["--quick", "-o", str(tmp_path / "out" / "b.json")]) == code
    written = json.loads((tmp_path / "out" / "b.json").read_text())
    assert [row["value"] for row in written["rows"]] == values and written["versions"]["torch"]
    assert ("missed" in capsys.readouterr().out) == bool(code)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b.json"]


def test_nearest_rows_are_compared_with_the_plain_form(monkeypatch):
    bench = object.__new__(Bench)
    bench.device, bench.rounds = torch.device("cpu"), 1
    generator = torch.Generator().manual_seed(0)
    rows, patches = torch.randn(300, 80, generator=generator), torch.randn(20, 80, generator=generator)
    figure = benchmark_rows.nearest_on(bench, patches, rows, "test", at_least=0.001)
    assert figure.correct and figure.verdict == "met" and "100.00% of the indices equal" in figure.note
    monkeypatch.setattr(reference_m3dm, "nearest_rows", lambda p, r: torch.cdist(p, r[150:]).min(1))
    assert benchmark_rows.nearest_on(bench, patches, rows, "test", at_least=0.001).verdict == "WRONG RESULT"


@pytest.mark.slow
def test_matrix_products_are_counted_for_the_sample_at_hand(full_method, passes):
    """ViT 156, point transformer 63, mini-PointNet 77, UFF up to 74 GFLOP; less where patches are background."""
    sample, *_, patches = passes["train"][0]
    filled = int((patches["xyz"] != 0).any(1).sum())
    expected = 155.6 + 62.8 + 77.6 + (7.4 + 66.6 * (filled + 1) / 3136)
    assert benchmark_rows.product_flop(full_method, sample) / 1e9 == pytest.approx(expected, rel=0.02)


def test_a_failing_row_keeps_those_that_are_done(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "Bench", lambda *_: type("", (), {"device": torch.device("cpu")})())

    def broken(_):
        raise RuntimeError("out of memory, say")

    rows = {
        name: Row(run, True)
        for name, run in (
            ("first", lambda _: [Figure("first", 1.0, "x")]),
            ("bad", broken),
            ("last", lambda _: [Figure("last", 2.0, "x")]),
        )
    }
    monkeypatch.setattr(benchmark, "ROWS", rows)
    assert benchmark.main(["--quick", "-o", str(tmp_path / "b.json")]) == 1
    assert "row bad failed: RuntimeError: out of memory, say" in capsys.readouterr().err
    written = json.loads((tmp_path / "b.json").read_text())
    assert written["failed"] == ["bad"] and [row["what"] for row in written["rows"]] == ["first", "last"]
