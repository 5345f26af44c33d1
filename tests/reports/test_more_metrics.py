"""--metrics: in the tables of rescore.py what the metrics themselves give; without it nothing changes."""

import csv

import pytest

from reports import paper_tables
from scoring.decision_metrics import aupimo, defective_failed
from scoring.evaluation import read, score
from tests.make_maps import write_category
from tools import rescore

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
