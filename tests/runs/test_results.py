"""runs/results.py: the tables, the scores and the table over seeds, as files."""

import pytest

from runs.results import Tables, comment_of, result_table
from scoring.metrics import Metrics
from sweeps.seeds import table_over_seeds

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


def test_tables_of_rounded_values_and_their_differences():
    rows = {"bagel": (0.9004, 0.9506), "cable_gland": (0.8, 0.701), "CandyCane": (0.1019, 0.1004)}
    metrics = {
        name: {"baseline": Metrics(a, None, 0.2), "disagreement": Metrics(b, 0.5, 0.2)} for name, (a, b) in rows.items()
    }
    heading, header, values = table(result_table("image_rocauc", "M", metrics))
    assert heading == "## Image ROCAUC Results"
    assert header == ["Method", "Bagel", "Cable_Gland", "Candycane", "Mean"]
    assert values == [
        ["M", "0.900", "0.800", "0.102", "0.601"],  # the mean is that of the rounded values
        ["M [disagreement]", "0.951", "0.701", "0.100", "0.584"],
        ["difference", "+0.051", "-0.099", "-0.002", "-0.017"],
    ]
    heading, _, values = table(result_table("pixel_rocauc", "M", metrics))
    assert heading == "## Pixel ROCAUC Results"
    assert values[0][1:] == values[2][1:] == 4 * ["undefined"] and values[1][1:] == 4 * ["0.500"]
    metrics["bagel"]["baseline"] = Metrics(None, 0, 0)  # left out of the mean
    assert table(result_table("image_rocauc", "M", metrics))[2][0] == ["M", "undefined", "0.800", "0.102", "0.451"]


def test_the_same_table_is_not_written_twice(tmp_path):
    def append(block, day, metrics, options={}, note="", again=False):
        Tables("M", block, comment_of(block, day, options), note).append(tmp_path, metrics, again)

    path = tmp_path / FILES[0]
    path.write_text("| Method | Old |\n|---|---|\n| M | 0.1 |")  # of the release: no comment, no end of line
    append("id1", "monday", one(a=0.5), {"seed": 0})
    append("id2", "monday", one(a=0.7), note="a note")
    append("id3", "monday", one(a=0.7))  # another run with the same numbers
    before = path.read_text()
    append("id1", "tuesday", one(a=0.5), {"seed": 0})
    append("id2", "tuesday", one(a=0.7), note="a note")
    assert path.read_text() == before and before.count("## Image") == 3
    append("id1", "tuesday", one(a=0.5, b=0.25), {"seed": 0})
    text = path.read_text()
    assert text.startswith(before) and "<!-- run id1, tuesday, seed=0 -->" in text and text.count("a note") == 1
    assert "\n\n\n" not in text and text.endswith("|\n")
    append("id1", "today", one(a=0.5, b=0.25), again=True)
    assert path.read_text().startswith(text) and path.read_text().count("<!-- run id1") == 3


@pytest.mark.parametrize("name", ["a|b", "two\nlines", "-->", "a\r\nb"])
def test_odd_category_names_break_no_table(tmp_path, name):
    from tools.compare_runs import read_tables

    of_two = {name: one(x=0.5)["x"], "other": one(x=0.25)["x"]}
    Tables("M", "id", comment_of("id", "today", {"category": [name]})).append(tmp_path, of_two)
    lines = (tmp_path / FILES[0]).read_text().splitlines()
    assert len(lines) == 6 and lines[0].endswith(" -->") and lines[0].count("-->") == 1
    if "|" not in name:
        assert list(read_tables(tmp_path / FILES[0])[-1].rows["M"].values()) == [0.5, 0.25]


def test_seeds_with_paired_differences():
    metrics = {
        seed: {"a": {"baseline": Metrics(0.5 + seed / 10, None, 0.1), "other": Metrics(0.6 + seed / 5, 0.2, 0.1)}}
        for seed in (0, 1)
    }
    text = table_over_seeds("M", metrics)
    line = next(line for line in text.splitlines() if "difference" in line)
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["difference", *2 * ["+0.150 ± 0.071"]]
    assert "undefined" in text
