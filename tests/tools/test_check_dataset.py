"""The check of a data set: it reports what a run refuses, for every file, and its exit code says which."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.make_data import add_part, make_category, picture, points, spot
from tools import check_dataset

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def check(capfd):
    """Function: run the check in one process; returns (exit code, stdout, stderr)."""

    def run(*argv):
        return (check_dataset.main(["--workers", "1", *map(str, argv)]), *capfd.readouterr())

    return run


def cells(text, category):
    """{(split, defect): [cell]} of a category's table."""
    lines = text.split(f"## {category}\n")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {tuple(row[:2]): row[2:] for row in rows[2:]}


def found(text, kind):
    return [line for line in text.splitlines() if line.startswith(f"{kind}: ")]


def test_sound_data(tmp_path, check):
    make_category(tmp_path)
    cloud = points(60, 120)
    cloud[:, :30] = 0
    add_part(tmp_path, "train/good", "002", picture(60, 120), cloud.astype(np.float64))
    add_part(tmp_path, "validation/good")
    add_part(tmp_path, "extra/good")
    (tmp_path / "toy/train/good/rgb/._000.png").write_text("not a picture")  # macOS
    (tmp_path / "notes").mkdir()
    code, out, err = check(tmp_path)
    assert code == 0 and err == "" and found(out, "error") == found(out, "warning") == []
    assert out.splitlines()[-1] == "categories: 1; errors: 0; warnings: 0: ready to run"
    table = cells(out, "toy")
    counts, kinds = ["3", "3", "0"], ["60×75 RGB (2), 60×120 RGB (1)", "60×75 float32 (2), 60×120 float64 (1)"]
    assert table["train", "good"] == [*counts, *kinds]
    assert table["test", "hole"] == ["1", "1", "1", "60×75 RGB", "60×75 float32"]
    assert table["validation", "good"] == ["1", "1", "0", "60×75 RGB", "60×75 float32"]
    assert table["extra", "good"][:4] == ["1", "1", "0", "not read by a run"]
    assert list(table) == [*((s, "good") for s in ("train", "validation", "test")), ("test", "hole"), ("extra", "good")]


def test_every_file_is_named_not_only_the_first(tmp_path, check):
    folder = make_category(tmp_path)
    for name in ("001", "002", "003"):
        add_part(tmp_path, "test/hole", name, gt=spot())
    bad = [folder / f"train/good/{name}" for name in ("rgb/000.png", "xyz/000.tiff", "xyz/001.tiff")]
    bad.append(folder / "test/good/rgb/000.png")
    # all in a folder that does not pair
    bad += [folder / f"test/hole/{kind}" for kind in ("rgb/001.png", "xyz/002.tiff", "gt/003.png")]
    for path in bad:
        path.write_bytes(path.read_bytes()[:40])
    (folder / "test/hole/xyz/000.tiff").unlink()
    (folder / "test/hole/gt/002.png").unlink()
    missing = [folder / "test/hole/rgb/000.png", folder / "test/hole/rgb/002.png"]
    code, out, _ = check(tmp_path)
    assert code == 1
    errors = found(out, "error")
    assert len(errors) == len(bad + missing)
    assert all(sum(line.startswith(f"error: {path}: ") for line in errors) == 1 for path in bad + missing)
    assert out.splitlines()[-1].startswith("categories: 1; errors: 9; warnings: 0: ")


@pytest.mark.parametrize(
    "words", ["nowhere", "empty", "data/toy", "file", "data --dataset_type mvtec3d", "data --category x"]
)
def test_no_data_set(tmp_path, check, words):
    make_category(tmp_path / "data")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    path, *flags = words.split()
    code, out, err = check(tmp_path / path, *flags)
    named = "--category toy" if path == "data/toy" else words.split()[-1]
    assert code == 2 and out == "" and err.count("\n") == 1 and err.startswith("check_dataset.py: ") and named in err


def test_a_category_without_training_parts_is_an_error(tmp_path, check):
    make_category(tmp_path)
    add_part(tmp_path, "test/good", category="second")
    code, out, _ = check(tmp_path)
    assert code == 1 and [str(tmp_path / "second/train/good") in line for line in found(out, "error")] == [True]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_interrupted(tmp_path):
    make_category(tmp_path, "a")
    large = add_part(tmp_path, "train/good", "000", picture(1500, 1500), points(60, 60), category="b")
    for i in range(1, 3000):  # many names of one part: far more to read than the test waits for
        for path in large[:2]:
            os.link(path, path.with_stem(f"{i:04d}"))
    command, pipe = [sys.executable, "tools/check_dataset.py", str(tmp_path)], subprocess.PIPE
    utf8 = {"encoding": "utf-8", "env": {**os.environ, "PYTHONIOENCODING": "utf-8"}}
    process = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, **utf8)
    while "| test" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    start = time.time()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "## b" not in out
    assert err.splitlines() == ["check_dataset.py: interrupted; categories not shown were not checked"]
    assert time.time() - start < 20
