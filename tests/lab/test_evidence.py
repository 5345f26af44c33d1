"""The evidence command: cells computed once, failed ones named, a page that says what the cells say."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from lab import evidence, evidence_page, solar_cells
from lab.evidence import RECORDINGS, SOLAR, command
from lab.evidence_page import failed_shares
from scoring.metrics import roc_auc

SETTINGS = {RECORDINGS: {"banks": [], "all": []}, SOLAR: {"lite0": ["--preset", "best"]}}
FIGURES = {"image_rocauc": 0.9, "good_failed": 0.05, "promised": 0.05, "defective_failed": 0.8}


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """One kind of part, and settings that need no networks."""
    monkeypatch.setattr(evidence, "SETTINGS", SETTINGS)
    monkeypatch.setattr(evidence, "KINDS", ["foam"])


def test_cells_are_computed_once_and_failed_ones_named(tmp_path, monkeypatch, capsys):
    run = []

    def cell(cell, out, brief):
        run.append(cell)
        if cell.kind == "poly":
            raise InputError("main.py ended with 2: no such method") if len(run) < 6 else KeyboardInterrupt
        return {"calibrated": FIGURES}

    monkeypatch.setattr(evidence, "solar_cell", cell)
    argv = ["-o", str(tmp_path), "--cells", "solar", "--seeds", "0", "1"]
    assert evidence.main(argv) == 1
    assert "solar poly lite0 0 0: main.py ended with 2" in capsys.readouterr().err
    page = (tmp_path / "evidence.md").read_text()
    assert "2 of 4 cells" in page and page.count("- failed: solar poly") == 2
    assert "0.900 ± 0.000" in page and "share of good cells that fail" in page
    assert evidence.main(argv) == 1 and len(run) == 4 + 2  # the failed ones alone again, until Ctrl-C
    assert (tmp_path / "evidence.md").read_text().count("- not run: solar poly") == 1
    monkeypatch.setitem(SETTINGS[SOLAR], "lite0", ["--preset", "paper"])
    assert evidence.main([*argv, "--kinds", "mono"]) == 0 and len(run) == 8  # other options, other cells
    assert evidence.main([*argv, "--kinds", "nothing"]) == 2


def test_good_parts_fail_as_promised_and_defects_are_found():
    rng = np.random.default_rng(0)
    found = [
        failed_shares(rng.normal(size=60), {"dent": rng.normal(size=30) + 9}, 20, draws=40, seed=i) for i in range(60)
    ]
    assert np.mean([of["good"] for of in found]) == pytest.approx(1 / 21, abs=0.006)
    assert all((of["dent"] == 1).all() and len(of["good"]) == 40 for of in found)


def test_parts_that_cannot_be_judged_and_parts_that_the_model_has_seen():
    pool = np.r_[np.full(20, 1.0), np.nan, np.nan]
    shares = failed_shares(pool, {"good": [0.5, np.inf], "dent": [2, -np.inf]}, 20, draws=3)
    assert (shares["good"] == 3 / 4).all() and (shares["dent"] == 0.5).all()
    seen = failed_shares(pool, {}, 20, draws=3, seen=range(20))
    assert (seen["good"] == 1).all()
    with pytest.raises(ValueError, match="20 good parts could be judged, 21 are needed"):
        failed_shares(pool, {}, 21)
    drawn = failed_shares(np.arange(40.0), {"dent": [1, 99]}, 20, draws=50, resample=True)["dent"]
    assert set(drawn) == {0, 0.5, 1}


def judged(cell, *_):
    """A recording's cell: 40 pool parts, per set 8 good parts and 8 dents; one good part unjudged."""
    rng, shift = np.random.default_rng(cell.seed), 0 if cell.setting == "banks" else 20
    rows = [["pool", "good", "pass", float(v)] for v in rng.normal(size=40)]
    for name in ("to_judge", "shifted", "dent_size_0.5"):
        rows += [[name, "good", "pass", float(v)] for v in rng.normal(size=7)] + [[name, "good", "cannot judge", None]]
        rows += [[name, "dent", "fail", float(v)] for v in rng.normal(size=8) + shift]
    return {"judged": rows, "calibration": 20}


def test_the_recordings_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "recordings_cell", judged)
    argv = ["--cells", "recordings", "--seeds", "0", "1", "--shots", "2"]
    assert evidence.main(["-o", str(tmp_path), *argv]) == 0
    page, files = (tmp_path / "evidence.md").read_text(), sorted(path.stem for path in tmp_path.glob("cells/*"))
    told = ("all-14-0", "all-14-1", "all-2-0", "banks-14-0", "banks-14-1", "banks-2-0")  # the first seed alone has more
    assert files == [f"recordings-foam-{name}" for name in told]
    (row,) = re.findall(r"\| foam: dent +\|(.*)\|", page)
    few, every = (int(cell.split("%")[0]) for cell in row.split("|"))
    assert few < 40 and every == 100
    content = json.loads((tmp_path / "cells/recordings-foam-all-14-0.json").read_text())
    good = evidence_page.rates_of(content["found"], 0)["shifted", evidence_page.GOOD]
    assert good.mean() == pytest.approx(1 / 8 + 7 / 8 / 21, abs=0.1)  # the one that cannot be judged counts as failed
    for title in ("By kind", "By training parts", "dent_size_0.5", "5 % promised"):
        assert title in page
    assert "shifted" in page.partition("On another day")[2].partition("###")[0]


def test_solar_cells_of_the_right_kind_and_their_figures(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (600, 8, 8), dtype=np.uint8)
    known = pictures, rng.choice([0, 1 / 3, 1], 600), rng.choice(["mono", "poly"], 600)
    monkeypatch.setattr(solar_cells, "PARTS", {"train/good": 20, "test/good": 15, "test/defective": 12})
    solar_cells.write_cells(tmp_path, known, "poly", 0)
    number, seen = {picture.tobytes(): i for i, picture in enumerate(pictures)}, []
    for split, count in solar_cells.PARTS.items():
        files = [Image.open(file) for file in (tmp_path / "poly" / split / "rgb").glob("*.png")]
        drawn = [number[np.asarray(file)[..., 0].tobytes()] for file in files]
        assert len(files) == count and {file.mode for file in files} == {"RGB"}
        assert {(known[1][i], known[2][i]) for i in drawn} == {(float(split.endswith("defective")), "poly")}
        seen += drawn
    assert len(set(seen)) == len(seen)
    labels = np.repeat([0, 1], [240, 200])
    scores = rng.normal(size=440) + 6 * labels
    with open(tmp_path / "scores.csv", "w") as file:
        csv.writer(file).writerows([("label", "calibrated"), *zip(labels, scores)])
    found = solar_cells.figures(tmp_path / "scores.csv")
    assert found["image_rocauc"] == roc_auc(labels, scores) and found["promised"] == pytest.approx(2 / 41)
    assert found["good_failed"] == pytest.approx(2 / 41, abs=0.01) and found["defective_failed"] > 0.99


def test_a_missing_package_and_a_failing_command_are_told_in_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "elpv_dataset.utils", None)
    with pytest.raises(InputError, match="pip install elpv-dataset"):
        solar_cells.load_cells()
    with pytest.raises(InputError, match="tools/rescore.py ended with 2: .*nowhere"):
        command("tools/rescore.py", "nowhere")
