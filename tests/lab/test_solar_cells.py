"""Solar cells: the splits that are written, and the figures; main.py and the package are not run."""

import json

import numpy as np
import pytest
from PIL import Image

from lab import solar_cells
from scoring.metrics import roc_auc


def cells(count=600):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (count, 20, 20), dtype=np.uint8)
    return pictures, rng.choice([0, 1 / 3, 1], count), rng.choice(["mono", "poly"], count)


def test_splits_hold_different_cells_of_the_right_kind(tmp_path):
    pictures, probabilities, types = known = cells()
    parts = {"train/good": 20, "test/good": 15, "test/defective": 12}
    solar_cells.write_cells(tmp_path, known, "poly", 0, parts)
    number = {picture.tobytes(): i for i, picture in enumerate(pictures)}
    seen = []
    for split, count in parts.items():
        files = sorted((tmp_path / "poly" / split / "rgb").glob("*.png"))
        assert len(files) == count
        for file in files:
            picture = Image.open(file)
            assert picture.mode == "RGB"
            i = number[np.asarray(picture)[..., 0].tobytes()]
            assert types[i] == "poly" and probabilities[i] == (1 if split.endswith("defective") else 0)
            seen.append(i)
    assert len(set(seen)) == len(seen)
    with pytest.raises(solar_cells.InputError, match="poly: .* cells are left for test/good"):
        solar_cells.write_cells(tmp_path, known, "poly", 0, {**parts, "test/good": 300})


def test_figures_and_results_that_are_kept(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(1)
    labels, ran = np.repeat([0, 1], [240, 200]), []
    scores = rng.normal(size=440) + 6 * labels
    found = solar_cells.figures(labels, scores)
    assert found["image_rocauc"] == roc_auc(labels, scores) and found["promised"] == pytest.approx(2 / 41)
    assert found["good_failed"] == pytest.approx(2 / 41, abs=0.01) and found["defective_failed"] > 0.99
    monkeypatch.setattr(solar_cells, "PARTS", {"train/good": 3, "test/defective": 2})
    monkeypatch.setattr(solar_cells, "load_cells", cells)
    monkeypatch.setattr(solar_cells, "run_cells", lambda *of: ran.append(of) or (labels, scores))
    for _ in range(2):
        assert solar_cells.main(["-o", str(tmp_path), "--seeds", "4"]) == 0
    assert len(ran) == 2 and set(json.loads((tmp_path / "solar.json").read_text())) == {"mono, seed 4", "poly, seed 4"}
    assert "| mono, seed 4 | " in capsys.readouterr().out


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "elpv_dataset.utils", None)
    with pytest.raises(solar_cells.InputError, match="pip install elpv-dataset"):
        solar_cells.load_cells()
