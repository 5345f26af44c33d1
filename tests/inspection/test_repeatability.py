"""tools/repeatability.py: spread within parts, verdicts that repeat, and agreement with labels."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from inspection.verdict import CANNOT_JUDGE, FAIL, decide
from tools.repeatability import main

GOOD = [[f"part{i:02d}", "good" if i % 3 else "defective"] for i in range(12)]


@pytest.fixture
def rows():
    """Rows of verdicts.jsonl: every third part is defective, each scan's score is the part's and sensor noise; one scan
    could not be judged, and one part has a single scan."""
    rng = np.random.default_rng(0)
    calibration, rows = rng.normal(size=59), []
    for part in range(12):
        own = rng.normal() + 5 * (part % 3 == 0)
        for scan in range(5):
            values = decide(calibration, own + 0.1 * rng.normal(), 0.05)._asdict()
            rows.append({"path": f"part{part:02d}/rgb/{scan:03d}.png", "judged_with": "x", **values})
    rows[7] = {**rows[7], "verdict": CANNOT_JUDGE, "p_value": None, "score": None}
    return rows[:-4]


def run(folder, rows, labels, titles=("part", "label")):
    """The command's exit code for rows and labels."""
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with open(folder / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([titles, *labels])
    return main([str(folder), "--labels", str(folder / "labels.csv")])


def test_report_of_a_generated_set(tmp_path, rows, capsys):
    assert run(tmp_path, rows, GOOD) == 0
    text = (tmp_path / "repeatability.md").read_text()
    assert text in capsys.readouterr().out and "56 scans of 12 parts; 1 could not be judged" in text
    scans = [row for row in rows if row["score"] is not None]
    groups = [[row["score"] for row in scans if row["path"].startswith(name)] for name, _ in GOOD]
    within = np.sqrt(sum(np.var(own) * len(own) for own in groups) / (len(scans) - 12))
    assert within == pytest.approx(0.1, rel=0.25)  # the noise that was put in
    assert f"deviation of {within:.4g} (mean score {np.mean(np.concatenate(groups)):.4g};" in text
    assert "the same verdict: 10 of 11 parts" in text  # of one part a scan could not be judged
    kappa = cohen_kappa_score([row["verdict"] == FAIL for row in scans], [int(r["path"][4:6]) % 3 == 0 for r in scans])
    assert f"kappa of verdicts and labels is {kappa:.3f}" in text and "escapes, of the defective parts" in text


@pytest.mark.parametrize(
    "change, labels, words",
    [
        (lambda rows: [], [GOOD], "no verdicts"),
        (lambda rows: rows[::5], [GOOD], "no part has two scans"),
        (lambda rows: [*rows, {**rows[0], "threshold": 0.5}], [GOOD], "mixes verdicts at several thresholds"),
        (list, [GOOD[1:]], "has no label for part part00"),
        (list, [[["part00", "bad"]]], "part part00: label bad; write one of"),
        (list, [[*GOOD, ["part00", "good"]]], "part part00: label defective and good; write one of"),
        (list, [GOOD, ("part", "what")], "cannot be read, or lacks the columns part and label"),
    ],
)
def test_what_is_refused(tmp_path, rows, capsys, change, labels, words):
    assert run(tmp_path, change(rows), *labels) == 2
    err = capsys.readouterr().err
    assert words in err and len(err.splitlines()) == 1 and not (tmp_path / "repeatability.md").exists()
