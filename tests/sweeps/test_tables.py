"""sweeps/results.py and sweep_tables.py: finished jobs' files become tables; each number is looked up again."""

import csv
import json
import os
import re

import numpy as np
import pytest

from common.errors import InputError
from scoring.significance import delong_test
from sweeps.compare import over_seeds
from sweeps.file import read
from sweeps.plan import plan
from sweeps.results import gather, read_scores
from sweeps.tables import number_axis
from tests.sweeps.test_engines import run
from tools import sweep

TEXT = """
options: {method_name: DINO, device: cpu, dataset_path: "${FAKE_DATA}", scoring: [pixel_max]}
grid:
  category: [one, two]
  seed: [0, 1, 2]
  shots: [1, 2, 50]
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Folder of a finished sweep of 18 jobs."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "sweep.yaml").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_DATA", str(folder))
        assert run(folder / "sweep.yaml", folder / "out", "--quiet", "--engine", "processes", "--workers", 2) == 0
    return folder / "out"


def lines(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def records(out):
    """{(category, shots, seed): (run.json, folder)}."""
    found = {}
    for path in out.glob("jobs/*/run.json"):
        record = json.loads(path.read_text())
        options = record["options"]
        found[options["category"][0], options["shots"], options["seed"]] = record, path.parent
    return found


def test_cells_are_means_over_seeds(done):
    known, cells = records(done), lines(done / "cells.csv")
    assert len(cells) == 3 * 2 * 3 * 2  # settings, scorings, categories and mean, metrics: AU-PRO is undefined
    for cell in cells:
        assert cell["metric"] in ("image_rocauc", "pixel_rocauc") and cell["method"] == "DINO"
        names = ["one", "two"] if cell["category"] == "Mean" else [cell["category"]]
        values = [
            np.mean(
                [
                    known[name, int(cell["shots"]), seed][0]["categories"][name]["metrics"][cell["scoring"]][
                        cell["metric"]
                    ]
                    for name in names
                ]
            )
            for seed in (0, 1, 2)
        ]
        expected = over_seeds(values)
        assert [float(cell[n]) for n in ("mean", "sd", "seeds_low", "seeds_high")] == pytest.approx(expected[1:5])
        assert cell["seeds"] == cell["seeds_planned"] == "3" and cell["categories"] == str(len(names))
        assert (cell["parts_low"] != "") == (cell["metric"] == "image_rocauc")


def test_differences_are_delongs(done):
    known, found = records(done), lines(done / "differences.csv")
    image = [d for d in found if d["metric"] == "image_rocauc"]
    assert len(image) == (3 + 2 * 2) * 3
    for d in image:
        assert d["family"] == ("scoring" if d["scoring"] != d["reference_scoring"] else "setting")
        if d["category"] == "Mean":
            continue
        sides = []
        for scoring, shots in ((d["scoring"], d["shots"]), (d["reference_scoring"], d["reference_shots"])):
            folders = [known[d["category"], int(shots), seed][1] for seed in (0, 1, 2)]
            read_back = [read_scores(folder / f"scores_{d['category']}.csv", [scoring]) for folder in folders]
            sides.append([scores[scoring] for _, _, scores in read_back])
        value, _, p = delong_test(read_back[0][1], *sides)
        assert (float(d["difference"]), float(d["p"])) == (pytest.approx(value), pytest.approx(p))
        assert float(d["p_holm"]) >= float(d["p"]) and d["test"] == "DeLong" and d["seeds"] == "3"
    pixel = [d for d in found if d["metric"] == "pixel_rocauc"]
    assert pixel and all(d["p"] == "" and "save_maps" in d["note"] for d in pixel)


def test_markdown_shows_the_same(done):
    text, cells = (done / "tables.md").read_text(), lines(done / "cells.csv")
    cell = next(
        c
        for c in cells
        if (c["metric"], c["shots"], c["scoring"], c["category"]) == ("image_rocauc", "50", "pixel_max", "two")
    )
    row = next(line for line in text.splitlines() if line.startswith("| DINO shots=50 [pixel_max] "))
    shown = f"{float(cell['mean']):.3f} ± {float(cell['sd']):.3f} [{float(cell['seeds_low']):.3f}, "
    assert shown in row.split("|")[3] and len(row.split("|")) == 6
    assert text.startswith("18 of 18 jobs are finished.") and "## Pixel ROCAUC" in text and "UNTRAINED" in text
    assert re.search(r"\| DINO shots=50 minus DINO shots=1 +\| [^|]* p=", text)
    assert "Not tested where no interval stands: no saved maps" in text


def test_the_figure_is_a_curve_over_the_shots(done, monkeypatch):
    assert (done / "figure.png").read_bytes().startswith(b"\x89PNG")
    (done.parent / "sweep.yaml").write_text(TEXT)
    assert number_axis(plan(read(done.parent / "sweep.yaml"))) == "shots"


def test_unequal_weights_or_versions_are_told(done, tmp_path):
    import shutil

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
    scores.unlink()
    assert sweep.main(["tables", str(out)]) == 1  # not finished any more
    assert "17 of 18 jobs" in (out / "tables.md").read_text()


def test_scorings_in_the_grid_are_rows_of_one_setting(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_DATA", str(tmp_path))
    file = tmp_path / "sweep.yaml"
    text = TEXT.replace(", scoring: [pixel_max]", "").replace("seed: [0, 1, 2]", "seed: [0]")
    file.write_text(text.replace("shots: [1, 2, 50]", "scoring: [pixel_max, pixel_topk]"))
    assert run(file, tmp_path / "out") == 0
    text = capsys.readouterr().out
    assert "note: scoring stands in grid" in text and "interval over test parts (bootstrap)" in text
    found = lines(tmp_path / "out" / "differences.csv")
    assert {(d["scoring"], d["reference_scoring"]) for d in found} == {
        ("pixel_max", "baseline"),
        ("pixel_topk", "baseline"),
    }
    planned = plan(read(file))
    gathered = gather(tmp_path / "out", planned)
    assert [row.scoring for row in gathered.table] == ["baseline", "pixel_max", "pixel_topk"] and gathered.done == 4


def test_nothing_finished(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_DATA", str(tmp_path))
    file = tmp_path / "sweep.yaml"
    file.write_text(TEXT)
    assert run(file, tmp_path / "out", "--print") == 0
    assert sweep.main(["tables", str(tmp_path / "out")]) == 1
    assert (tmp_path / "out" / "tables.md").read_text() == "0 of 18 jobs are finished.\n"
    assert lines(tmp_path / "out" / "cells.csv") == [] and not (tmp_path / "out" / "figure.png").exists()
    for command in ("tables", "status"):
        assert sweep.main([command, str(tmp_path)]) == 2
    assert "sweep.json: cannot be read" in capsys.readouterr().err


def test_scores_are_sorted_by_path(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("path,defect,label,baseline\nb,x,1,0.5\na,good,0,0.25\n")
    paths, label, scores = read_scores(path, ["baseline"])
    assert paths == ("a", "b") and label.tolist() == [0, 1] and scores["baseline"].tolist() == [0.25, 0.5]
    path.write_text("path,defect,label,baseline\nb,x,1,many\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_scores(path, ["baseline"])
    assert os.path.exists(path)
