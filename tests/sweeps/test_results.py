"""sweeps/results.py and tables.py: finished jobs' files become tables; each number is looked up again."""

import csv
import json
import shutil

import numpy as np
import pytest
from scipy import stats

from scoring.metrics import Metrics
from sweeps.plan import plan, read
from sweeps.results import MEAN, SweepResults, SweepRow, cells, gather, over_seeds
from tests.sweeps.test_engines import JOBS, TEXT, file, run, whole  # noqa: F401
from tools import sweep

SEEDS = {0, 1, 2}


def test_over_seeds_is_students_interval():
    values = [0.7, 0.75, 0.9, 0.71]
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(over_seeds(values), [np.mean(values), np.std(values, ddof=1), *interval], rtol=1e-12)
    assert over_seeds([0.5]) == (0.5,)


def test_the_mean_is_of_complete_categories():
    row = SweepRow((("shots", 1),), "baseline")
    full = {c: {s: Metrics(0.5 + 0.1 * s + 0.01 * len(c), None, 1.0) for s in SEEDS} for c in ("one", "three")}
    planned = {(row.setting, category): SEEDS for category in full}
    *_, mean = cells(SweepResults({row: full}, planned, (), 6, ()), "image_rocauc")
    values = [np.mean([full[c][seed].image_rocauc for c in full]) for seed in SEEDS]
    assert mean[:5] == (row, MEAN, 2, 3, 3) and mean[5:] == over_seeds(values)
    part = SweepResults({row: {"one": full["one"], "three": {0: full["three"][0]}}}, planned, (), 6, ())
    one, three, mean = cells(part, "image_rocauc")
    assert mean[1:5] == (MEAN, 1, 3, 3) and mean[5:] == one[5:] and three[1:5] == ("three", 1, 1, 3)
    assert cells(part, "pixel_rocauc") == []  # undefined in every job


def test_cells_follow_from_the_jobs(whole):
    records = [json.loads(path.read_text()) for path in whole.glob("jobs/*/run.json")]
    known = {(*of["category"], of["seed"]): record["categories"] for record in records for of in [record["options"]]}
    with open(whole / "cells.csv", newline="") as file:
        cells = list(csv.DictReader(file))
    assert len(cells) == 2 * 3 * 2  # scorings, categories and mean, metrics: AU-PRO is undefined
    for cell in cells:
        names = ["one", "two"] if cell["category"] == "Mean" else [cell["category"]]
        of = [[known[name, seed][name]["metrics"] for name in names] for seed in (0, 1)]
        expected = over_seeds([np.mean([m[cell["scoring"]][cell["metric"]] for m in seed]) for seed in of])
        assert [float(cell[n]) for n in ("mean", "sd", "seeds_low", "seeds_high")] == pytest.approx(expected)
    text = (whole / "tables.md").read_text()
    cell = next(c for c in cells if (c["shots"], c["scoring"], c["category"]) == ("5", "pixel_max", "two"))
    row = next(line for line in text.splitlines() if line.startswith("| DINO shots=5 [pixel_max] "))
    assert f"{float(cell['mean']):.3f} ± {float(cell['sd']):.3f} [" in row.split("|")[3] and len(row.split("|")) == 6
    assert text.startswith("4 of 4 jobs are finished.") and "UNTRAINED" in text


def test_unequal_versions_are_told(whole, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    path = next(out.glob("jobs/*/run.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "versions": {"numpy": "2"}}))
    assert sweep.main(["tables", str(out)]) == 0
    assert "Not the same numpy in all jobs: 1, 2." in (out / "tables.md").read_text()


def test_scorings_in_the_grid_are_rows_of_one_setting(file, tmp_path):
    file.write_text(TEXT.replace("  scoring: [pixel_max]\n", "") + "  scoring: [pixel_max, pixel_topk]\n")
    assert run(file, tmp_path / "out", "--quiet") == 0
    gathered = gather(tmp_path / "out", plan(read(file), file))
    assert [row.scoring for row in gathered.table] == ["baseline", "pixel_max", "pixel_topk"]
    assert len(gathered.done) == 2 * JOBS
