"""Each data set's way: generated download → preprocessing → check → run with both scorings → the paper's
tables; and the demo's commands."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import main
from lab import demo
from lab.make_downloads import make_eyecandies, make_mvtec3d, make_realiad_d3
from scoring.evaluation import read
from tests.command_lines import TINY, full_setting, read_csv
from tools import check_dataset, rescore
from utils import preprocess_eyecandies, preprocess_realiad_d3, preprocessing

WAYS = {
    "mvtec3d": (
        lambda src: make_mvtec3d(src, "dowel", (400, 400)),
        "dowel",
        lambda src, dst: preprocessing.main([str(src), "-o", str(dst), "--workers", "1"]),
        [0, 1],
        4,
    ),
    "eyecandies": (
        lambda src: make_eyecandies(src, "Candy Cane", 512),
        "CandyCane",
        lambda src, dst: preprocess_eyecandies.main(
            ["--dataset_path", str(src), "--target_dir", str(dst), "--workers", "1"]
        ),
        [1, 0],
        5,
    ),
    "realiad_d3": (
        lambda src: make_realiad_d3(src, "Knob_Cap", (120, 160), (120, 160)),
        "knob-cap",
        lambda src, dst: preprocess_realiad_d3.main([str(src), "-o", str(dst), "--workers", "1"]),
        [0, 1, 1],
        6,
    ),
}


@pytest.mark.parametrize("kind", WAYS)
def test_from_download_to_table(checkpoints, tmp_path, capsys, kind):
    make, category, preprocess, labels, table = WAYS[kind]
    make(tmp_path / "src")
    assert preprocess(tmp_path / "src", tmp_path / "data") == 0
    assert check_dataset.main([str(tmp_path / "data"), "--workers", "1"]) == 0
    assert "errors: 0; warnings: 0" in capsys.readouterr().out
    asked = category.upper().replace("-", " ")  # any spelling finds it
    code = main.main(
        [
            *full_setting(checkpoints),
            "--checkpoint_dir",
            str(checkpoints),
            "--device",
            "cpu",
            *TINY,
            "--f_coreset",
            "0.2",
            "--dataset_type",
            kind,
            "--dataset_path",
            str(tmp_path / "data"),
            "--category",
            asked,
            "--scoring",
            "disagreement",
            "--output_dir",
            str(tmp_path / "results"),
            "--save_maps",
            str(tmp_path / "maps"),
        ]
    )
    assert code == 0, capsys.readouterr().err
    metrics = json.loads((tmp_path / "results" / "run.json").read_text())["categories"][category]["metrics"]
    assert set(metrics) == {"baseline", "disagreement"} and all(
        0 <= value <= 1 for m in metrics.values() for value in m.values()
    )
    assert [int(row[2]) for row in read_csv(tmp_path / "results" / f"scores_{category}.csv")[1:]] == labels
    saved = read(tmp_path / "maps" / f"{category}.npz")
    defective = [i for i, label in enumerate(labels) if label]
    for i in defective:
        path = tmp_path / "data" / saved.path[i].replace("/rgb/", "/gt/")
        mask = Image.open(path).resize((224, 224), Image.NEAREST)
        assert np.array_equal(saved.mask[i] > 0, np.asarray(mask) > 127) and 0.005 < (saved.mask[i] > 0).mean() < 0.5
    assert not saved.mask[[i for i, label in enumerate(labels) if not label]].any()
    assert rescore.main([str(tmp_path / "maps"), "-o", str(tmp_path / "tables")]) == 0
    rows = {(row[0], row[1]): row for row in read_csv(tmp_path / "tables" / f"table_{table}.csv")[1:]}
    for row, scoring in (("released-code baseline", "baseline"), ("proposed add-on", "disagreement")):
        for metric in ("image_rocauc", "pixel_rocauc", "au_pro"):
            assert float(rows[row, metric][2]) == metrics[scoring][metric]  # saved maps hold what the run scored


def test_the_demo_runs_every_command_of_the_way(tmp_path, monkeypatch, capfd):
    seen = []

    def run(words):
        seen.append(words[1:])
        return subprocess.CompletedProcess(words, 3 if "rescore" in words[1] else 0)

    monkeypatch.setattr(demo.subprocess, "run", run)
    assert demo.main([str(tmp_path / "my demo"), "--full"]) == 3  # the first failure ends it
    out, err = capfd.readouterr()
    assert "exit code 3" in err and f"$ python lab/make_demo.py '{tmp_path / 'my demo'}'" in out
    tools = [Path(words[0]).name for words in seen]
    assert tools == [
        *["make_demo.py", "make_line.py", "main.py", "predict.py", *["report.py"] * demo.has_lite0()],
        *["make_demo.py", "main.py"],
        "make_camera.py",
        *["import_parts.py"] * 3,
        *["check_dataset.py", "main.py"],
        "make_downloads.py",
        "preprocessing.py",
        "preprocess_eyecandies.py",
        "preprocess_realiad_d3.py",
        *["check_dataset.py", "main.py"] * 3,
        "rescore.py",
    ]
    flags = {}
    for words in seen:
        flags.setdefault(words[0], set()).update(word for word in words[1:] if word.startswith("-"))
    for program, asked in flags.items():  # every flag is one that its program has
        help_text = subprocess.Popen(
            [sys.executable, program, "--help"], stdout=subprocess.PIPE, text=True
        ).communicate()[0]
        assert not [flag for flag in asked if flag not in help_text], program
