"""--metrics: in the tables of rescore.py and report.py what the metrics themselves give; without it nothing changes."""

import csv
import re

import pytest

from reports import paper_tables
from reports.page import Page
from reports.scored import scored_category
from reports.sections import further_section
from scoring.decision_metrics import aupimo, defective_failed
from scoring.evaluation import read, score
from tests.make_maps import write_category
from tools import report, rescore

NAMES = ("au_pro_1", "au_pro_5", "aupimo", "pg_5", "pb_5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    for i, name in enumerate(("bagel", "rope")):
        write_category(folder / f"{name}.npz", name, good=10, defective=5, size=112, seed=i)
    return folder


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def expected(folder, category, name):
    saved = read(folder / f"{category}.npz")
    image_scores, maps = score(saved, [name])[name]
    return aupimo(saved.mask, maps), defective_failed(saved.label, image_scores, 0.05).share


def test_tables_of_rescore_have_them_as_rows_beside_todays(folder, tmp_path):
    assert rescore.main([str(folder), "-o", str(tmp_path / "plain")]) == 0
    assert rescore.main([str(folder), "-o", str(tmp_path / "more"), "--metrics", *NAMES]) == 0
    for number in (3, 4, 7, 8):
        plain, more = (rows_of(tmp_path / kind / f"table_{number}.csv") for kind in ("plain", "more"))
        assert [row for row in more if row[1] not in NAMES] == plain
        assert {row[1] for row in more} == {row[1] for row in plain} | set(NAMES)
        assert all(row[-2:] == ["-", "-"] for row in more if row[1] in NAMES)
    title = next(title for title, scoring, _ in paper_tables.TABLES[-1].rows if scoring == "full")
    found = {row[1]: [float(v) for v in row[2:4]] for row in more if row[0] == title and row[1] in NAMES}
    for place, category in enumerate(("bagel", "rope")):
        assert (found["aupimo"][place], found["pb_5"][place]) == expected(folder, category, "full")


def test_own_data_has_them_too(tmp_path):
    write_category(tmp_path / "maps" / "mine.npz", "mine", size=64)
    assert rescore.main([str(tmp_path / "maps"), "-o", str(tmp_path), "--metrics", "au_pro_5", "pg_5"]) == 0
    metrics = [row[1] for row in rows_of(tmp_path / "table_own.csv") if row[0] == "baseline"]
    assert metrics == [*paper_tables.METRICS, "au_pro_5", "pg_5"]


def test_the_report_has_a_table_of_them(folder):
    paths = [folder / "bagel.npz", folder / "rope.npz"]
    found = {path.stem: scored_category(path, further=NAMES).extra for path in paths}
    page = Page()
    further_section(page, found, NAMES)
    text = page.html("a title")
    assert "good parts are false alarms" in text
    table = text[text.index("<h2>More metrics") :]
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in table.split("<tr")]
    rows = {tuple(row[:2]): row[2:] for row in cells if len(row) == 2 + len(NAMES)}
    assert rows["rope", "disagreement"][NAMES.index("pb_5")] == f"{expected(folder, 'rope', 'disagreement')[1]:.4f}"
    mean = sum(expected(folder, category, "baseline")[0] for category in ("bagel", "rope")) / 2
    assert rows["mean", "baseline"][NAMES.index("aupimo")] == f"{mean:.4f}"


def test_what_is_no_metric_is_refused(folder, tmp_path, capsys):
    for tool, flags in ((rescore, []), (report, [])):
        with pytest.raises(SystemExit) as stopped:
            tool.main([str(folder), "-o", str(tmp_path / "no"), *flags, "--metrics", "au_pro_7"])
        assert stopped.value.code == 2 and "au_pro_7" in capsys.readouterr().err
