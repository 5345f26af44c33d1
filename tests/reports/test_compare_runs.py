"""tools/compare_runs.py: tables of ours and of a checkout, differences checked against the numbers put in."""

import re

import pytest

import scoring_addon
from runs.results import TABLES, Tables
from scoring.metrics import Metrics
from tools import compare_runs

METHOD = "DINO+Point_MAE+Fusion"


def of_ours(folder, values, scorings):
    """Append our tables: {category: value}, the same for every metric and scoring."""
    folder.mkdir(exist_ok=True)
    metrics = {category: dict.fromkeys(scorings, Metrics(v, v, v)) for category, v in values.items()}
    Tables(METHOD).append(folder, metrics)
    return str(folder)


def of_a_checkout(folder, *tables, method=METHOD):
    """Write tables as the release appends them: without a line end, numbers in general format."""
    folder.mkdir(exist_ok=True)
    text = "".join(
        f"| Method | {' | '.join(values)} | Mean |\n|:---|{'---:|' * (len(values) + 1)}\n"
        f"| {method} | {' | '.join(f'{v:g}' for v in values.values())} | 0.5 |"
        for values in tables
    )
    for _, name in TABLES.values():
        (folder / name).write_text(text)
    return str(folder)


def shown(out):
    """[{column: text} of the last row of each table]."""
    tables = []
    for text in out.split("## ")[1:]:
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
        ]
        tables.append({"": text.splitlines()[0], **dict(zip(rows[0], rows[-1])), "rows": [row[0] for row in rows[2:]]})
    return tables


def test_two_runs_of_a_checkout(tmp_path, capsys):
    a = of_a_checkout(tmp_path / "a", {"Bagel": 0.1, "Peach": 0.2}, {"Bagel": 0.5, "Peach": 0.75})
    b = of_a_checkout(tmp_path / "b", {"Bagel": 0.625, "Peach": 0.7})
    assert compare_runs.main([a, b]) == 0
    out, err = capsys.readouterr()
    tables = shown(out)
    assert err == "" and [t[""] for t in tables] == [f"{heading}: B - A" for heading, _ in TABLES.values()]
    for table in tables:
        assert [table[c] for c in ("Method", "Bagel", "Peach", "Mean")] == ["B - A", "+0.125", "-0.050", "+0.037"]
        assert table["rows"] == [f"A: {METHOD}", f"B: {METHOD}", "B - A"]
    assert compare_runs.main([b, a]) == 0
    assert shown(capsys.readouterr().out)[0]["Bagel"] == "-0.125"


def test_what_stands_in_one_run_only_is_named(tmp_path, capsys):
    a = of_ours(tmp_path / "a", {"bagel": 0.5, "peach": None, "rope": 0.3}, ["baseline", "disagreement"])
    b = of_a_checkout(tmp_path / "b", {"Bagel": 0.6, "Peach": 0.5, "Tire": 0.1, "Foam": 0.2})
    assert compare_runs.main([a, b]) == 1
    out, err = capsys.readouterr()
    table = shown(out)[0]
    assert (table["Bagel"], table["Peach"], table["Mean"]) == ("+0.100", "undefined", "+0.100")
    assert f"only in {a}/image_rocauc_results.md, table of line 3: {METHOD} [disagreement]" in err
    assert set(table) == {"", "Method", "Bagel", "Peach", "Mean", "rows"}
    assert len(re.findall("category (?:Rope|Tire|Foam)", err)) == 9
    c = of_a_checkout(tmp_path / "c", {"Bagel": 0.6}, method="DINO")
    (tmp_path / "c" / "aupro_results.md").unlink()
    assert compare_runs.main([a, c]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and "aupro_results.md: missing" in err and "DINO" in err
    (tmp_path / "b" / "aupro_results.md").unlink()
    assert compare_runs.main([a, b]) == 1


@pytest.mark.parametrize(
    "text, word",
    [
        (b"nothing here\n", "no result table"),
        (b"| Method | A | Mean |\n|---|---|---|\n| m | x | 1 |\n", "line 3: is no row of a result table"),
        (b"| Method | A | Mean |\n|---|---|---|\n| m | 1 |\n", "line 3: is no row"),
        (b"| Method | A | Mean |\n|---|---|---|\n| m | 1 | 1 |\n| m | 1 | 1 |\n", "line 4: is no row"),
        (b"| Method | A | A |\n", "line 1: is no row"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_broken_tables(text, word, tmp_path, capsys):
    a = of_a_checkout(tmp_path / "a", {"Bagel": 0.6})
    b = of_a_checkout(tmp_path / "b", {"Bagel": 0.6})
    path = tmp_path / "b" / "image_rocauc_results.md"
    path.write_bytes(text)
    assert compare_runs.main([a, b]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and str(path) in err and word in err


def test_wrong_folders(tmp_path, capsys):
    a = of_a_checkout(tmp_path / "a", {"Bagel": 0.6})
    for folder in ("missing", "a/image_rocauc_results.md"):
        assert compare_runs.main([a, str(tmp_path / folder)]) == 2
        assert "no such folder" in capsys.readouterr().err
    assert compare_runs.main([a]) == 2 and "scoring.md: missing; give two" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert compare_runs.main([a, str(tmp_path / "empty")]) == 2
    assert "nothing to compare" in capsys.readouterr().err


def test_both_rows_of_one_pass(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = (("earlier", "bagel", 0.1, 0.2), ("last", "bagel", 0.5, 0.6), ("last", "rope", 0.7, 0.5))
    for run, name, before, after in runs:
        monkeypatch.setattr(scoring_addon, "RUN", run)
        scoring_addon._write(name, [before, before, float("nan")], [after, after, 0.5])
    assert compare_runs.main(["results"]) == 0
    out = capsys.readouterr().out
    image, pixel, area = shown(out)
    assert (image["bagel"], image["rope"], image["Mean"]) == ("+0.100", "-0.200", "-0.050")
    assert "Image ROCAUC: B - A" in out
    assert pixel["bagel"] == "+0.100" and area["bagel"] == "undefined" and "run of last" in out
    (tmp_path / "results" / "scoring.md").write_text("| Method | A |\n|---|---|\n| m | 1 |\n")
    assert compare_runs.main(["results"]) == 2 and "scoring.md" in capsys.readouterr().err
