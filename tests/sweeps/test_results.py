"""sweeps/results.py and tables.py: finished jobs' files become tables; each number is looked up again."""

import csv
import dataclasses
import json
import os
import shutil

import numpy as np
import pytest

from common.errors import InputError
from runs.options import parse_arguments, recorded_options
from scoring import evaluation
from scoring.metrics import compute_metrics
from scoring.significance import PixelCounts, delong_test
from sweeps import results
from sweeps.compare import RESAMPLES, over_seeds, part_weights
from sweeps.plan import plan, read
from sweeps.results import gather, link_maps, read_scores, resample
from sweeps.tables import number_axis
from tests.make_maps import make_evaluation
from tests.scoring.reference_scoring import score_all
from tests.sweeps.test_engines import POOL, run
from tools import sweep

SCORINGS = ["baseline", "pixel_max", "disagreement"]
TEXT = """
options: {method_name: DINO, device: cpu, dataset_path: "${FAKE_DATA}", scoring: [pixel_max]}
grid: {category: [one, two], seed: [0, 1], shots: [1, 2, 50]}
"""


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
    known = {}
    for path in done.glob("jobs/*/run.json"):
        record = json.loads(path.read_text())
        options = record["options"]
        known[options["category"][0], str(options["shots"]), options["seed"]] = record, path.parent
    cells = lines(done / "cells.csv")
    assert len(cells) == 3 * 2 * 3 * 2  # settings, scorings, categories and mean, metrics: AU-PRO is undefined
    for cell in cells:
        names = ["one", "two"] if cell["category"] == "Mean" else [cell["category"]]
        of = [[known[name, cell["shots"], seed][0]["categories"][name]["metrics"] for name in names] for seed in (0, 1)]
        expected = over_seeds([np.mean([m[cell["scoring"]][cell["metric"]] for m in seed]) for seed in of])
        assert [float(cell[n]) for n in ("mean", "sd", "seeds_low", "seeds_high")] == pytest.approx(expected[1:5])
        assert (cell["parts_low"] != "") == (cell["metric"] == "image_rocauc")
    found = lines(done / "differences.csv")
    image = [d for d in found if d["metric"] == "image_rocauc"]
    assert len(image) == (3 + 2 * 2) * 3
    for d in image:
        assert d["family"] == ("scoring" if d["scoring"] != d["reference_scoring"] else "setting")
        sides = []
        for scoring, shots in ((d["scoring"], d["shots"]), (d["reference_scoring"], d["reference_shots"])):
            folders = [known[d["category"], shots, seed][1] for seed in (0, 1)] if d["category"] != "Mean" else []
            back = [read_scores(folder / f"scores_{d['category']}.csv", [scoring]) for folder in folders]
            sides.append([scores[scoring] for _, _, scores in back])
        if back:
            value, _, p = delong_test(back[0][1], *sides)
            assert (float(d["difference"]), float(d["p"])) == (pytest.approx(value), pytest.approx(p))
        assert float(d["p_holm"]) >= float(d["p"]) and d["test"] == "DeLong" and d["seeds"] == "2"
    pixel = [d for d in found if d["metric"] == "pixel_rocauc"]
    assert pixel and all(d["p"] == "" and "save_maps" in d["note"] for d in pixel)
    text = (done / "tables.md").read_text()
    cell = next(c for c in cells if (c["shots"], c["scoring"], c["category"]) == ("50", "pixel_max", "two"))
    row = next(line for line in text.splitlines() if line.startswith("| DINO shots=50 [pixel_max] "))
    assert f"{float(cell['mean']):.3f} ± {float(cell['sd']):.3f} [" in row.split("|")[3] and len(row.split("|")) == 6
    assert text.startswith("12 of 12 jobs are finished.") and "UNTRAINED" in text
    assert (done / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert number_axis(plan(read(done.parent / "sweep.yaml"), "")) == "shots"


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


def test_scorings_in_the_grid_are_rows_of_one_setting(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_DATA", str(tmp_path))
    file = tmp_path / "sweep.yaml"
    text = TEXT.replace(", scoring: [pixel_max]", "").replace("seed: [0, 1]", "seed: [0]").replace("one, two", "one")
    file.write_text(text.replace("shots: [1, 2, 50]", "scoring: [pixel_max, pixel_topk]"))
    assert run(file, tmp_path / "out") == 0
    assert "interval over test parts (bootstrap)" in capsys.readouterr().out
    gathered = gather(tmp_path / "out", plan(read(file), file))
    assert [row.scoring for row in gathered.table] == ["baseline", "pixel_max", "pixel_topk"] and gathered.done == 2
    assert {(d["scoring"], d["reference_scoring"]) for d in lines(tmp_path / "out" / "differences.csv")} == {
        ("pixel_max", "baseline"),
        ("pixel_topk", "baseline"),
    }


# ---------------------------------------------------------------- saved maps


@pytest.fixture
def job(tmp_path):
    """(folder, record, Evaluation) of a job with saved maps; its parts do not lie in the order of their paths."""
    options = recorded_options(parse_arguments(["--method_name", "DINO+Point_MAE", "--scoring", *SCORINGS]))
    made = make_evaluation(fusion=False, good=8, defective=6)
    saved = dataclasses.replace(made, meta={**made.meta, "options": options, "run": "abc"})
    evaluation.write(saved, tmp_path / "maps" / "cookie.npz")
    metrics = evaluation.metrics(saved, evaluation.score(saved, SCORINGS))
    of = {"metrics": {name: dataclasses.asdict(m) for name, m in metrics.items()}}
    record = {"id": "abc", "options": json.loads(json.dumps(options)), "categories": {"cookie": of}}
    return tmp_path, record, saved


def test_the_full_set_and_the_resamples(job):
    folder, record, saved = job
    found, why = resample(folder, record, "cookie")
    assert why == "" and list(found) == SCORINGS
    order = sorted(range(len(saved)), key=lambda i: saved.path[i])
    assert order != list(range(len(saved)))
    weights = part_weights("cookie", saved.label[order])
    scored = score_all(SCORINGS, saved.decision_score, list(saved.decision_map), saved.samples)
    for name in SCORINGS:
        own = record["categories"]["cookie"]["metrics"][name]
        for metric in ("pixel_rocauc", "au_pro"):
            assert found[name][metric].shape == (RESAMPLES + 1,)
            assert found[name][metric][0] == pytest.approx(own[metric], abs=1e-12)
        # a resample by hand: each part as often as it was drawn
        drawn = np.repeat(order, weights[3].astype(int))
        maps, masks = [scored[name].predictions[i] for i in drawn], saved.mask[drawn]
        flat, peaks, paths = np.concatenate([m.ravel() for m in maps]), [m.max() for m in maps], list(map(str, drawn))
        by_hand = compute_metrics(saved.label[drawn], peaks, masks.ravel() != 0, flat, masks, maps, paths)
        assert found[name]["pixel_rocauc"][3] == pytest.approx(by_hand.pixel_rocauc, abs=1e-9)
        assert found[name]["au_pro"][3] == pytest.approx(by_hand.au_pro, abs=0.02)  # thresholds of the full set


def test_it_is_computed_once_per_maps(job, monkeypatch):
    folder, record, _ = job
    assert resample(folder, record, "cookie", stopped=True) == ({}, results.STOPPED)
    first, _ = resample(folder, record, "cookie")
    with monkeypatch.context() as patch:
        patch.setattr(results, "read", lambda *_: pytest.fail("read again"))
        again, _ = resample(folder, record, "cookie", stopped=True)
    assert all((again[n][m] == first[n][m]).all() for n in SCORINGS for m in ("pixel_rocauc", "au_pro"))
    calls = []
    monkeypatch.setattr(results, "PixelCounts", lambda *args: calls.append(1) or PixelCounts(*args))
    os.utime(folder / "maps" / "cookie.npz", ns=(1, 1))  # other maps
    resample(folder, record, "cookie")
    (folder / results.KEPT).write_bytes(b"damaged")
    resample(folder, record, "cookie")
    assert len(calls) == 4  # M_fusion and M_pix, twice


def test_maps_that_do_not_belong_are_not_used(job):
    folder, record, saved = job
    assert resample(folder, {**record, "id": "other"}, "cookie") == ({}, "the saved maps are of another run")
    wrong = json.loads(json.dumps(record))
    wrong["categories"]["cookie"]["metrics"]["baseline"]["au_pro"] += 1e-6
    assert resample(folder, wrong, "cookie") == ({}, "the saved maps do not give the run's own au_pro")
    lacking = dataclasses.replace(saved, has_mask=np.arange(len(saved)) > 0)
    evaluation.write(lacking, folder / "maps" / "cookie.npz")
    assert resample(folder, record, "cookie") == ({}, "defective test parts without a mask")
    (folder / "maps" / "cookie.npz").write_bytes(b"PK")
    assert "cannot be read" in resample(folder, record, "cookie")[1]
    (folder / "maps" / "cookie.npz").unlink()
    assert resample(folder, record, "cookie") == ({}, results.NO_MAPS)


@pytest.mark.slow
def test_maps_of_all_jobs_side_by_side(job, tmp_path, monkeypatch):
    folder, record, _ = job
    first, _ = resample(folder, record, "cookie")
    options = {"method_name": "DINO+Point_MAE", "save_maps": True, "category": "cookie"}
    planned = plan({"options": options, "grid": {"seed": [0, 1]}}, "x")
    folders = [tmp_path / "out" / "jobs" / one.name for one in planned.jobs]
    for one in folders:
        shutil.copytree(folder / "maps", one / "maps")
    monkeypatch.setattr(results, "finished", lambda *_: record)
    monkeypatch.setattr(results, "available_cores", lambda: 2)
    found = results._resample_all(tmp_path / "out", dict.fromkeys(planned.jobs, record), False)
    for one in planned.jobs:
        assert all((found[one][0][n][m] == first[n][m]).all() for n in SCORINGS for m in first[n])
    link_maps(tmp_path / "out", planned)
    for seed, one in enumerate(folders):
        linked = tmp_path / "out" / "maps" / "all" / f"seed_{seed}" / "cookie.npz"
        assert linked.samefile(one / "maps" / "cookie.npz")
