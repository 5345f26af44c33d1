"""Spread within and between parts against its definition and known generators; the command on verdicts with repeats."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from common.errors import InputError
from inspection.repeatability import same_verdicts, spread
from inspection.verdict import CANNOT_JUDGE, FAIL, PASS, decide
from tools.repeatability import main


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(2, 6))
def test_spread_by_definition(seed, parts, scans):
    rng = np.random.default_rng(seed)
    groups = rng.normal(size=(parts, scans)) + rng.normal(size=(parts, 1))
    order = rng.permutation(parts * scans)
    found = spread(groups.ravel()[order], np.repeat(np.arange(parts), scans)[order])
    square = groups.var(axis=1, ddof=1).mean()
    within, between = square**0.5, max(groups.mean(axis=1).var(ddof=1) - square / scans, 0) ** 0.5
    assert (found.within, found.between) == pytest.approx((within, between))
    assert found.grr == pytest.approx(within / np.hypot(within, between))
    assert found.categories == max(1, int(1.41 * between / within)) and found.grr_low <= found.grr <= found.grr_high


def test_unequal_numbers_by_the_expectation():
    """Mean of many draws: variances within and between come out without bias for unequal numbers of scans too."""
    rng, parts = np.random.default_rng(0), np.repeat(np.arange(12), [1, 2, 3, 4, 5, 6] * 2)
    found = [spread(rng.normal(size=12)[parts] * 3 + rng.normal(size=len(parts)), parts) for _ in range(400)]
    assert np.mean([s.within**2 for s in found]) == pytest.approx(1, abs=0.05)
    assert np.mean([s.between**2 for s in found]) == pytest.approx(9, abs=0.8)


def test_the_interval_covers():
    rng, parts, hits = np.random.default_rng(0), np.repeat(np.arange(10), 4), 0
    for _ in range(600):
        s = spread(rng.normal(size=10)[parts] * 2 + rng.normal(size=40), parts)
        hits += s.grr_low <= 1 / 5**0.5 <= s.grr_high
    assert abs(hits / 600 - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 600)


def test_what_cannot_be_told_is_none():
    equal = spread([0.1, 0.1, 0.1, 0.7, 0.7, 0.7], list("aaabbb"))
    assert (equal.within, equal.grr, equal.grr_high, equal.categories) == (0, 0, 0, None) and equal.between > 0.4
    assert spread([1.0, 2.0, 3.0], list("aaa")) == (2.0, 1.0, *[None] * 5)
    assert spread([1.0, 2.0, 3.0], list("abc")) == (2.0, *[None] * 6)
    with pytest.raises(InputError, match="finite"):
        spread([1.0, float("nan")], list("ab"))
    found = same_verdicts([PASS, PASS, FAIL, PASS, CANNOT_JUDGE, FAIL], list("aabbcd"))
    assert (found.events, found.of) == (1, 2) and same_verdicts([PASS], ["a"]).value is None


# ---------------------------------------------------------------- the command


@pytest.fixture
def rows():
    """Rows of verdicts.jsonl: every third part is defective, each scan's score is the part's and sensor noise; one scan
    could not be judged."""
    rng = np.random.default_rng(0)
    calibration, rows = rng.normal(size=59), []
    for part in range(12):
        own = rng.normal() + 5 * (part % 3 == 0)
        for scan in range(5):
            values = decide(calibration, own + 0.1 * rng.normal(), 0.05)._asdict()
            rows.append({"path": f"part{part:02d}/rgb/{scan:03d}.png", "judged_with": "x", **values})
    rows[7] = {**rows[7], "verdict": CANNOT_JUDGE, "p_value": None, "score": None}
    return rows


@pytest.fixture
def judged(tmp_path):
    """Function: write rows and labels; returns the words that name them."""

    def write(rows, labels=None, titles=("part", "label")):
        (tmp_path / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if labels is None:
            return [str(tmp_path)]
        with open(tmp_path / "labels.csv", "w", newline="") as file:
            csv.writer(file).writerows([titles, *labels])
        return [str(tmp_path), "--labels", str(tmp_path / "labels.csv")]

    return write


GOOD = [[f"part{i:02d}", "good" if i % 3 else "defective"] for i in range(12)]


def test_report_of_a_generated_set(tmp_path, judged, rows, capsys):
    assert main(judged(rows, GOOD)) == 0
    text = (tmp_path / "repeatability.md").read_text()
    assert text in capsys.readouterr().out and "60 scans of 12 parts, 1 could not be judged" in text
    scans = [row for row in rows if row["score"] is not None]
    parts = [row["path"][:6] for row in scans]
    found = spread([row["score"] for row in scans], parts)
    assert found.within == pytest.approx(0.1, rel=0.25) and found.grr < 0.1  # the noise that was put in
    assert f"{found.within:.4g}" in text and f"{found.mean:.4g}" in text and f"{100 * found.grr:.3g} % (" in text
    kappa = cohen_kappa_score([row["verdict"] == FAIL for row in scans], [int(p[4:]) % 3 == 0 for p in parts])
    assert f"kappa of verdicts and labels is {kappa:.3f}" in text and "escapes, of the defective parts" in text


@pytest.mark.parametrize(
    "change, labels, words",
    [
        (lambda rows: [], None, "no verdicts"),
        (lambda rows: rows[::5], None, "none of the 12 parts has two scans"),
        (lambda rows: [*rows, {**rows[0], "threshold": 0.5}], None, "mixes verdicts at thresholds"),
        (list, [GOOD[1:]], "has no label for part part00"),
        (list, [[["part00", "bad"]]], "part part00: label 'bad' is none of"),
        (list, [[*GOOD, ["part00", "good"]]], "part part00: has both labels"),
        (list, [GOOD, ("part", "what")], "cannot be read, or lacks the columns part and label"),
    ],
)
def test_what_is_refused(tmp_path, judged, rows, capsys, change, labels, words):
    assert main(judged(change(rows), *(labels or ()))) == 2
    err = capsys.readouterr().err
    assert words in err and len(err.splitlines()) == 1 and not (tmp_path / "repeatability.md").exists()
