"""tools/repeatability.py on a generated set of verdicts with repeats."""

import csv

import numpy as np
import pytest
from PIL import Image

from inspection.repeatability import kappa, spread
from inspection.verdict import CANNOT_JUDGE, FAIL, PASS, decide
from tools import predict
from tools.repeatability import main

HEADER = ["path", "verdict", "p_value", "score", "threshold", "milliseconds"]


def generate(rng, parts=12, repeats=5, noise=0.1, naming="part{:02d}/rgb/{:03d}.png"):
    """Rows of verdicts.csv: every third part is defective, each scan's score is the part's and sensor noise; one scan
    could not be judged."""
    calibration, rows = rng.normal(size=59), []
    for part in range(parts):
        own = rng.normal() + 5 * (part % 3 == 0)
        for scan in range(repeats):
            d = decide(calibration, own + noise * rng.normal(), 0.05)
            rows.append(
                [naming.format(part, scan), d.verdict, repr(d.p_value), repr(d.score), repr(d.threshold), "12.5"]
            )
    rows[7][1:5] = CANNOT_JUDGE, "", "", ""
    return rows


def write(path, rows, header=HEADER):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def rows():
    return generate(np.random.default_rng(0))


def test_report_of_a_generated_set(tmp_path, rows, capsys):
    labels = write(
        tmp_path / "labels.csv",
        [[f"part{i:02d}", "good" if i % 3 else "defective"] for i in range(12)],
        ["part", "label"],
    )
    write(tmp_path / "verdicts.csv", rows)
    assert (
        main([str(tmp_path), "-o", str(tmp_path / "out"), "--labels", labels]) == 0
    )  # a folder that holds verdicts.csv
    text = (tmp_path / "out" / "repeatability.md").read_text()
    assert text in capsys.readouterr().out and "60 scans of 12 parts, 1 could not be judged" in text
    judged = [row for row in rows if row[1] != CANNOT_JUDGE]
    parts = [row[0][:6] for row in judged]
    found = spread([float(row[3]) for row in judged], parts)
    assert found.within == pytest.approx(0.1, rel=0.25) and found.grr < 0.1  # the noise that was put in
    assert f"{found.mean:.4g}" in text
    assert (
        f"{found.within:.4g} ({found.within_low:.4g} to {found.within_high:.4g})" in text
        and f"{100 * found.grr:.3g} % (" in text
    )
    agreed = kappa([row[1] for row in judged], [int(p[4:]) % 3 == 0 for p in parts], parts)
    assert (
        f"kappa of verdicts and labels is {agreed.value:.3f} (95 % interval over parts {agreed.low:.3f} to "
        f"{agreed.high:.3f})" in text
    )
    lines = read(tmp_path / "out" / "repeatability.csv")
    assert (
        len(lines) == 12
        and sum(int(line["scans"]) for line in lines) == 60
        and sum(int(line["cannot_judge"]) for line in lines) == 1
    )
    for line in lines:
        own = [row for row in judged if row[0].startswith(line["part"])]
        assert [int(line[v]) for v in (PASS, FAIL)] == [sum(row[1] == v for row in own) for v in (PASS, FAIL)]
        assert float(line["score_mean"]) == pytest.approx(np.mean([float(row[3]) for row in own]))
        assert float(line["p_value_sd"]) == pytest.approx(np.std([float(row[2]) for row in own], ddof=1))
        assert line["label"] == ("good" if int(line["part"][4:]) % 3 else "defective")
    means = [float(line["score_mean"]) for line in lines]
    assert means == sorted(means)
    with Image.open(tmp_path / "out" / "repeatability.png") as picture:
        assert len(picture.convert("RGB").getcolors(2**20)) > 20


def test_the_same_input_gives_the_same_files(tmp_path, rows):
    path = write(tmp_path / "verdicts.csv", rows)
    for name in ("a", "b"):
        assert main([path, "-o", str(tmp_path / name)]) == 0
    for name in ("repeatability.md", "repeatability.csv", "repeatability.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert "labels" not in (tmp_path / "a" / "repeatability.md").read_text()


def test_more_noise_is_more_grr(tmp_path):
    found = []
    for noise in (0.05, 0.5, 2):
        rows = generate(np.random.default_rng(0), noise=noise)
        judged = [row for row in rows if row[3]]
        found.append(spread([float(row[3]) for row in judged], [row[0][:6] for row in judged]))
    assert [s.grr for s in found] == sorted(s.grr for s in found) and [s.categories for s in found] == sorted(
        (s.categories for s in found), reverse=True
    )


def test_parts_named_by_a_pattern(tmp_path, capsys):
    rows = generate(np.random.default_rng(0), naming="rgb/{:02d}_{:03d}.png")
    path = write(tmp_path / "verdicts.csv", rows)
    assert main([path, "-o", str(tmp_path / "out"), "--group_pattern", r"(\d+)_\d+\.png"]) == 0
    assert "60 scans of 12 parts" in capsys.readouterr().out
    assert sorted(line["part"] for line in read(tmp_path / "out" / "repeatability.csv")) == [
        f"{i:02d}" for i in range(12)
    ]


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda rows: rows.append(rows[0]), "stands there more than once"),
        (lambda rows: rows[3].__setitem__(1, "ok"), "line 5: 'ok' is no verdict"),
        (lambda rows: rows[3].__setitem__(3, "nan"), "line 5: score 'nan' is no finite number"),
        (lambda rows: rows[3].__setitem__(2, ""), "line 5: p_value '' is no finite number"),
        (lambda rows: rows[3].__setitem__(4, "0.5"), "mixes verdicts at thresholds"),
        (lambda rows: rows[3].pop(), None),
        (lambda rows: rows[3].__delitem__(slice(2, None)), "line 5: has not as many fields"),
        (lambda rows: rows[3].append("more"), "line 5: has not as many fields"),
        (lambda rows: rows.__delitem__(slice(None)), "holds no scan"),
        (lambda rows: rows.__setitem__(slice(None), rows[::5]), "none of the 12 parts has two scans"),
    ],
)
def test_bad_verdicts(tmp_path, rows, capsys, change, words):
    change(rows)
    code = main([write(tmp_path / "verdicts.csv", rows), "-o", str(tmp_path / "out")])
    err = capsys.readouterr().err
    if words is None:  # a column beyond those that are needed may be short
        assert code == 0
    else:
        assert (
            code == 2
            and words in err
            and err.startswith(f"repeatability.py: {tmp_path}")
            and len(err.splitlines()) == 1
        )
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "labels, words",
    [
        ([["part00", "good"]], "has no label for part part01"),
        ([["part00", "bad"]], "line 2: label 'bad' is none of"),
        ([["part00", "good"], ["part00", "defective"]], "part part00 has both labels"),
    ],
)
def test_bad_labels(tmp_path, rows, capsys, labels, words):
    path = write(tmp_path / "labels.csv", labels, ["part", "label"])
    assert main([write(tmp_path / "verdicts.csv", rows), "-o", str(tmp_path / "out"), "--labels", path]) == 2
    assert words in capsys.readouterr().err


def test_files_that_are_none(tmp_path, capsys):
    (tmp_path / "other.csv").write_text("path,score\na,1\n")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    for name, words in (
        ("missing.csv", "cannot be read"),
        ("other.csv", "lacks the columns verdict, p_value, threshold"),
        ("bytes.csv", "cannot be read"),
        ("", "verdicts.csv: cannot be read"),
    ):
        assert main([str(tmp_path / name), "-o", str(tmp_path / "out")]) == 2
        assert words in capsys.readouterr().err
    with pytest.raises(SystemExit) as info:
        main([str(tmp_path), "--group_pattern", "("])
    assert info.value.code == 2 and "is no regular expression" in capsys.readouterr().err


def test_a_model_and_a_folder_are_judged_first(tmp_path, rows, monkeypatch, capsys):
    given = []

    def judge(words):
        given.extend(words)
        out = tmp_path / "out" / "judged"
        out.mkdir()
        write(out / "verdicts.csv", rows)
        return 1  # some scans could not be judged

    monkeypatch.setattr(predict, "main", judge)
    model, scans, out = (str(tmp_path / name) for name in ("a.m3dm", "scans", "out"))
    assert main([model, scans, "-o", out, "--false_alarm", "0.1", "--no_gate", "--device", "cpu"]) == 0
    assert given == [model, scans, "-o", f"{out}/judged", "--device", "cpu", "--false_alarm", "0.1", "--no_gate"]
    assert "60 scans of 12 parts" in capsys.readouterr().out


def test_a_model_that_is_not_there_is_refused(tmp_path, capsys):
    assert main([str(tmp_path / "a.m3dm"), str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
