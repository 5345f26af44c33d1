"""tools/repeatability.py: spread within parts, and verdicts that repeat."""

import json

import numpy as np
import pytest

from inspection.verdict import CANNOT_JUDGE, decide
from tools.repeatability import main


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


def run(folder, rows):
    """The command's exit code."""
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return main([str(folder)])


def test_report_of_a_generated_set(tmp_path, rows, capsys):
    assert run(tmp_path, rows) == 0
    text = (tmp_path / "repeatability.md").read_text()
    assert text in capsys.readouterr().out and "56 scans of 12 parts; 1 could not be judged" in text
    scans = [row for row in rows if row["score"] is not None]
    groups = [[row["score"] for row in scans if row["path"].startswith(f"part{part:02d}")] for part in range(12)]
    within = np.sqrt(sum(np.var(own) * len(own) for own in groups) / (len(scans) - 12))
    assert within == pytest.approx(0.1, rel=0.25)  # the noise that was put in
    assert f"deviation of {within:.4g} (mean score {np.mean(np.concatenate(groups)):.4g};" in text
    assert "the same verdict: 10 of 11 parts" in text  # of one part a scan could not be judged


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda rows: [], "no verdicts"),
        (lambda rows: rows[::5], "no part has two scans"),
        (lambda rows: [*rows, {**rows[0], "threshold": 0.5}], "mixes verdicts at several thresholds"),
    ],
)
def test_what_is_refused(tmp_path, rows, capsys, change, words):
    assert run(tmp_path, change(rows)) == 2
    err = capsys.readouterr().err
    assert words in err and len(err.splitlines()) == 1 and not (tmp_path / "repeatability.md").exists()
