import csv
from types import SimpleNamespace

import numpy as np
import pytest

from runs.results import Tables, comment_of, result_table, write_scores, write_seeds
from scoring.metrics import Metrics

FILES = ("image_rocauc_results.md", "pixel_rocauc_results.md", "aupro_results.md")


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


# ---------------------------------------------------------------- tables


def test_each_metric_has_its_table_of_rounded_values():
    metrics = {
        name: {"baseline": Metrics(v, 0.2, 0.3)}
        for name, v in (("bagel", 0.1009), ("cable_gland", 0.1004), ("CandyCane", 0.1004))
    }
    found = [table(result_table(metric, "DINO", metrics)) for metric in ("image_rocauc", "pixel_rocauc", "au_pro")]
    assert [heading for heading, _, _ in found] == [
        "## Image ROCAUC Results",
        "## Pixel ROCAUC Results",
        "## AU PRO Results",
    ]
    assert found[0][1] == ["Method", "Bagel", "Cable_Gland", "Candycane", "Mean"]
    assert found[0][2] == [["DINO", "0.101", "0.100", "0.100", "0.100"]]  # the mean is that of the rounded values
    assert found[1][2] == [["DINO", *4 * ["0.200"]]] and found[2][2] == [["DINO", *4 * ["0.300"]]]


def test_difference_rows():
    values = {"a": (0.9004, 0.9506, 0.9004), "b": (0.8, 0.701, 0.8004)}
    metrics = {
        name: {scoring: Metrics(v, 0, 0) for scoring, v in zip(("baseline", "disagreement", "other"), row)}
        for name, row in values.items()
    }
    _, _, rows = table(result_table("image_rocauc", "M", metrics))
    assert rows == [
        ["M", "0.900", "0.800", "0.850"],
        ["M [disagreement]", "0.951", "0.701", "0.826"],
        ["difference", "+0.051", "-0.099", "-0.024"],
        ["M [other]", "0.900", "0.800", "0.850"],
        ["difference", "+0.000", "+0.000", "+0.000"],
    ]


def test_undefined_metrics_are_left_out_of_the_mean():
    metrics = {"a": {"baseline": Metrics(None, 0.1, None)}, "b": {"baseline": Metrics(0.4, 0.2, None)}}
    assert table(result_table("image_rocauc", "M", metrics))[2] == [["M", "undefined", "0.400", "0.400"]]
    assert table(result_table("pixel_rocauc", "M", metrics))[2] == [["M", "0.100", "0.200", "0.150"]]
    assert table(result_table("au_pro", "M", metrics))[2] == [["M", "undefined", "undefined", "undefined"]]


def test_tables_are_appended_to_three_files(tmp_path):
    (tmp_path / FILES[0]).write_text("\n")  # empty but for a line end
    Tables("DINO").update(tmp_path, one(bagel=0.5))
    first = [(tmp_path / name).read_text() for name in FILES]
    assert Tables("DINO").text(one(bagel=0.5)) == "\n".join(first)
    Tables("Point_MAE").update(tmp_path, one(bagel=0.75))
    for before, name, metric in zip(first, FILES, ("image_rocauc", "pixel_rocauc", "au_pro")):
        assert (tmp_path / name).read_text() == before + "\n" + result_table(metric, "Point_MAE", one(bagel=0.75))


# ---------------------------------------------------------------- scores and run.json


VALUES = [[0.1 + 0.2, 1e-17, -3.0], [1 / 3, 12345.678901234567, 2.5e300]]


def test_scores_have_full_precision(tmp_path):
    scored = {
        "baseline": SimpleNamespace(image_preds=[v[0] for v in VALUES]),
        "disagreement": SimpleNamespace(image_preds=[v[1] for v in VALUES]),
    }
    described = [("toy/test/good/rgb/000.png", "good", 0), ("toy/test/a, b/rgb/000.png", "a, b", 1)]
    paths, defects, labels = zip(*described)
    evaluation = SimpleNamespace(
        path=paths,
        defect=defects,
        label=np.array(labels, np.uint8),
        bank_score={"xyz": np.array([v[2] for v in VALUES])},
    )
    write_scores(tmp_path / "scores_toy.csv", evaluation, scored)
    header, *rows = csv.reader((tmp_path / "scores_toy.csv").read_text(encoding="utf-8").splitlines())
    assert header == ["path", "defect", "label", "baseline", "disagreement", "bank_xyz"]
    assert [tuple(row[:2]) + (int(row[2]),) for row in rows] == described
    assert [[float(x) for x in row[3:]] for row in rows] == VALUES
    assert [row[3:] for row in rows] == [[repr(x) for x in row] for row in VALUES]


def test_tables_find_their_own_block_again(tmp_path):
    def lines(name):
        return (tmp_path / name).read_text().splitlines()

    def update(block, day, metrics, options={}, note="", again=False):
        return Tables("M", block, comment_of(block, day, options), note).update(tmp_path, metrics, again)

    Tables("released").update(tmp_path, one(old=0.1))  # a table of the release, without a comment
    assert update("id1", "monday", one(a=0.5), {"seed": 0})
    assert update("id2", "monday", one(a=0.7), note="a note")
    Tables("released").update(tmp_path, one(new=0.2))
    before = lines(FILES[0])
    assert not update("id1", "tuesday", one(a=0.5), {"seed": 0}) and lines(FILES[0]) == before
    assert update("id1", "tuesday", one(a=0.5, b=0.25), {"seed": 0})
    now = lines(FILES[0])
    assert [line.count("|") for line in now if "Mean" in line] == [4, 5, 4, 4]
    assert sum(line.startswith("<!-- run id1, tuesday, seed=0 -->") for line in now) == 1 and now.count("a note") == 1
    text = (tmp_path / FILES[0]).read_text()
    assert "\n\n\n" not in text and text.endswith("|\n") and text.count("## Image") == 4
    assert update("id1", "today", one(a=0.5, b=0.25), again=True)
    now = (tmp_path / FILES[0]).read_text()
    assert now.startswith(text) and now.count("<!-- run id1") == 2


@pytest.mark.parametrize("name", ["a|b", "two\nlines", "-->", "a\r\nb"])
def test_odd_category_names_break_no_table(tmp_path, name):
    from tools.compare_runs import read_tables

    of_two = {name: one(x=0.5)["x"], "other": one(x=0.25)["x"]}
    Tables("M", "id", comment_of("id", "today", {"category": [name]})).update(tmp_path, of_two)
    text = (tmp_path / FILES[0]).read_text()
    assert (
        len(text.splitlines()) == 6 and text.splitlines()[0].endswith(" -->") and text.splitlines()[0].count("-->") == 1
    )
    if "|" not in name:
        assert list(read_tables(tmp_path / FILES[0])[-1].rows["M"].values()) == [0.5, 0.25]


def test_seeds_with_paired_differences(tmp_path):
    metrics = {
        seed: {"a": {"baseline": Metrics(0.5 + seed / 10, None, 0.1), "other": Metrics(0.6 + seed / 5, 0.2, 0.1)}}
        for seed in (0, 1)
    }
    text = write_seeds(tmp_path, "M", metrics)
    assert text == (tmp_path / "seeds.md").read_text()
    assert [
        cell.strip() for cell in next(line for line in text.splitlines() if "difference" in line).strip("|").split("|")
    ] == ["difference", "+0.150 ± 0.071", "+0.150 ± 0.071"]
    assert "undefined" in text
