"""The command line on a tiny category, as a user runs it: files, exit codes, failures, interruption."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import main
from tests.conftest import fixture

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--eval_mode", "--group_size", "16", "--num_group", "64", "--num_workers", "0"]  # seconds a part → tenths


@pytest.fixture
def flags(checkpoints, dataset_path, tmp_path):
    return [
        "--checkpoint_dir",
        str(checkpoints),
        "--dataset_path",
        str(dataset_path),
        "--output_dir",
        str(tmp_path / "results"),
        "--device",
        "cpu",
    ]


def full_setting(checkpoints):
    return [
        "--method_name",
        "DINO+Point_MAE+Fusion",
        "--use_uff",
        "--memory_bank",
        "multiple",
        "--rgb_backbone_name",
        "vit_base_patch8_224_dino",
        "--xyz_backbone_name",
        "Point_MAE",
        "--fusion_module_path",
        str(checkpoints / "uff_pretrain.pth"),
    ]


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def copy_category(dataset_path, target, train=2, test=("good", "hole")):
    """A category of links to the fixture's files, one test part a folder."""
    for split, defect, count in [("train", "good", train), *(("test", d, 1) for d in test)]:
        for kind, suffix in (("rgb", "png"), ("xyz", "tiff"), ("gt", "png")):
            if split == "train" and kind == "gt":
                continue
            folder = target / split / defect / kind
            folder.mkdir(parents=True)
            for i in range(count):
                os.symlink(
                    dataset_path / "cookie" / split / defect / kind / f"{i:03d}.{suffix}", folder / f"{i:03d}.{suffix}"
                )
    return target


def test_defaults_once(checkpoints, flags, dataset_path, tmp_path):
    """One process that loads, train mode, 1024 groups of 128 points: what a user gets who sets nothing."""
    copy_category(dataset_path, tmp_path / "data" / "two", train=1)
    flags[flags.index(str(dataset_path))] = str(tmp_path / "data")
    assert main.main([*full_setting(checkpoints), *flags, "--category", "two", "--no_check"]) == 0
    run = json.loads((tmp_path / "results" / "run.json").read_text())
    options, two = run["options"], run["categories"]["two"]
    assert [options[name] for name in ("num_group", "group_size", "fix", "num_workers")] == [1024, 128, [], None]
    assert two["training_parts"] == 1 and two["test_parts"] == 2
    rows, columns = two["banks"]["xyz"]
    assert 50 < rows <= 1 + 313 and columns == 1152  # a tenth of 3136, less those that hold a zero, and one of zeros
    assert two["banks"]["rgb"] == [31, 768] and two["banks"]["fusion"] == [31, 1920]  # a tenth of the xyz bank's 313
    table = read_csv(tmp_path / "results" / "scores_two.csv")
    assert table[0][3:] == ["baseline", "bank_xyz", "bank_rgb", "bank_fusion"]
    assert [row[2] for row in table[1:]] == ["0", "1"]
    scores = np.array([[float(value) for value in row[3:]] for row in table[1:]])
    assert np.isfinite(scores).all() and (scores[0] != scores[1]).all() and (scores[:, 1:] > 0).all()


def test_released_command_with_the_flag(checkpoints, flags, tmp_path):
    command = [
        sys.executable,
        "main.py",
        *full_setting(checkpoints),
        *flags,
        *TINY,
        "--category",
        "cookie",
        "--scoring",
        "disagreement",
        "--save_preds",
        "--random_state",
        "0",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "it/s" not in done.stderr  # no bar where there is no terminal
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ") and "coordinate" not in line]
    assert warnings == []  # the fixture's clouds have points with x or y exactly 0
    results = tmp_path / "results"
    for name, title in (("image_rocauc", "Image ROCAUC"), ("pixel_rocauc", "Pixel ROCAUC"), ("aupro", "AU PRO")):
        text = (results / f"{name}_results.md").read_text()
        assert text in done.stdout and title in text
        rows = [
            [cell.strip() for cell in line.strip("|\n").split("|")]
            for line in text.splitlines()
            if line.startswith("|")
        ]
        assert rows[0] == ["Method", "Cookie", "Mean"]
        assert [row[0] for row in rows[2:]] == [
            "DINO+Point_MAE+Fusion",
            "DINO+Point_MAE+Fusion [disagreement]",
            "difference",
        ]
        assert float(rows[4][1]) == pytest.approx(float(rows[3][1]) - float(rows[2][1]), abs=1e-9)
    table = read_csv(results / "scores_cookie.csv")
    assert table[0] == ["path", "defect", "label", "baseline", "disagreement", "bank_xyz", "bank_rgb", "bank_fusion"]
    assert [row[0] for row in table[1:]] == list(fixture("full_eval_c32")["paths"])
    assert [int(row[2]) for row in table[1:]] == list(fixture("full_eval_c32")["image_labels"])
    assert all(np.isfinite([float(v) for v in row[3:]]).all() for row in table[1:])
    run = json.loads((results / "run.json").read_text())
    cookie = run["categories"]["cookie"]
    assert (
        cookie["training_parts"] == 4 and cookie["test_parts"] == 6 and run["failed"] == {} and run["device"] == "cpu"
    )
    assert set(cookie["metrics"]) == {"baseline", "disagreement"} and len(cookie["late_fusion_weights"]["score"]) == 3
    assert {"load networks", "memory bank", "coreset", "late fusion", "test", "metrics"} <= set(cookie["seconds"])
    assert run["peak_memory_mib"] > 100 and run["versions"]["torch"] and run["options"]["seed"] == 0
    pictures = sorted(p.relative_to(results).as_posix() for p in results.rglob("*.png"))
    assert pictures == [
        f"pred_maps/{path.replace('/test/', '/').replace('/rgb/', '/')}" for path in fixture("full_eval_c32")["paths"]
    ]
    with Image.open(results / pictures[0]) as picture:
        assert picture.size[0] > 1000
    assert not list(results.rglob("*.tmp"))


def test_one_failing_category_does_not_stop_the_others(checkpoints, flags, dataset_path, tmp_path, capsys):
    data = tmp_path / "data"
    copy_category(dataset_path, data / "first")
    broken = copy_category(dataset_path, data / "second") / "train/good/xyz/001.tiff"
    content = broken.read_bytes()
    broken.unlink()
    broken.write_bytes(content[: len(content) // 2])
    copy_category(dataset_path, data / "third")
    code = main.main(
        [
            "--method_name",
            "Point_MAE",
            *flags,
            *TINY,
            "--dataset_path",
            str(data),
            "--category",
            "first",
            "second",
            "third",
        ]
    )
    out, err = capsys.readouterr()
    assert code == 1
    assert "| First |" in " ".join(out.split()) and "Third" in out and "Second" not in out
    assert [line for line in err.splitlines() if line.startswith("not finished: second:") and str(broken) in line]
    results = tmp_path / "results"
    assert sorted(p.name for p in results.glob("scores_*.csv")) == ["scores_first.csv", "scores_third.csv"]
    run = json.loads((results / "run.json").read_text())
    assert set(run["categories"]) == {"first", "third"} and str(broken) in run["failed"]["second"]


@pytest.mark.parametrize("test, lacking", [(("good",), "defective"), (("hole",), "good")])
def test_a_split_with_one_label_only(checkpoints, flags, dataset_path, tmp_path, capsys, caplog, test, lacking):
    copy_category(dataset_path, tmp_path / "data" / "one", test=test)
    code = main.main(
        ["--method_name", "Point_MAE", *flags, *TINY, "--dataset_path", str(tmp_path / "data"), "--category", "one"]
    )
    out, _ = capsys.readouterr()
    assert code == 0 and f"no {lacking} part" in caplog.text
    assert "undefined" in (tmp_path / "results" / "image_rocauc_results.md").read_text()
    metrics = json.loads((tmp_path / "results" / "run.json").read_text())["categories"]["one"]["metrics"]["baseline"]
    assert metrics["image_rocauc"] is None and (metrics["au_pro"] is None) == (lacking == "defective")
    assert "nan" not in out


def test_a_full_disk_costs_pictures_not_results(checkpoints, flags, dataset_path, tmp_path, capsys, monkeypatch):
    copy_category(dataset_path, tmp_path / "data" / "one")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reports.pred_maps.save_pictures", full)
    code = main.main(
        [
            "--method_name",
            "Point_MAE",
            *flags,
            *TINY,
            "--dataset_path",
            str(tmp_path / "data"),
            "--category",
            "one",
            "--save_preds",
        ]
    )
    out, err = capsys.readouterr()
    assert code == 1 and "No space left" in err and "Traceback" not in err and str(tmp_path / "results") in err
    assert "One" in out and "One" in (tmp_path / "results" / "aupro_results.md").read_text()
    run = json.loads((tmp_path / "results" / "run.json").read_text())
    assert "one" in run["categories"] and "No space left" in run["failed"]["one: pictures"]


def test_fewer_points_than_groups_is_scored(checkpoints, flags, dataset_path, tmp_path, caplog):
    import tifffile

    category = copy_category(dataset_path, tmp_path / "data" / "few")
    path = category / "test/good/xyz/000.tiff"
    points = tifffile.imread(path)
    points[np.cumsum((points != 0).all(2).ravel()).reshape(points.shape[:2]) > 12] = 0
    path.unlink()
    tifffile.imwrite(path, points, photometric="rgb")
    code = main.main(
        ["--method_name", "Point_MAE", *flags, *TINY, "--dataset_path", str(tmp_path / "data"), "--category", "few"]
    )
    assert code == 0
    assert [r.getMessage() for r in caplog.records if str(path) in r.getMessage() and "say little" in r.getMessage()]
    scores = read_csv(tmp_path / "results" / "scores_few.csv")
    assert len(scores) == 3 and all(np.isfinite(float(row[3])) for row in scores[1:])


def test_seeds_saved_maps_and_rescoring(checkpoints, flags, dataset_path, tmp_path, capsys):
    from scoring.evaluation import read
    from tools import rescore

    copy_category(dataset_path, tmp_path / "data" / "cookie", test=("color", "good", "hole"))
    code = main.main(
        [
            *full_setting(checkpoints),
            *flags,
            *TINY,
            "--dataset_path",
            str(tmp_path / "data"),
            "--category",
            "cookie/",
            "--seeds",
            "0",
            "1",
            "--scoring",
            "all",
            "--save_maps",
            str(tmp_path / "maps"),
            "--save_train_maps",
            "--f_coreset",
            "0.05",
        ]
    )
    assert code == 0 and "mean ± standard deviation over seeds 0, 1" in (tmp_path / "results" / "seeds.md").read_text()
    runs = [json.loads((tmp_path / "results" / f"seed_{seed}" / "run.json").read_text()) for seed in (0, 1)]
    assert [run["seed"] for run in runs] == [0, 1]
    saved = read(tmp_path / "maps" / "seed_0" / "cookie.npz")
    table = read_csv(tmp_path / "results" / "seed_0" / "scores_cookie.csv")
    assert [*saved.path] == [row[0] for row in table[1:]] and [*saved.label] == [int(row[2]) for row in table[1:]]
    assert [*saved.decision_score] == [float(row[3]) for row in table[1:]]
    assert saved.untrained and saved.meta["training_parts"] == 2 and len(saved.training.decision_map) == 2
    assert (
        saved.picture.shape == (3, 224, 224, 3)
        and saved.mask.shape == (3, 224, 224)
        and saved.bank_map["xyz"].dtype == np.float32
    )
    capsys.readouterr()
    assert rescore.main([str(tmp_path / "maps" / "seed_0"), "-o", str(tmp_path / "tables")]) == 0
    out = capsys.readouterr().out
    assert "UNTRAINED" in out and "Run with f_coreset 0.05" in out and "Categories missing" in out
    for line in read_csv(tmp_path / "tables" / "table_8.csv")[1:]:
        scoring = {
            "released-code baseline": "baseline",
            "disagreement only": "disagreement_only",
            "disagreement + score calibration": "disagreement_base",
            "partial statistical calibration": "partial",
            "full statistical calibration": "full",
            "calibrated (ours)": "calibrated",
        }[line[0]]
        value = runs[0]["categories"]["cookie"]["metrics"][scoring][line[1]]
        assert float(line[2]) == value  # saved maps hold what the run scored


def test_interruption_keeps_what_is_finished(flags, dataset_path, tmp_path):
    names = [f"c{i}" for i in range(30)]
    for name in names:
        copy_category(dataset_path, tmp_path / "data" / name)
    command = [
        sys.executable,
        "main.py",
        "--method_name",
        "Point_MAE",
        *flags,
        *TINY,
        "--dataset_path",
        str(tmp_path / "data"),
        "--category",
        *names,
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 120
    while not (tmp_path / "results" / "scores_c0.csv").exists() and time.time() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "stopped by the user" in err and "Traceback" not in err
    assert "C0" in (tmp_path / "results" / "image_rocauc_results.md").read_text() and "C0" in out
    run = json.loads((tmp_path / "results" / "run.json").read_text())
    assert 1 <= len(run["categories"]) < 30 and "(interrupted)" in run["failed"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are seen through /proc")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, None])
def test_the_spool_is_gone_however_the_run_ends(flags, dataset_path, tmp_path, end):
    copy_category(dataset_path, tmp_path / "data" / "one", train=4)
    spool = tmp_path / "spool"
    command = [
        sys.executable,
        "-c",
        "import sys, main; from feature_extractors import features; features.IN_MEMORY = 0; "
        "sys.exit(main.main(sys.argv[1:]))",
        "--method_name",
        "Point_MAE",
        *flags,
        *TINY,
        "--dataset_path",
        str(tmp_path / "data"),
        "--category",
        "one",
        "--spool_dir",
        str(spool),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def spooled():
        try:
            files = Path(f"/proc/{process.pid}/fd")
            return any(os.readlink(fd).startswith(str(spool)) and os.stat(fd).st_size for fd in files.iterdir())
        except OSError:  # a file that was closed in between, or the process has ended
            return False

    while not spooled() and process.poll() is None:
        time.sleep(0.002)
    assert process.poll() is None, process.communicate()
    if end:
        process.send_signal(end)
    _, err = process.communicate(timeout=120)
    assert process.returncode == {None: 0, signal.SIGKILL: -9}.get(end, 1), err
    assert not list(spool.iterdir()) and "Traceback" not in err
