"""The benchmark's verdicts and exit codes, and how two steps are measured in turn."""

import pytest

from lab import benchmark
from lab.side_by_side import Row, in_turn


@pytest.mark.parametrize(
    "row, verdict",
    [
        (Row("", "", 1, 24, at_least=24), "met"),
        (Row("", "", 1, 24, at_least=25), "met within 5 %"),
        (Row("", "", 1, 20, at_least=25), "missed"),
        (Row("", "", 1, 99, at_least=25, right=False), "WRONG RESULT"),
        (Row("", "", 3), ""),
    ],
)
def test_verdicts(row, verdict):
    assert row.verdict == verdict and row.fine == (verdict in ("met", "met within 5 %", ""))


def test_two_steps_take_turns_and_their_results_are_compared():
    called = []
    steps = (lambda: called.append("ours") or 1), (lambda: called.append("theirs") or 2)
    row = in_turn("sum", "plain", *steps, 3, same=lambda a, b: (f"{a} and {b}", a == b), note="first")
    assert called == ["ours", "theirs"] * 3 and row.note == "first; 1 and 2" and row.verdict == "WRONG RESULT"
    assert row.ours >= 0 and row.theirs >= 0


def test_a_missed_goal_is_exit_code_1_and_a_failing_row_keeps_those_that_are_done(monkeypatch, capsys):
    def broken(_):
        yield Row("half", "", 1)
        raise RuntimeError("out of memory, say")

    rows = {
        "fast": lambda _: [Row("fast", "slow", 1, 30, at_least=25)],
        "small": lambda _: [Row("small", "slow", 1, 20, at_least=25)],
        "bad": broken,
        "absent": lambda _: [Row("absent", "", 1)],
    }
    monkeypatch.setattr(benchmark, "Bench", lambda *_: None)
    monkeypatch.setattr(benchmark, "ROWS", rows)
    monkeypatch.setattr(benchmark, "PACKAGES", {"absent": "no_such_package"})
    for chosen, code in ((["fast", "absent"], 0), (["fast", "small"], 1), (["bad", "fast"], 1)):
        assert benchmark.main(["--device", "cpu", "--rows", *chosen]) == code
    out, err = capsys.readouterr()
    assert "row bad failed: RuntimeError: out of memory, say" in err and "| half " in out
    assert out.count("| fast ") == 3 and "missed" in out and "absent: left out" in out + err
