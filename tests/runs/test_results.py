import csv
import errno
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

from common.errors import InputError
from common.files import atomic_path, atomic_write_text, check_writable
from runs.results import (
    all_tables,
    append_tables,
    comment_of,
    result_table,
    update_tables,
    write_run,
    write_scores,
    write_seeds,
)
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


@pytest.mark.parametrize(
    "metric, heading, wanted",
    [
        ("image_rocauc", "## Image ROCAUC Results", "0.100"),
        ("pixel_rocauc", "## Pixel ROCAUC Results", "0.200"),
        ("au_pro", "## AU PRO Results", "0.300"),
    ],
)
def test_each_metric_has_its_table(metric, heading, wanted):
    found, header, rows = table(result_table(metric, "DINO", {"bagel": {"baseline": Metrics(0.1, 0.2, 0.3)}}))
    assert (found, header, rows) == (heading, ["Method", "Bagel", "Mean"], [["DINO", wanted, wanted]])


def test_values_have_three_decimals():
    _, _, rows = table(result_table("au_pro", "DINO", one(a=0.12345, b=0.98765, c=1.0, d=0.0)))
    assert rows == [["DINO", "0.123", "0.988", "1.000", "0.000", "0.528"]]


def test_mean_is_of_the_rounded_values():
    _, _, rows = table(result_table("au_pro", "DINO", one(a=0.1009, b=0.1004, c=0.1004)))
    assert rows == [["DINO", "0.101", "0.100", "0.100", "0.100"]]


def test_categories_in_title_case():
    _, header, _ = table(result_table("au_pro", "DINO", one(cable_gland=0.5, CandyCane=0.5, tire=0.5)))
    assert header == ["Method", "Cable_Gland", "Candycane", "Tire", "Mean"]


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


def test_difference_of_undefined_metrics():
    metrics = {
        name: {"baseline": Metrics(v, v, v), "disagreement": Metrics(w, w, w)}
        for name, v, w in (("a", None, None), ("b", 0.4, 0.6))
    }
    _, _, rows = table(result_table("au_pro", "M", metrics))
    assert rows[2] == ["difference", "undefined", "+0.200", "+0.200"]


def test_append_writes_three_files(tmp_path):
    append_tables(tmp_path, "DINO", one(bagel=0.5))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(FILES)
    written = [(tmp_path / name).read_text() for name in FILES]
    assert all_tables("DINO", one(bagel=0.5)) == "\n".join(written)
    assert [w.splitlines()[0] for w in written] == [
        "## Image ROCAUC Results",
        "## Pixel ROCAUC Results",
        "## AU PRO Results",
    ]


def test_append_keeps_the_first_table(tmp_path):
    append_tables(tmp_path, "DINO", one(bagel=0.5))
    first = [(tmp_path / name).read_text() for name in FILES]
    append_tables(tmp_path, "Point_MAE", one(bagel=0.75))
    for before, name, metric in zip(first, FILES, ("image_rocauc", "pixel_rocauc", "au_pro")):
        assert (tmp_path / name).read_text() == before + "\n" + result_table(metric, "Point_MAE", one(bagel=0.75))


def test_append_to_an_empty_file(tmp_path):
    (tmp_path / FILES[0]).write_text("\n")
    append_tables(tmp_path, "DINO", one(bagel=0.5))
    assert (tmp_path / FILES[0]).read_text() == result_table("image_rocauc", "DINO", one(bagel=0.5))


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

    append_tables(tmp_path, "released", one(old=0.1))  # a table of the release, without a comment
    assert update_tables(tmp_path, "M", one(a=0.5), "id1", comment_of("id1", "monday", {"seed": 0}))
    assert update_tables(tmp_path, "M", one(a=0.7), "id2", comment_of("id2", "monday", {}), "a note")
    append_tables(tmp_path, "released", one(new=0.2))
    before = lines(FILES[0])
    assert (
        not update_tables(tmp_path, "M", one(a=0.5), "id1", comment_of("id1", "tuesday", {"seed": 0}))
        and lines(FILES[0]) == before
    )
    assert update_tables(tmp_path, "M", one(a=0.5, b=0.25), "id1", comment_of("id1", "tuesday", {"seed": 0}))
    now = lines(FILES[0])
    assert [line for line in now if "Mean" in line] == [
        line.replace("A |   Mean", "A |     B |   Mean") if "A |" in line and i == 1 else line
        for i, line in enumerate(line for line in before if "Mean" in line)
    ]
    assert sum(line.startswith("<!-- run id1, tuesday, seed=0 -->") for line in now) == 1 and now.count("a note") == 1
    text = (tmp_path / FILES[0]).read_text()
    assert "\n\n\n" not in text and text.endswith("|\n") and text.count("## Image") == 4
    assert update_tables(tmp_path, "M", one(a=0.5, b=0.25), "id1", comment_of("id1", "today", {}), again=True)
    assert (tmp_path / FILES[0]).read_text().startswith(text) and (tmp_path / FILES[0]).read_text().count(
        "<!-- run id1"
    ) == 2


@pytest.mark.parametrize("name", ["a|b", "two\nlines", "-->", "a\r\nb"])
def test_odd_category_names_break_no_table(tmp_path, name):
    from tools.compare_runs import read_tables

    update_tables(
        tmp_path,
        "M",
        {name: one(x=0.5)["x"], "other": one(x=0.25)["x"]},
        "id",
        comment_of("id", "today", {"category": [name]}),
    )
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


def test_run_record_is_replaced(tmp_path):
    write_run(tmp_path, {"a": 1})
    write_run(tmp_path, {"a": 1 / 3, "path": tmp_path})
    assert json.loads((tmp_path / "run.json").read_text()) == {"a": 1 / 3, "path": str(tmp_path)}
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, "old"])
def test_atomic_path_leaves_nothing_behind(tmp_path, error, old):
    target = tmp_path / "file.txt"
    if old:
        target.write_text(old)
    with pytest.raises(error):
        with atomic_path(target) as temporary:
            with open(temporary, "w") as file:
                file.write("new")
            raise error
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == ({"file.txt": old} if old else {})


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk without space")
def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "maps.npz"
    with pytest.raises(OSError) as raised, atomic_path(path), open("/dev/full", "w") as file:
        file.write("text")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    assert not list(tmp_path.iterdir())


def test_an_error_that_names_a_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, atomic_path(tmp_path / "maps.npz"):
        open(tmp_path / "missing")
    assert raised.value.filename == str(tmp_path / "missing")


def test_atomic_path_shows_the_file_only_at_the_end(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    with atomic_path(target) as temporary:
        with open(temporary, "w") as file:
            file.write("new")
        assert not target.exists() and os.path.dirname(temporary) == str(target.parent)
    assert {p.name: p.read_text() for p in target.parent.iterdir()} == {"file.txt": "new"}


def test_atomic_path_when_the_target_is_a_folder(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        with atomic_path(tmp_path / "taken"):
            pass
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


@pytest.mark.skipif(os.name == "nt", reason="no umask")
def test_atomic_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        atomic_write_text(tmp_path / "file.txt", "new")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o640


def test_atomic_text_is_written_as_given(tmp_path):
    atomic_write_text(tmp_path / "file.txt", "höhe\r\nx\n")
    assert (tmp_path / "file.txt").read_bytes() == "höhe\r\nx\n".encode()


def test_check_writable_makes_the_folder_and_leaves_it_empty(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_check_writable_refuses_a_regular_file(tmp_path, below):
    (tmp_path / "file").write_text("kept")
    folder = tmp_path / "file" / below
    with pytest.raises(InputError) as info:
        check_writable(folder)
    assert str(folder) in str(info.value) and len(str(info.value).splitlines()) == 1
    assert (tmp_path / "file").read_text() == "kept"
