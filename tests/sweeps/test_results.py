"""sweeps/results.py and tables.py: finished jobs' files become tables; each number is looked up again."""

import csv
import itertools
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from common.errors import InputError
from scoring.metrics import Metrics, roc_auc
from scoring.significance import delong_test
from sweeps.plan import plan, read
from sweeps.results import MEAN, JobScores, SweepRow, cells, differences, gather, holm, over_seeds, read_scores
from tests.sweeps.test_engines import POOL, run
from tools import sweep

TEXT = """
options: {method_name: DINO, device: cpu, dataset_path: "${FAKE_DATA}", scoring: [pixel_max]}
grid: {category: [one, two], seed: [0, 1], shots: [1, 2, 50]}
"""
A, B, A_MAX, B_MAX = (SweepRow((("shots", n),), s) for s in ("baseline", "pixel_max") for n in (1, 5))
SEEDS = (0, 1, 2)


# ---------------------------------------------------------------- statistics


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closure_of_bonferroni(p_values):
    """Marcus, Peritz and Gabriel: a hypothesis falls where every intersection that holds it does."""
    numbers = range(len(p_values))
    groups = [g for size in numbers for g in itertools.combinations(numbers, size + 1)]
    expected = [max(min(1.0, len(g) * min(p_values[i] for i in g)) for g in groups if n in g) for n in numbers]
    np.testing.assert_allclose(holm(p_values), expected, atol=1e-15)


def test_over_seeds_is_students_interval():
    values = [0.7, 0.75, 0.9, 0.71]
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(over_seeds(values), [np.mean(values), np.std(values, ddof=1), *interval], rtol=1e-12)
    assert over_seeds([0.5]) == (0.5,)


def scored(category, seed, lift, n=40, paths=None):
    rng, label = np.random.default_rng(seed + 100 * len(category)), np.arange(n) % 2
    values = rng.normal(size=n) + lift * label
    return JobScores(Metrics(roc_auc(label, values), 0.1 * lift, None), paths or tuple(range(n)), label, values)


def table(**options):
    lifts = {A: 0.5, B: 0.6, A_MAX: 2.0, B_MAX: 2.2}
    return {
        row: {c: {seed: scored(c, seed, lift, **options) for seed in SEEDS} for c in ("one", "three")}
        for row, lift in lifts.items()
    }


def test_differences_of_image_scores():
    full = table()
    found = {(d.row, d.reference, d.category): d for d in differences(full, "image_rocauc")}
    assert set(found) == {
        (*pair, c) for pair in ((A_MAX, A), (B_MAX, B), (B, A), (B_MAX, A_MAX)) for c in ("one", "three", MEAN)
    }
    expected = {}
    for category in ("one", "three"):
        a, b = ([full[row][category][seed].scores for seed in SEEDS] for row in (A_MAX, A))
        value, error, p = expected[category] = delong_test(full[A][category][0].label, a, b)
        d, other = found[A_MAX, A, category], found[B_MAX, B, category]
        assert (d.value, d.p) == (pytest.approx(value, abs=1e-12), pytest.approx(p)) and d.parts == 40 and d.seeds == 3
        assert (d.interval[1] - d.interval[0]) / 2 == pytest.approx(1.959964 * error, rel=1e-6)
        assert [d.holm, other.holm] == pytest.approx(holm([d.p, other.p]))
    mean, (values, errors, _) = found[A_MAX, A, MEAN], zip(*expected.values())
    assert mean.value == pytest.approx(np.mean(values)) and mean.categories == 2 and mean.parts == 80
    assert mean.error == pytest.approx(np.hypot(*errors) / 2, rel=1e-9)
    assert all(d.p == 1 and d.value == 0 for d in differences({A: full[A], B: full[A]}, "image_rocauc"))


def test_what_cannot_be_tested_says_why():
    found = differences(table(), "pixel_rocauc")
    assert found and all(d.p is None and d.holm is None and "rescore.py --intervals" in d.note for d in found)
    assert [d.value for d in found if (d.row, d.reference) == (A_MAX, A)] == 3 * [pytest.approx(0.15)]
    assert differences(table(), "au_pro") == []  # undefined in every job
    few = differences(table(n=3), "image_rocauc")
    assert all(d.note == "fewer than two good or two defective test parts" and d.error is None for d in few)
    one, apart = {0: scored("one", 0, 1)}, {1: scored("one", 1, 1)}
    (d,) = differences({A: {"one": one}, B: {"one": {0: scored("one", 0, 1, paths=("a", "b") * 20)}}}, "image_rocauc")
    assert d.note == "the jobs' test parts differ" and d.p is None
    assert differences({A: {"one": one}, B: {"one": apart}}, "image_rocauc") == []  # no seed in common


def test_the_mean_is_of_complete_categories():
    full = table()[A]
    planned = {(A.setting, category): SEEDS for category in full}
    one, three, mean = cells({A: full}, planned, "image_rocauc")
    values = [np.mean([full[c][seed].metrics.image_rocauc for c in full]) for seed in SEEDS]
    assert mean[:5] == (A, MEAN, 2, 3, 3) and mean[5:] == over_seeds(values)
    part = {"one": full["one"], "three": {0: full["three"][0]}}
    one, three, mean = cells({A: part}, planned, "image_rocauc")
    assert mean[1:5] == (MEAN, 1, 3, 3) and mean[5:] == one[5:] and three[1:5] == ("three", 1, 1, 3)


# ---------------------------------------------------------------- from files to tables


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Folder of a finished sweep of 12 jobs."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "sweep.yaml").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_DATA", str(folder))
        assert run(folder / "sweep.yaml", folder / "out", "--quiet", *POOL) == 0
    return folder / "out"


def lines(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_cells_and_differences_follow_from_the_jobs(done):
    records = [(json.loads(path.read_text()), path.parent) for path in done.glob("jobs/*/run.json")]
    known = {(of["category"][0], str(of["shots"]), of["seed"]): one for one in records for of in [one[0]["options"]]}
    cells, found = lines(done / "cells.csv"), lines(done / "differences.csv")
    assert len(cells) == 3 * 2 * 3 * 2  # settings, scorings, categories and mean, metrics: AU-PRO is undefined
    for cell in cells:
        names = ["one", "two"] if cell["category"] == "Mean" else [cell["category"]]
        of = [[known[name, cell["shots"], seed][0]["categories"][name]["metrics"] for name in names] for seed in (0, 1)]
        expected = over_seeds([np.mean([m[cell["scoring"]][cell["metric"]] for m in seed]) for seed in of])
        assert [float(cell[n]) for n in ("mean", "sd", "seeds_low", "seeds_high")] == pytest.approx(expected)
    image = [d for d in found if d["metric"] == "image_rocauc"]
    assert len(image) == (3 + 2 * 2) * 3
    for d in image:
        assert d["family"] == ("scoring" if d["scoring"] != d["reference_scoring"] else "setting")
        assert float(d["p_holm"]) >= float(d["p"]) and d["seeds"] == "2"
        if d["category"] != "Mean":
            sides = []
            for scoring, shots in ((d["scoring"], d["shots"]), (d["reference_scoring"], d["reference_shots"])):
                folders = [known[d["category"], shots, seed][1] for seed in (0, 1)]
                back = [read_scores(folder / f"scores_{d['category']}.csv", [scoring]) for folder in folders]
                sides.append([scores[scoring] for _, _, scores in back])
            value, _, p = delong_test(back[0][1], *sides)
            assert (float(d["difference"]), float(d["p"])) == (pytest.approx(value), pytest.approx(p))
    pixel = [d for d in found if d["metric"] == "pixel_rocauc"]
    assert pixel and all(d["p"] == "" and "rescore.py" in d["note"] for d in pixel)
    text = (done / "tables.md").read_text()
    cell = next(c for c in cells if (c["shots"], c["scoring"], c["category"]) == ("50", "pixel_max", "two"))
    row = next(line for line in text.splitlines() if line.startswith("| DINO shots=50 [pixel_max] "))
    assert f"{float(cell['mean']):.3f} ± {float(cell['sd']):.3f} [" in row.split("|")[3] and len(row.split("|")) == 6
    assert text.startswith("12 of 12 jobs are finished.") and "UNTRAINED" in text
    assert (done / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_unequal_versions_and_damaged_scores_are_told(done, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    path = sorted(out.glob("jobs/*/run.json"))[0]
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "versions": {"numpy": "2"}}))
    assert sweep.main(["tables", str(out)]) == 0
    assert "Not the same numpy in all jobs: 1, 2." in (out / "tables.md").read_text()
    scores = next(path.parent.glob("scores_*.csv"))
    scores.write_text(scores.read_text().replace("pixel_max", "other"))
    assert sweep.main(["tables", str(out)]) == 2
    with pytest.raises(InputError, match="cannot be read"):
        read_scores(scores, ["pixel_max"])


def test_scorings_in_the_grid_are_rows_of_one_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_DATA", str(tmp_path))
    file = tmp_path / "sweep.yaml"
    text = TEXT.replace(", scoring: [pixel_max]", "").replace("seed: [0, 1]", "seed: [0]").replace("one, two", "one")
    file.write_text(text.replace("shots: [1, 2, 50]", "scoring: [pixel_max, pixel_topk]"))
    assert run(file, tmp_path / "out") == 0
    gathered = gather(tmp_path / "out", plan(read(file), file))
    assert [row.scoring for row in gathered.table] == ["baseline", "pixel_max", "pixel_topk"] and len(
        gathered.done
    ) == 2
    assert {(d["scoring"], d["reference_scoring"]) for d in lines(tmp_path / "out" / "differences.csv")} == {
        ("pixel_max", "baseline"),
        ("pixel_topk", "baseline"),
    }
