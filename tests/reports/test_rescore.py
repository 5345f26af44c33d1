"""Rescoring of saved maps: tables, intervals, more metrics, and what is refused."""

import csv
import dataclasses

import numpy as np
import pytest

import scoring_addon
from reports import paper_tables
from scoring.au_pro import calculate_au_pro
from scoring.evaluation import EXTRA_METRICS, read, score, write
from scoring.metrics import METRICS, compute_metrics
from scoring.scorings import SCORINGS
from tests.make_maps import make_evaluation, write_category
from tools import rescore


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    for i, name in enumerate(("bagel", "cable_gland")):
        write_category(folder / f"{name}.npz", name, good=7, defective=5, train=4, size=48, seed=i)
    return folder


def run(*argv):
    assert rescore.main([str(a) for a in argv]) == 0


def table(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def own_metrics(folder, name):
    """[categories, metrics] of the two categories, computed anew."""
    values = []
    for saved in map(read, sorted(folder.glob("*.npz"))):
        scored = score(saved, [name], scoring_addon.DEFAULTS, "test")[name]
        values.append([*compute_metrics(saved.label, scored.image_preds, saved.mask, scored.predictions)])
    return np.array(values)


def test_tables_hold_what_the_scorings_give(folder, tmp_path):
    run(folder, "-o", tmp_path)
    assert sorted(p.name for p in tmp_path.glob("*.csv")) == [f"table_{n}.csv" for n in (3, 4, 7, 8)]
    for paper in (of for of in paper_tables.TABLES if of.number in (4, 7, 8)):
        rows = {(row[0], row[1]): row[2:] for row in table(tmp_path / f"table_{paper.number}.csv")}
        assert rows["setting", "metric"] == ["bagel", "cable_gland", "mean", "published", "difference"]
        for title, scoring, published in (*paper.rows, ("calibrated (ours)", "calibrated", None)):
            ours = own_metrics(folder, scoring) if scoring else np.empty((2, 0))  # else the row is quoted
            for i, (metric, values) in enumerate(zip(METRICS, ours.T)):
                found, expected = rows[title, metric], [*values, values.mean()]
                expected += [published[i], values.mean() - published[i]] if published else []
                np.testing.assert_allclose(np.array(found[: len(expected)], float), expected, atol=1e-12)
                assert found[len(expected) :] == ([] if published else ["-", "-"])
        text = (tmp_path / f"table_{paper.number}.md").read_text()
        assert "UNTRAINED" in text and "Categories missing: carrot" in text
        assert "not the paper's: banks in units of 4 normal training parts" in text
    assert "cannot all come from one M_pix" in text


def test_maps_without_statistics_are_told_in_one_line(tmp_path, capsys):
    for name in ("mine", "other"):
        write_category(tmp_path / "maps" / f"{name}.npz", name, size=32)
    run(tmp_path / "maps", "-o", tmp_path / "out")
    err = [line for line in capsys.readouterr().err.splitlines() if "calibrated" in line]
    assert len(err) == 1 and "left out of mine, other" in err[0] and "--save_maps" in err[0]
    assert "calibrated" not in (tmp_path / "out" / "table_own.csv").read_text()
    assert rescore.main([str(tmp_path / "maps"), "-o", str(tmp_path / "out"), "--scoring", "calibrated"]) == 2
    assert "mine: calibrated: no statistics" in capsys.readouterr().err


def test_rows_that_were_not_run_are_marked(folder, tmp_path):
    run(folder, "-o", tmp_path)
    rows = table(tmp_path / "table_3.csv")
    assert [row[2:5] + row[6:] for row in rows if "multiscale" in row[0]] == [["-"] * 4] * 3
    run(folder, "-o", tmp_path, "--multiscale", folder)
    assert "-" not in [row[2] for row in table(tmp_path / "table_3.csv")]


def test_other_data_sets_get_their_table(tmp_path):
    for name, number in (("Candy Cane", 5), ("knob-cap", 6)):
        maps = tmp_path / name
        write_category(maps / "one.npz", name, size=32)
        run(maps, "-o", tmp_path / f"out{number}")
        assert [p.name for p in (tmp_path / f"out{number}").glob("*.csv")] == [f"table_{number}.csv"]


def test_intervals_and_more_metrics(folder, tmp_path):
    run(folder, "-o", tmp_path, "--intervals", "--metrics", *EXTRA_METRICS)
    rows = table(tmp_path / "intervals.csv")[1:]
    assert {row[1] for row in rows} == set(SCORINGS)
    rows = [row for row in rows if row[1] == "disagreement"]
    assert len(rows) == 6
    for row in rows:
        value, low, high, difference, d_low, d_high = map(float, row[3:9])
        assert low <= value <= high and d_low <= difference <= d_high
    title = ["full statistical calibration", "au_pro_5"]
    extra = next(row for row in table(tmp_path / "table_8.csv") if row[:2] == title)
    saved = (read(folder / f"{name}.npz") for name in ("bagel", "cable_gland"))
    areas = [calculate_au_pro(of.mask, score(of, ["full"])["full"].predictions, 0.05, "exact")[0] for of in saved]
    assert [float(value) for value in extra[2:4]] == areas and extra[-2:] == ["-", "-"]
    for name in EXTRA_METRICS:
        rows = [row for row in table(tmp_path / "table_3.csv") if row[1] == name and row[2] != "-"]
        assert rows and all(0 <= float(value) <= 1 for row in rows for value in row[2:5])


def test_bad_files_are_refused_in_one_line(tmp_path, capsys):
    path, version = write_category(tmp_path / "maps" / "a.npz", size=16), tmp_path / "v.npz"
    np.savez(version, version=np.array(9))
    for content, message in (
        (b"PK\x03\x04 nothing", "cannot be read as saved maps"),
        (version.read_bytes(), "version 9"),
        (None, "no saved maps"),
    ):
        path.write_bytes(content) if content else path.unlink()
        assert rescore.main([str(path.parent), "-o", str(tmp_path / "out")]) == 2
        err = capsys.readouterr().err
        assert message in err and len(err.splitlines()) == 1 and str(path.parent) in err


def test_saved_statistics_serve_as_reference_for_their_own_parameters(tmp_path, capsys):
    tables, train = [], ("--scoring_reference", "train")
    for name, whole in (("maps", True), ("slim", False)):
        path = write_category(tmp_path / name / "a.npz", train=3, size=32, train_maps=whole)
        run(path.parent, "-o", path.parent / "out", *train, "--scoring_weights", "0.8", "0.1", "0.1")
        tables.append(np.array([r[2] for r in table(path.parent / "out" / "table_4.csv")[4:]], float))
    np.testing.assert_allclose(*tables, atol=1e-6)  # maps are float32
    words = [str(tmp_path / "slim"), "-o", str(tmp_path / "out"), *train, "--scoring_lambda", "1"]
    assert rescore.main(words) == 2 and len(capsys.readouterr().err.splitlines()) == 1


def test_pixel_metrics_without_masks_are_undefined_in_every_table(tmp_path):
    whole = make_evaluation("bagel", size=32)
    lacking = dataclasses.replace(whole, has_mask=np.arange(len(whole)) != 0)
    write(lacking, tmp_path / "maps" / "bagel.npz")
    run(tmp_path / "maps", "-o", tmp_path, "--intervals", "--metrics", "au_pro_5")
    for row in table(tmp_path / "intervals.csv")[1:]:
        assert all((value == "") == (row[2] != "image_rocauc") for value in row[3:9]), row
    rows = table(tmp_path / "table_4.csv")[1:]
    assert all((row[2] == "") == (not row[1].startswith("image")) for row in rows if row[2] != "-")
