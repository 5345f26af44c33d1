"""sweeps/results.py and tables.py: finished jobs' files become tables; each number is looked up again."""

import json
import shutil

import numpy as np

from scoring.metrics import Metrics
from sweeps.plan import plan, read
from sweeps.results import SweepResults, SweepRow, gather
from sweeps.tables import cells
from tests.sweeps.test_engines import JOBS, TEXT, file, results, run, whole, write_file  # noqa: F401
from tools import sweep

SEEDS = {0, 1, 2}


def test_the_mean_is_of_complete_categories():
    row = SweepRow((("shots", 1),), "baseline")
    full = {c: {s: Metrics(0.5 + 0.1 * s + 0.1 * len(c), None, 1.0) for s in SEEDS} for c in ("one", "three")}
    planned = {(row.setting, category): SEEDS for category in full}
    found = SweepResults({row: full}, planned, (), ())
    assert cells(found, row, "image_rocauc", full) == ["0.900 ± 0.100", "1.100 ± 0.100", "1.000 ± 0.100"]
    assert cells(found, row, "pixel_rocauc", full) == ["-", "-", "-"]  # undefined in every job
    part = found._replace(table={row: {"one": full["one"], "three": {0: full["three"][0]}}})
    expected = ["0.900 ± 0.100", "1.000 (1 of 3 seeds)", "0.900 ± 0.100 (1 of 2 categories)"]
    assert cells(part, row, "image_rocauc", full) == expected


def test_the_tables_follow_from_the_jobs(whole):  # noqa: F811
    records = [json.loads(path.read_text()) for path in whole.glob("jobs/*/run.json")]
    values = {}
    for record in records:
        (category,) = record["options"]["category"]
        found = record["categories"][category]["metrics"]["pixel_max"]["image_rocauc"]
        values[category, record["options"]["seed"]] = found
    one, two = ([values[name, seed] for seed in (0, 1)] for name in ("one", "two"))
    expected = [f"{np.mean(of):.3f} ± {np.std(of, ddof=1):.3f}" for of in (one, two, np.mean([one, two], axis=0))]
    text = results(whole)
    row = next(line for line in text.splitlines() if line.startswith("| DINO shots=5 [pixel_max] "))
    assert [cell.strip() for cell in row.strip("|").split("|")[1:]] == expected
    assert text.startswith("4 of 4 jobs are finished.") and "UNTRAINED" in text


def test_unequal_versions_are_told(whole, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    path = next(out.glob("jobs/*/run.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "versions": {"numpy": "2"}}))
    assert sweep.main([str(whole.parent / "sweep.yaml"), "-o", str(out), "--only_tables"]) == 0
    assert "Not the same numpy in all jobs: 1, 2." in results(out)


def test_scorings_in_the_grid_are_rows_of_one_setting(file, tmp_path):  # noqa: F811
    text = TEXT.replace("  scoring: [pixel_max]\n", "") + "  scoring: [pixel_max, pixel_topk]\n"
    assert run(write_file(tmp_path, text), tmp_path / "out", "--quiet") == 0
    gathered = gather(tmp_path / "out", plan(read(file), file))
    assert [row.scoring for row in gathered.table] == ["baseline", "pixel_max", "pixel_topk"]
    assert len(gathered.done) == 2 * JOBS
