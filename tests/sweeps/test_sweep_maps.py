"""sweeps/sweep_maps.py: pixel metrics under resampled test parts, from saved maps."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest

from runs.options import parse_arguments, recorded_options
from scoring import evaluation
from scoring.metrics import compute_metrics
from scoring.significance import PixelCounts
from sweeps import sweep_maps
from sweeps.sweep_compare import RESAMPLES, part_weights
from sweeps.sweep_file import check
from sweeps.sweep_plan import job_folder, plan
from tests.make_maps import make_evaluation
from tests.scoring.reference_scoring import score_all

SCORINGS = ["baseline", "pixel_max", "disagreement"]


@pytest.fixture
def job(tmp_path):
    """(folder, record, Evaluation) of a job with saved maps; its parts do not lie in the order of their paths."""
    options = recorded_options(parse_arguments(["--method_name", "DINO+Point_MAE", "--scoring", *SCORINGS]))
    made = make_evaluation(fusion=False, good=8, defective=6)
    saved = dataclasses.replace(made, meta={**made.meta, "options": options, "run": "abc"})
    evaluation.write(saved, tmp_path / "maps" / "cookie.npz")
    metrics = evaluation.metrics(saved, evaluation.score(saved, SCORINGS))
    record = {
        "id": "abc",
        "options": json.loads(json.dumps(options)),
        "categories": {"cookie": {"metrics": {name: dataclasses.asdict(m) for name, m in metrics.items()}}},
    }
    return tmp_path, record, saved


def test_the_full_set_and_the_resamples(job):
    folder, record, saved = job
    found, why = sweep_maps.resample(folder, record, "cookie", SCORINGS)
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
        flat = np.concatenate([m.ravel() for m in maps])
        by_hand = compute_metrics(
            saved.label[drawn], [m.max() for m in maps], masks.ravel() != 0, flat, masks, maps, [str(i) for i in drawn]
        )
        assert found[name]["pixel_rocauc"][3] == pytest.approx(by_hand.pixel_rocauc, abs=1e-9)
        assert found[name]["au_pro"][3] == pytest.approx(by_hand.au_pro, abs=0.02)  # thresholds of the full set
    assert (found["baseline"]["au_pro"] != found["disagreement"]["au_pro"]).any()


def test_it_is_computed_once(job, monkeypatch):
    folder, record, _ = job
    first, _ = sweep_maps.resample(folder, record, "cookie", SCORINGS)
    (folder / sweep_maps.KEPT).rename(folder / "aside")
    assert sweep_maps.resample(folder, record, "cookie", SCORINGS, stopped=True) == ({}, sweep_maps.STOPPED)
    (folder / "aside").rename(folder / sweep_maps.KEPT)
    with monkeypatch.context() as patch:
        patch.setattr(sweep_maps, "read", lambda *_: pytest.fail("read again"))
        again, _ = sweep_maps.resample(folder, record, "cookie", SCORINGS)
    assert all((again[n][m] == first[n][m]).all() for n in SCORINGS for m in first[n])
    calls = []
    monkeypatch.setattr(sweep_maps, "PixelCounts", lambda *args: calls.append(1) or PixelCounts(*args))
    os.utime(folder / "maps" / "cookie.npz", ns=(1, 1))  # other maps
    sweep_maps.resample(folder, record, "cookie", SCORINGS)
    assert len(calls) == 2  # M_fusion and M_pix
    (folder / sweep_maps.KEPT).write_bytes(b"damaged")
    sweep_maps.resample(folder, record, "cookie", SCORINGS)
    assert len(calls) == 4


def test_jobs_side_by_side_give_the_same(job, tmp_path, monkeypatch):
    folder, record, _ = job
    first, _ = sweep_maps.resample(folder, record, "cookie", SCORINGS)
    out = tmp_path / "out"
    options = {"method_name": "DINO+Point_MAE", "save_maps": True, "category": "cookie"}
    planned = plan(check({"options": options, "grid": {"seed": [0, 1]}}, "x"))
    for one in planned.jobs:
        shutil.copytree(folder / "maps", job_folder(out, one) / "maps")
    monkeypatch.setattr(sweep_maps, "finished", lambda *_: record)
    sweep_maps.resample_side_by_side(out, planned, 2)
    monkeypatch.setattr(sweep_maps, "read", lambda *_: pytest.fail("read again"))
    for one in planned.jobs:
        found, _ = sweep_maps.resample(job_folder(out, one), record, "cookie", SCORINGS)
        assert all((found[n][m] == first[n][m]).all() for n in SCORINGS for m in first[n])
    for one, folder in zip(planned.jobs, sweep_maps.link_maps(out, planned)):
        assert (folder / "cookie.npz").samefile(job_folder(out, one) / "maps" / "cookie.npz")
    assert folder == out / "maps" / "all" / "seed_1"


def test_maps_that_do_not_belong_are_not_used(job):
    folder, record, saved = job
    assert sweep_maps.resample(folder, {**record, "id": "other"}, "cookie", SCORINGS) == (
        {},
        "the saved maps are of another run",
    )
    wrong = json.loads(json.dumps(record))
    wrong["categories"]["cookie"]["metrics"]["baseline"]["au_pro"] += 1e-6
    assert sweep_maps.resample(folder, wrong, "cookie", SCORINGS) == (
        {},
        "the saved maps do not give the run's own au_pro",
    )
    lacking = dataclasses.replace(saved, has_mask=np.arange(len(saved)) > 0)
    evaluation.write(lacking, folder / "maps" / "cookie.npz")
    assert sweep_maps.resample(folder, record, "cookie", SCORINGS) == ({}, "defective test parts without a mask")
    (folder / "maps" / "cookie.npz").write_bytes(b"PK")
    assert "cannot be read" in sweep_maps.resample(folder, record, "cookie", SCORINGS)[1]
    (folder / "maps" / "cookie.npz").unlink()
    assert sweep_maps.resample(folder, record, "cookie", SCORINGS) == ({}, sweep_maps.NO_MAPS)
