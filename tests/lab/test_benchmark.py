"""The benchmark's verdicts and exit codes, how two steps are measured in turn, and the page of lab/on_gpu.py."""

import pytest

from lab import benchmark, on_gpu
from lab.side_by_side import Row, in_turn


@pytest.mark.parametrize("ratio, verdict", [(25, "met"), (24, "met within 5 %"), (20, "missed")])
def test_verdicts(ratio, verdict):
    row = Row("", "", 1, ratio, at_least=25)
    assert row.verdict == verdict and row.fine == (verdict != "missed") and Row("", "", 3).verdict == ""
    assert not row._replace(right=False).fine


def test_two_steps_take_turns_and_their_results_are_compared():
    called = []
    steps = (lambda: called.append("ours") or 1), (lambda: called.append("theirs") or 2)
    row = in_turn("sum", "plain", *steps, 3, same=lambda a, b: (f"{a} and {b}", a == b))
    assert called == ["ours", "theirs"] * 3 and row.note == "1 and 2" and row.verdict == "WRONG RESULT"
    assert row.ours >= 0 and row.theirs >= 0


def broken(*_):
    yield Row("half", "", 1)
    raise RuntimeError("out of memory, say")


def test_a_missed_goal_is_exit_code_1_and_a_failing_row_keeps_those_that_are_done(monkeypatch, capsys):
    rows = {
        "fast": lambda _: [Row("fast", "slow", 1, 30, at_least=25)],
        "small": lambda _: [Row("small", "slow", 1, 20, at_least=25)],
        "bad": broken,
        "absent": lambda _: [Row("absent", "", 1)],
    }
    monkeypatch.setattr(benchmark, "ROWS", rows)
    monkeypatch.setattr(benchmark, "PACKAGES", {**dict.fromkeys(rows, "torch"), "absent": "no_such_package"})
    for chosen, code in ((["fast", "absent"], 0), (["fast", "small"], 1), (["bad", "fast"], 1)):
        assert benchmark.main(["--quiet", "--rows", *chosen]) == code
    out = capsys.readouterr().out
    assert "bad failed: RuntimeError: out of memory, say" in out and "| half " in out
    assert out.count("| fast ") == 3 and "missed" in out and "absent: left out" in out


def test_the_page_of_a_gpu_is_printed_and_names_what_failed_and_what_was_left_out(tmp_path, monkeypatch, capsys):
    checks = {"extraction": broken, "banks": lambda *_: [Row("bank", "", 1)], "category": broken}
    monkeypatch.setattr(on_gpu, "Bench", lambda *_: None)
    monkeypatch.setattr(on_gpu, "CHECKS", checks)
    page, words = tmp_path / "page.md", ["--device", "cpu", "--quiet", "-o"]
    assert on_gpu.main([*words, str(page)]) == 1
    text = page.read_text()
    assert text in capsys.readouterr().out
    assert text.count("| half ") == 2 and "| bank " in text and "category failed: RuntimeError: out of memory" in text
    monkeypatch.setattr(on_gpu, "SECONDS", -1)
    assert on_gpu.main([*words, str(page)]) == 1 and page.read_text().count("left out") == 3
