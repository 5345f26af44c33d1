"""The evidence: cells that equal main.py's, a plan that goes on where it stopped, a page that says what they say."""

import json
import re

import numpy as np
import pytest
import torch

import m3dm_runner
import main
import models.weights
from common.errors import InputError
from lab import evidence, evidence_cells, evidence_page, evidence_words
from lab.demo_kinds import ALL_DEFECTS
from lab.evidence_cells import CachedExtractor, Cell, Source
from lab.evidence_numbers import Evidence
from lab.make_demo import write_category
from models.weights import WeightFile
from runs.before_work import settle_readings
from runs.results import read_run
from tests.fakes import PoolingExtractor

PARTS = evidence.Parts(4, 3, 1)
MAIN = ("lite0_fpfh", "two", "fixed", 4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder of generated parts, cookie and fabric."""
    folder = tmp_path_factory.mktemp("parts")
    for kind in ("cookie", "fabric"):
        write_category(folder / "seed_0", kind, (112, 112), *PARTS, 0, ALL_DEFECTS, (0.01, 0.05))
        (folder / "seed_0" / kind / "complete").touch()
    return folder


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """Toy patches in the place of networks, FPFH and weights."""
    files = [WeightFile("rgb", "toy.pth", 1, "0" * 64, "file", True)]
    monkeypatch.setattr(m3dm_runner, "build_extractor", lambda args: PoolingExtractor())
    monkeypatch.setattr(models.weights, "used_weights", lambda options, build: files)


@pytest.fixture
def source(data, tmp_path):
    """Where the parts are."""
    checkpoints = str(tmp_path / "checkpoints")
    return Source(str(data / "seed_{seed}"), "folder", checkpoints, "uff.pth", str(tmp_path / "work"), "cpu", True)


def run(cell, source, extractor=None):
    return evidence_cells.run_cell(cell, source, extractor or PoolingExtractor(), "id", settle_readings)


@pytest.mark.parametrize(
    "setting", [MAIN, ("lite0_point_mae", "two", "eval", 3), ("dino_point_mae", "three", "own_rows", 4)]
)
def test_a_cell_equals_main_py(setting, source, tmp_path):
    cell = Cell(*setting, "cookie", 0)
    found = run(cell, source, CachedExtractor(PoolingExtractor, tmp_path / "cache"))
    words = evidence_cells.words(cell, source)
    assert main.main([*words, "--scoring", "disagreement", "full"]) == 0
    metrics = read_run(source.work)["categories"]["cookie"]["metrics"]
    for scoring, of in metrics.items():
        assert {name: found["metrics"][scoring][name] for name in of} == of
    scores = (tmp_path / "work" / "scores_cookie.csv").read_text().splitlines()
    column = scores[0].split(",").index("disagreement")
    assert [float(line.split(",")[column]) for line in scores[1:]] == found["scores"]["disagreement"].tolist()


def test_variants_of_the_late_fusion_are_what_main_py_makes_of_other_lambdas(source):
    cell = Cell(*MAIN, "cookie", 0)
    found = run(cell, source)
    assert main.main([*evidence_cells.words(cell, source), "--rgb_s_lambda", "1", "--rgb_smap_lambda", "1"]) == 0
    metrics = read_run(source.work)["categories"]["cookie"]["metrics"]["baseline"]
    assert {name: found["metrics"]["svm_lambdas_1"][name] for name in metrics} == pytest.approx(metrics, abs=1e-6)
    banks = [np.array(found["scores"][f"bank_{bank}"]) for bank in ("xyz", "rgb")]
    np.testing.assert_allclose(found["scores"]["sum"], banks[0] + 0.1 * banks[1], rtol=1e-6)


def test_values_of_parts_add_up_to_the_metrics(source):
    found = run(Cell(*MAIN, "fabric", 0), source)
    for scoring, of in found["parts"].items():
        assert np.mean(of["separation"]) == pytest.approx(found["metrics"][scoring]["image_rocauc"])
        assert np.mean(of["overlap"]) == pytest.approx(found["metrics"][scoring]["au_pro"], abs=1e-9)
    sizes = np.array(found["size"])[np.array(found["label"]) == 1]
    assert (sizes > 0.3).all() and (sizes < 7).all() and len(sizes) == 4 * PARTS.defective


def test_one_part_has_no_calibrated(source):
    found = run(Cell("lite0_fpfh", "two", "own_rows", 1, "cookie", 0), source)
    assert "calibrated" not in found["metrics"] and "bank_rgb" in found["metrics"]


class Counting(PoolingExtractor):
    """Counts what it extracts; in eval mode the same part always gives the same."""

    def __init__(self):
        super().__init__()
        self.extracted = 0

    def extract(self, sample, banks=None, zero_points=False):
        self.extracted += 1
        return {**super().extract(sample, None, zero_points), "xyz": torch.full((2, 2), float(zero_points))}


def test_each_part_is_extracted_once_and_in_train_mode_each_time(tmp_path):
    inner, rng = Counting(), torch.Generator().manual_seed(0)
    cached = CachedExtractor(lambda: inner, tmp_path)
    samples = [(torch.rand(1, 3, 56, 56, generator=rng), torch.rand(1, 3, 56, 56, generator=rng) + 0.1) for _ in "ab"]
    cached.train(False)
    first = [cached.extract(sample) for sample in samples]
    again = [cached.extract(sample, ["rgb"]) for sample in samples]
    assert inner.extracted == 2 and [list(of) for of in again] == [["rgb"]] * 2
    assert all(torch.equal(a["rgb"], b["rgb"]) and a["rgb"].dtype == torch.float32 for a, b in zip(first, again))
    cached.extract(samples[0], zero_points=True)
    assert inner.extracted == 2  # no point has a zero coordinate, so the patches are the same
    samples[1][1][0, 0, 3, 3] = 0
    for zero_points in (False, True, False, True):
        assert cached.extract(samples[1], zero_points=zero_points)["xyz"].eq(zero_points).all()
    assert inner.extracted == 4
    cached.train(True)
    cached.extract(samples[0])
    assert inner.extracted == 5 and cached.widths == inner.widths


def test_the_plan_has_each_cell_once_and_the_main_table_first():
    planned = evidence.plan(list(evidence_cells.FEATURES), ["a", "b"], [0, 1], [1, 2, 4, 10, 30])
    assert len(planned) == len(set(planned))
    assert all(cell[2:4] == ("fixed", 30) for cell in planned if cell.seed == 1)
    assert len([cell for cell in planned if cell.seed == 1]) == 2 * 4
    assert not [c for c in planned if c.features == "lite0_fpfh" and c.fixes == "eval+scaling"]
    assert {c.banks for c in planned if c.fixes == "eval+zero_row"} == {"three"}
    assert {c.fixes for c in planned if c.shots == 1} == {"own_rows"}
    quick = evidence.quick_plan(["a", "b"], [1, 4, 10])
    assert [cell[2:] for cell in quick[:2]] == [("fixed", 10, "a", 0), ("fixed", 10, "b", 0)]
    assert quick[2][:4] == ("dino_point_mae", "three", "fixed", 10) and len(quick) == len(set(quick))
    for cell in planned:
        evidence_cells.options_of(cell, Source("d", "folder", "c", "u", "w"))  # main.py takes all of them


@pytest.fixture
def work(source, tmp_path):
    """Function: a Work of the main cells of both categories and one more."""

    def make():
        planned = [
            Cell(*MAIN, "cookie", 0),
            Cell(*MAIN, "fabric", 0),
            Cell("lite0_fpfh", "two", "eval", 4, "cookie", 0),
        ]
        return evidence.Work(tmp_path / "out", planned, PARTS, source)

    return make


def test_a_stopped_run_goes_on(work, tmp_path, monkeypatch, capsys):
    run_cell, seen = evidence_cells.run_cell, []

    def stopping(cell, *args):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(cell)
        return run_cell(cell, *args)

    monkeypatch.setattr(evidence_cells, "run_cell", stopping)
    first = work()
    with pytest.raises(KeyboardInterrupt):
        first.run(None)
    paths = [cell.path(tmp_path / "out" / "cells") for cell in first.planned]
    assert [path.is_file() for path in paths] == [True, True, False]
    paths[1].write_text(paths[1].read_text()[:1000])  # half a file, as another program might leave it
    kept, seen[:] = paths[0].stat().st_mtime_ns, []
    monkeypatch.setattr(evidence_cells, "run_cell", lambda cell, *args: (seen.append(cell), run_cell(cell, *args))[1])
    second = work()
    assert second.run(None) and list(second.done) == second.planned
    assert seen == second.planned[1:] and paths[0].stat().st_mtime_ns == kept
    assert not list((tmp_path / "out" / "cache").rglob("*.npy"))  # gone with the category's last cell
    assert work().run(0) and "not run" not in capsys.readouterr().out.split("generating")[-1]


def test_a_budget_stops_after_the_current_cell_and_other_weights_begin_anew(work, monkeypatch, capsys):
    begun = work()
    assert begun.run(0) and not begun.done and "3 cells are not run" in capsys.readouterr().out
    begun = work()
    begun.planned = begun.planned[:1]
    begun.run(None)
    other = [WeightFile("rgb", "toy.pth", 1, "1" * 64, "file", True)]
    monkeypatch.setattr(models.weights, "used_weights", lambda options, build: other)
    again = work()
    assert again.run(0) and not again.done


def test_the_page_says_what_the_cells_say(work, tmp_path):
    done = work()
    done.run(None)
    done.planned.append(Cell("dino_point_mae", "three", "fixed", 4, "cookie", 0))
    evidence_page.write(tmp_path, done, list(evidence_page.METRICS), 1.0, True)
    text = (tmp_path / "evidence.md").read_text()
    value = done.done[Cell(*MAIN, "cookie", 0)]["metrics"]["calibrated"]["au_pro"]
    row = next(line for line in text[text.index("### AU-PRO 30 %") :].splitlines() if "| calibrated |" in line)
    assert row.split(" | ")[2] == f"{value:.3f}"
    for table in re.findall(r"(?:^\|.*\n)+\n(.*)\n", text, re.M)[:-1]:
        assert table.startswith("Generated parts are not a benchmark.")
    assert "| DINO + Point-MAE, three banks | all | not run | not run | not run |" in text
    assert {p.name for p in tmp_path.glob("*.png")} >= {"defects.png", "late_fusion.png"}
    assert "## Does train mode eat the gain?\n\nnot run" in text  # no released cell is planned
    lines = (tmp_path / "cells.csv").read_text().splitlines()
    assert len(lines) == 1 + sum(len(of["metrics"]) for of in done.done.values())


def test_means_side_by_side_are_of_the_same_cells():
    def content(value):
        metrics = {"baseline": {"au_pro": value}}
        return {"weights": [], "metrics": metrics}

    fixed, released, shots = (
        Cell("lite0_fpfh", "two", *of, "cookie", 0) for of in (("fixed", 4), ("released", 4), ("fixed", 2))
    )
    done = {fixed: 0.9, fixed._replace(seed=1): 0.8, fixed._replace(category="fabric"): 0.2, released: 0.7}
    planned = [*done, shots]
    e = Evidence(planned, {cell: content(value) for cell, value in done.items()}, {}, True)
    shared = e.common([fixed.setting, released.setting, shots.setting])  # nothing was run with few shots
    assert set(shared.done) == {fixed, released}
    assert shared.mean(fixed.setting, "baseline", "au_pro").value == 0.9
    assert not e.common([shots.setting]).done


def test_rows_that_were_not_run_are_joined_and_named():
    def rows_of(*rows):
        return evidence_words.table(["a", "b", "c"], rows)[2:]

    empty = [["x", "one", "not run"], ["x", "two", "not run"]]
    assert rows_of(*empty) == ["| x | all | not run |"]
    assert rows_of(*empty, ["x", "three", "0.5"]) == ["| x | one, two | not run |", "| x | three | 0.5 |"]
    assert rows_of(empty[0], ["y", "two", "not run"]) == ["| x | one | not run |", "| y | two | not run |"]


def test_the_page_of_nothing_and_the_command_line(tmp_path, capsys):
    assert evidence.main(["-o", str(tmp_path), "--page", "--quick", "--features", "lite0_fpfh"]) == 0
    assert "0 of" in (tmp_path / "evidence.md").read_text()
    assert evidence.main(["-o", str(tmp_path), "--category", "sofa"]) == 2
    assert "no generated kind" in capsys.readouterr().err
    assert evidence.main(["-o", str(tmp_path), "--shots", "1"]) == 2


def test_a_user_s_own_data(data, tmp_path):
    flags = ["--dataset_path", str(data / "seed_0"), "--category", "fabric", "--features", "lite0_fpfh", "--shots", "4"]
    assert evidence.main(["-o", str(tmp_path), *flags, "--seeds", "3", "--checkpoint_dir", str(tmp_path)]) == 0
    text = (tmp_path / "evidence.md").read_text()
    assert "not a benchmark" not in text and "8 of 8 cells" in text and "None." in text
    for path in (tmp_path / "cells").rglob("*.json"):
        assert json.loads(path.read_text())["cell"]["category"] == "fabric"


def test_the_main_table_alone(tmp_path):
    args = evidence.build_parser().parse_args(["-o", str(tmp_path), "--page", "--main_table"])
    planned = evidence.prepare(args).planned
    assert {cell[2:4] for cell in planned} == {("fixed", 30)} and len(planned) == 5 * 3 * 4


def test_missing_weights_are_refused_before_any_work(data, tmp_path, monkeypatch, capsys):
    def missing(args):
        raise InputError("checkpoints/dino.pth: no such file")

    monkeypatch.setattr(models.weights, "used_weights", lambda options, build: build().widths)
    monkeypatch.setattr(m3dm_runner, "build_extractor", missing)
    flags = ["--dataset_path", str(data / "seed_0"), "--features", "dino_point_mae", "--shots", "4"]
    assert evidence.main(["-o", str(tmp_path), *flags, "--checkpoint_dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "evidence.py: checkpoints/dino.pth: no such file\n"
    assert not (tmp_path / "evidence.md").exists()
