"""runs/results.py: the tables, the scores and the table over seeds, as files."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from runs.results import Tables, comment_of, result_table, write_scores
from scoring.metrics import Metrics
from sweeps.seeds import table_over_seeds

FILES = ("image_rocauc_results.md", "pixel_rocauc_results.md", "aupro_results.md")
METRICS = ("image_rocauc", "pixel_rocauc", "au_pro")


def one(**values):
    """{category: {"baseline": Metrics}} with the same value as every metric."""
    return {name: {"baseline": Metrics(v, v, v)} for name, v in values.items()}


def table(text):
    """(heading, cells of the header, [cells of each row]) of a markdown table."""
    heading, gap, *lines = text.splitlines()
    assert gap == ""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert set("".join(cells[1])) <= set(":-")
    return heading, cells[0], cells[2:]


def test_each_metric_has_its_table_of_rounded_values():
    values = {"bagel": 0.1009, "cable_gland": 0.1004, "CandyCane": 0.1004}
    metrics = {name: {"baseline": Metrics(v, 0.2, None)} for name, v in values.items()}
    image, pixel, au_pro = (table(result_table(metric, "DINO", metrics)) for metric in METRICS)
    header = ["Method", "Bagel", "Cable_Gland", "Candycane", "Mean"]
    assert image == ("## Image ROCAUC Results", header, [["DINO", "0.101", "0.100", "0.100", "0.100"]])  # mean of these
    assert pixel == ("## Pixel ROCAUC Results", header, [["DINO", *4 * ["0.200"]]])
    assert au_pro == ("## AU PRO Results", header, [["DINO", *4 * ["undefined"]]])
    metrics["bagel"] = {"baseline": Metrics(None, 0, 0)}  # left out of the mean
    assert table(result_table("image_rocauc", "M", metrics))[2] == [["M", "undefined", "0.100", "0.100", "0.100"]]


def test_difference_rows():
    values = {"a": (0.9004, 0.9506, 0.9004), "b": (0.8, 0.701, 0.8004)}
    metrics = {
        name: {scoring: Metrics(v, 0, 0) for scoring, v in zip(("baseline", "disagreement", "other"), row)}
        for name, row in values.items()
    }
    assert table(result_table("image_rocauc", "M", metrics))[2] == [
        ["M", "0.900", "0.800", "0.850"],
        ["M [disagreement]", "0.951", "0.701", "0.826"],
        ["difference", "+0.051", "-0.099", "-0.024"],
        ["M [other]", "0.900", "0.800", "0.850"],
        ["difference", "+0.000", "+0.000", "+0.000"],
    ]


def test_tables_are_appended_to_three_files(tmp_path):
    (tmp_path / FILES[0]).write_text("\n")  # empty but for a line end
    Tables("DINO").update(tmp_path, one(bagel=0.5))
    first = [(tmp_path / name).read_text() for name in FILES]
    assert Tables("DINO").text(one(bagel=0.5)) == "\n".join(first)
    Tables("Point_MAE").update(tmp_path, one(bagel=0.75))
    for before, name, metric in zip(first, FILES, METRICS):
        assert (tmp_path / name).read_text() == before + "\n" + result_table(metric, "Point_MAE", one(bagel=0.75))


def test_tables_find_their_own_block_again(tmp_path):
    def update(block, day, metrics, options={}, note="", again=False):
        return Tables("M", block, comment_of(block, day, options), note).update(tmp_path, metrics, again)

    path = tmp_path / FILES[0]
    Tables("released").update(tmp_path, one(old=0.1))  # a table of the release, without a comment
    assert update("id1", "monday", one(a=0.5), {"seed": 0})
    assert update("id2", "monday", one(a=0.7), note="a note")
    Tables("released").update(tmp_path, one(new=0.2))
    before = path.read_text()
    assert not update("id1", "tuesday", one(a=0.5), {"seed": 0}) and path.read_text() == before
    assert update("id1", "tuesday", one(a=0.5, b=0.25), {"seed": 0})
    text = path.read_text()
    assert [line.count("|") for line in text.splitlines() if "Mean" in line] == [4, 5, 4, 4]
    assert text.count("<!-- run id1, tuesday, seed=0 -->") == 1 and text.count("a note") == 1
    assert "\n\n\n" not in text and text.endswith("|\n") and text.count("## Image") == 4
    assert update("id1", "today", one(a=0.5, b=0.25), again=True)
    assert path.read_text().startswith(text) and path.read_text().count("<!-- run id1") == 2


@pytest.mark.parametrize("name", ["a|b", "two\nlines", "-->", "a\r\nb"])
def test_odd_category_names_break_no_table(tmp_path, name):
    from tools.compare_runs import read_tables

    of_two = {name: one(x=0.5)["x"], "other": one(x=0.25)["x"]}
    Tables("M", "id", comment_of("id", "today", {"category": [name]})).update(tmp_path, of_two)
    lines = (tmp_path / FILES[0]).read_text().splitlines()
    assert len(lines) == 6 and lines[0].endswith(" -->") and lines[0].count("-->") == 1
    if "|" not in name:
        assert list(read_tables(tmp_path / FILES[0])[-1].rows["M"].values()) == [0.5, 0.25]


def test_scores_have_full_precision(tmp_path):
    baseline, other, bank = (0.1 + 0.2, 1 / 3), (1e-17, 12345.678901234567), np.array([-3.0, 2.5e300])
    evaluation = SimpleNamespace(
        path=("toy/test/good/rgb/000.png", "toy/test/a, b/rgb/000.png"),
        defect=("good", "a, b"),
        label=np.array([0, 1], np.uint8),
        bank_score={"xyz": bank},
    )
    scored = {"baseline": SimpleNamespace(image_preds=baseline), "other": SimpleNamespace(image_preds=other)}
    write_scores(tmp_path / "scores_toy.csv", evaluation, scored)
    header, *rows = csv.reader((tmp_path / "scores_toy.csv").read_text(encoding="utf-8").splitlines())
    assert header == ["path", "defect", "label", "baseline", "other", "bank_xyz"]
    assert [tuple(row[:3]) for row in rows] == [*zip(evaluation.path, evaluation.defect, "01")]
    assert [row[3:] for row in rows] == [[repr(float(x)) for x in row] for row in zip(baseline, other, bank)]


def test_seeds_with_paired_differences():
    metrics = {
        seed: {"a": {"baseline": Metrics(0.5 + seed / 10, None, 0.1), "other": Metrics(0.6 + seed / 5, 0.2, 0.1)}}
        for seed in (0, 1)
    }
    text = table_over_seeds("M", metrics)
    line = next(line for line in text.splitlines() if "difference" in line)
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["difference", *2 * ["+0.150 ± 0.071"]]
    assert "undefined" in text
