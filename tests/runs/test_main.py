"""main.py as a user runs it: files, exit codes, what is kept, what is computed again, what a failure costs."""

import json
import shutil

import numpy as np
import pytest
import torch

import m3dm_runner
import models.weights
from runs.runs import Unit
from scoring.evaluation import read
from tests.command_lines import parse, read_csv
from tests.runs.conftest import WEIGHTS

TABLES = ("image_rocauc_results.md", "pixel_rocauc_results.md", "aupro_results.md")


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def record(results):
    return json.loads((results / "run.json").read_text())


def test_files_of_a_run(run, results, capsys):
    assert run("--scoring", "baseline", "disagreement", "--save_preds", "--random_state", "0") == 0
    out, err = capsys.readouterr()
    assert "it/s" not in err  # no bar where there is no terminal
    for name, title in zip(TABLES, ("Image ROCAUC", "Pixel ROCAUC", "AU PRO")):
        text = (results / name).read_text()
        assert text in out and title in text
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[0:1] == "|"]
        assert rows[0] == ["Method", "One", "Mean"]
        assert [row[0] for row in rows[2:]] == ["DINO+Point_MAE", "DINO+Point_MAE [disagreement]", "difference"]
        assert float(rows[4][1]) == pytest.approx(float(rows[3][1]) - float(rows[2][1]), abs=1e-9)
    table = read_csv(results / "scores_one.csv")
    assert table[0] == ["path", "defect", "label", "baseline", "disagreement", "bank_xyz", "bank_rgb"]
    assert [row[1:3] for row in table[1:]] == [["good", "0"], ["hole", "1"]]
    assert np.isfinite([[float(value) for value in row[3:]] for row in table[1:]]).all()
    found = record(results)
    one = found["categories"]["one"]
    assert one["training_parts"] == 3 and one["test_parts"] == 2 and found["failed"] == {}
    assert set(one["metrics"]) == {"baseline", "disagreement"} and found["device"] == "cpu"
    assert {"memory bank", "coreset", "late fusion", "test", "metrics", "pictures"} <= set(one["seconds"])
    assert found["peak_memory_mib"] > 100 and found["versions"]["torch"] and found["options"]["seed"] == 0
    assert found["weights"] == [WEIGHTS[0]._asdict()] and "--save_preds" in found["command"]
    assert len(list((results / "pred_maps" / "one").rglob("*.png"))) == 2 and not list(results.rglob("*.tmp"))


def test_the_same_command_again_keeps_everything(run, results, capsys):
    assert run() == 0
    first = {path: path.read_bytes() for path in results.rglob("*") if path.is_file() and path.name != "run.json"}
    scores, tables = (results / "scores_one.csv").read_bytes(), (results / TABLES[0]).read_text()
    capsys.readouterr()
    assert run() == 0
    out = capsys.readouterr().out
    assert "one: kept, finished" in out and "complete already" in out and "--overwrite" in out and "| One |" not in out
    assert all(path.read_bytes() == content for path, content in first.items() if ".lock" not in path.name)
    assert run("two") == 0  # another category: its own table, with the finished one
    out = capsys.readouterr().out
    assert "one: kept" in out and "two: DINO+Point_MAE" in out and "complete already" not in out
    text = (results / TABLES[0]).read_text()
    assert text.startswith(tables) and "Two |" in text and (results / "scores_one.csv").read_bytes() == scores
    assert run("--f_coreset", "0.3") == 0  # other options: another id, and nothing of the first is touched
    assert len([path for path in (results / "runs").iterdir() if path.is_dir()]) == 2
    text = (results / TABLES[0]).read_text()
    assert "f_coreset=0.3" in text.split("<!-- run")[-1] and record(results)["options"]["f_coreset"] == 0.3
    capsys.readouterr()
    assert run("--overwrite") == 0 and "kept" not in capsys.readouterr().out  # one more table, the earlier ones stay
    assert (results / TABLES[0]).read_text().startswith(text)


def test_changed_data_or_weights_are_computed_again(run, parts, tmp_path, monkeypatch, capsys):
    own = shutil.copytree(parts, tmp_path / "own")
    again = ("--dataset_path", own)
    assert run(*again) == 0
    part = next((own / "one" / "train" / "good" / "xyz").iterdir())
    part.touch()
    capsys.readouterr()
    assert run(*again) == 0 and "kept" not in capsys.readouterr().out
    other = [WEIGHTS[0]._replace(sha256="1" * 64)]
    monkeypatch.setattr(models.weights, "used_weights", lambda options, build: other)
    assert run(*again) == 0 and "kept" not in capsys.readouterr().out
    assert run(*again) == 0 and "kept" in capsys.readouterr().out


def test_outputs_that_are_asked_for_later_are_made(run, results, tmp_path, capsys):
    assert run() == 0
    assert run("--save_preds", "--save_maps", tmp_path / "maps") == 0
    assert "its pictures and maps are not there" in capsys.readouterr().out
    saved, table = read(tmp_path / "maps" / "one.npz"), read_csv(results / "scores_one.csv")
    assert [*saved.path] == [row[0] for row in table[1:]]
    assert [*saved.decision_score] == [float(row[3]) for row in table[1:]] and saved.meta["training_parts"] == 3
    assert run("--save_preds") == 0 and "one: kept" in capsys.readouterr().out
    assert run("--save_preds", "--f_coreset", "0.3") == 0  # other pictures lie there now
    capsys.readouterr()
    assert run("--save_preds") == 0 and "pictures are not there" in capsys.readouterr().out


def test_one_failing_category_does_not_stop_the_others(run, parts, results, tmp_path, monkeypatch, capsys):
    own = shutil.copytree(parts, tmp_path / "own")
    broken = next((own / "one" / "train" / "good" / "xyz").iterdir())
    broken.write_bytes(broken.read_bytes()[:2000])
    assert run("two", "--dataset_path", own) == 1
    out, err = capsys.readouterr()
    assert "Two |" in out and [line for line in err.splitlines() if line.startswith("not finished: one:")]
    assert set(record(results)["categories"]) == {"two"} and str(broken) in record(results)["failed"]["one"]

    def failing(self, category):
        raise RuntimeError("out of memory, say")

    monkeypatch.setattr(m3dm_runner.M3DM, "fit", failing)
    assert run("--overwrite") == 1
    assert "main.py: one failed: RuntimeError: out of memory, say" in capsys.readouterr().err


@pytest.mark.parametrize("left, lacking", [("good", "defective"), ("hole", "good")])
def test_a_split_with_one_label_only(run, parts, results, tmp_path, capsys, caplog, left, lacking):
    own = shutil.copytree(parts, tmp_path / "own")
    shutil.rmtree(own / "one" / "test" / ("hole" if left == "good" else "good"))
    assert run("--dataset_path", own) == 0
    assert f"no {lacking} part" in caplog.text and "undefined" in (results / TABLES[0]).read_text()
    metrics = record(results)["categories"]["one"]["metrics"]["baseline"]
    assert metrics["image_rocauc"] is None and (metrics["au_pro"] is None) == (lacking == "defective")
    assert "nan" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "flag, writer, output",
    [
        ("--save_preds", "reports.pred_maps.save_pictures", "pictures"),
        ("--save_maps", "scoring.evaluation.write", "maps"),
        (None, "runs.results.Tables.update", "tables"),
    ],
)
def test_a_full_disk_names_the_place_and_keeps_the_scores(
    run, results, tmp_path, capsys, monkeypatch, flag, writer, output
):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, full)
    place = {"maps": tmp_path / "maps", "pictures": results / "pred_maps", "tables": results}[output]
    assert run(*filter(None, [flag, place if output == "maps" else None])) == 1
    out, err = capsys.readouterr()
    reason = f"{place}: No space left on device"
    key = "tables" if output == "tables" else f"one: {output}"
    assert f"not finished: {key}: {reason}" in err and "Traceback" not in err and "One |" in out
    assert output == "tables" or f"{reason}; its scores and metrics are complete" in err
    assert "one" in record(results)["categories"] and key in record(results)["failed"]
    assert len(read_csv(results / "scores_one.csv")) == 3


def test_a_category_that_another_process_computes_is_left_out(run, results, capsys):
    assert run("two") == 0
    for path in (results / "runs").glob("*/*.json"):
        path.unlink()
    (lock,) = (results / "runs").glob("*/.one-*.lock")
    category, data = lock.name[1 : -len(".lock")].rsplit("-", 1)
    capsys.readouterr()
    with Unit(parse("-o", str(results)), lock.parent.name, category, data).lock():
        assert run() == 2
        err = capsys.readouterr().err
        assert err.startswith("main.py: one is being computed by process") and len(err.splitlines()) == 1
        assert run("two") == 1  # the other category is computed
        out, err = capsys.readouterr()
        assert "two: baseline" in out and "one is left out: one is being computed by process" in err
    assert run() == 0


def test_a_fit_is_bounded(run, results):
    """Rows per bank, memory of the coreset, parts measured, threads; the four training parts are numbered 0 to 3."""
    threads = torch.get_num_threads()
    try:
        assert run("--category", "two", "--scoring", "calibrated") == 0
        free = record(results)["categories"]["two"], read_csv(results / "scores_two.csv")
        assert run("--category", "two", "--scoring", "calibrated", "--max_memory", "1e-5", "--threads", "1") == 0
        chunks = record(results)["categories"]["two"], read_csv(results / "scores_two.csv")
        assert torch.get_num_threads() == 1 and chunks[0]["banks"] == free[0]["banks"] and chunks[1] != free[1]
        assert run("--category", "two", "--scoring", "calibrated", "--max_rows", "90", "--max_measured", "3") == 0
        bounded = record(results)["categories"]["two"]
    finally:
        torch.set_num_threads(threads)
    assert [of["calibrated"]["parts"] for of in (free[0], bounded)] == [4, 3]
    assert free[0]["banks"]["xyz"][0] > bounded["banks"]["xyz"][0] == 90
