"""The check of a data set: it reports what a run refuses, for every file, and its exit code says which."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from dataset import TestDataset, TrainDataset
from tests.make_data import add_part, make_category, picture, points, spot, write_png, write_tiff
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
    part = text.split(f"## {category}\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("|")
    ][2:]
    return {tuple(row[:2]): row[2:] for row in rows}


def found(text, kind):
    return [line for line in text.splitlines() if line.startswith(f"{kind}: ")]


def test_sound_data(tmp_path, check):
    make_category(tmp_path)
    cloud = points(60, 120)
    cloud[:, :30] = 0
    add_part(tmp_path, "train/good", "002", picture(60, 120), cloud.astype(np.float64))
    add_part(tmp_path, "validation/good")
    (tmp_path / "toy/train/good/rgb/._000.png").write_text("not a picture")  # macOS
    (tmp_path / "notes").mkdir()
    code, out, err = check(tmp_path)
    assert code == 0 and err == "" and found(out, "error") == found(out, "warning") == []
    assert out.splitlines()[-1] == "categories: 1; errors: 0; warnings: 0: ready to run"
    assert "valid share at 224×224" in out
    table = cells(out, "toy")
    assert table["train", "good"] == [
        "3",
        "3",
        "0",
        "60×75 RGB (2), 60×120 RGB (1)",
        "60×75 float32 (2), 60×120 float64 (1)",
        "0.750 / 1.000 / 1.000",
        "0",
    ]
    assert table["test", "hole"] == ["1", "1", "1", "60×75 RGB", "60×75 float32", "1.000 / 1.000 / 1.000", "0"]
    assert table["validation", "good"][:4] == ["1", "1", "0", "not read by a run"]
    assert list(table) == [("train", "good"), ("test", "good"), ("test", "hole"), ("validation", "good")]


def no_gt(folder):
    add_part(folder.parent, "test/hole", "001", gt=spot())
    (folder / "test/hole/gt/000.png").unlink()


def truncate(path, kept=60):
    path.write_bytes(path.read_bytes()[:kept])


BREAKS = {  # what is broken → the path under the category that an error has to name
    "train missing": (lambda f: (f / "train").rename(f / "elsewhere"), "train/good"),
    "train empty": (lambda f: [p.unlink() for p in f.glob("train/good/*/*")], "train/good/rgb"),
    "test missing": (lambda f: (f / "test").rename(f / "elsewhere"), "test"),
    "defect folder without pictures": (lambda f: [p.unlink() for p in f.glob("test/hole/rgb/*")], "test/hole/rgb"),
    "picture truncated": (lambda f: truncate(f / "train/good/rgb/001.png"), "train/good/rgb/001.png"),
    "picture empty": (lambda f: truncate(f / "test/good/rgb/000.png", 0), "test/good/rgb/000.png"),
    "tiff truncated": (lambda f: truncate(f / "train/good/xyz/000.tiff", 900), "train/good/xyz/000.tiff"),
    "tiff of integers": (
        lambda f: write_tiff(f / "test/hole/xyz/000.tiff", np.ones((60, 75, 3), np.uint16)),
        "test/hole/xyz/000.tiff",
    ),
    "tiff of two channels": (
        lambda f: write_tiff(f / "test/hole/xyz/000.tiff", points()[..., :2].copy()),
        "test/hole/xyz/000.tiff",
    ),
    "no valid point": (
        lambda f: write_tiff(f / "test/good/xyz/000.tiff", np.zeros((60, 75, 3), np.float32)),
        "test/good/xyz/000.tiff",
    ),
    "all NaN": (
        lambda f: write_tiff(f / "train/good/xyz/001.tiff", np.full((60, 75, 3), np.nan, np.float32)),
        "train/good/xyz/001.tiff",
    ),
    "mask truncated": (lambda f: truncate(f / "test/hole/gt/000.png", 40), "test/hole/gt/000.png"),
    "a mask missing": (no_gt, "test/hole/gt"),
    "no tiff": (lambda f: (f / "train/good/xyz/001.tiff").unlink(), "train/good/rgb/001.png"),
    "tiff of another name": (
        lambda f: (f / "train/good/xyz/001.tiff").rename(f / "train/good/xyz/003.tiff"),
        "train/good/xyz/003.tiff",
    ),
}


def few_points():
    """900 of 60×75 points."""
    cloud = np.zeros((60, 75, 3), np.float32)
    cloud[10:22] = points()[10:22]
    return cloud


HARMLESS = {  # what a run takes, and what the warning has to name
    "good mask truncated": (lambda f: truncate(f / "test/good/gt/000.png", 40), "test/good/gt/000.png"),
    "good mask full": (lambda f: write_png(f / "test/good/gt/000.png", spot()), "test/good/gt/000.png"),
    "defect mask empty": (lambda f: write_png(f / "test/hole/gt/000.png", spot() * 0), "test/hole/gt/000.png"),
    "defect mask lost in resizing": (
        lambda f: write_png(f / "test/hole/gt/000.png", np.pad(np.uint8([[255]]), ((400, 399), (500, 499)))),
        "test/hole/gt/000.png",
    ),
    "few points": (lambda f: write_tiff(f / "train/good/xyz/000.tiff", few_points()), "train/good/xyz/000.tiff"),
    "a NaN": (
        lambda f: write_tiff(
            f / "train/good/xyz/000.tiff", np.where(np.arange(75)[:, None] < 1, np.float32(np.nan), points())
        ),
        "train/good/xyz/000.tiff",
    ),
    "another aspect": (lambda f: write_png(f / "train/good/rgb/000.png", picture(75, 75)), "train/good/rgb/000.png"),
    "another kind of file": (lambda f: (f / "train/good/rgb/notes.jpg").write_text("x"), "notes.jpg"),
    "no good test part": (lambda f: (f / "test/good").rename(f / "elsewhere"), "no good part"),
    "no defective test part": (lambda f: (f / "test/hole").rename(f / "elsewhere"), "no defective part"),
}


def run_refuses(root):
    """Whether reading everything as a run does is refused."""
    try:
        for kind in (TrainDataset, TestDataset):
            for item in kind("toy", 224, root, 1024):
                assert item
    except InputError:
        return True
    return False


@pytest.mark.parametrize("name", BREAKS)
def test_what_a_run_refuses_is_an_error(tmp_path, check, name):
    change, named = BREAKS[name]
    change(make_category(tmp_path))
    assert run_refuses(tmp_path)
    code, out, _ = check(tmp_path)
    assert code == 1 and [line for line in found(out, "error") if str(tmp_path / "toy" / named) in line]
    assert "errors: 0;" not in out.splitlines()[-1] and "ready" not in out.splitlines()[-1]


@pytest.mark.parametrize("name", HARMLESS)
def test_what_a_run_takes_is_a_warning(tmp_path, check, name):
    change, named = HARMLESS[name]
    change(make_category(tmp_path))
    assert not run_refuses(tmp_path)
    code, out, _ = check(tmp_path)
    assert code == 0 and found(out, "error") == []
    (line,) = found(out, "warning")
    assert named in line and str(tmp_path) in line


def test_every_file_is_named_not_only_the_first(tmp_path, check):
    folder = make_category(tmp_path)
    for name in ("001", "002", "003"):
        add_part(tmp_path, "test/hole", name, gt=spot())
    bad = [
        folder / "train/good/rgb/000.png",
        folder / "train/good/xyz/000.tiff",
        folder / "train/good/xyz/001.tiff",
        folder / "test/good/rgb/000.png",
    ]
    bad += [
        folder / f"test/hole/{kind}" for kind in ("rgb/001.png", "xyz/002.tiff", "gt/003.png")
    ]  # all in a folder that does not pair
    for path in bad:
        truncate(path, 40)
    (folder / "test/hole/xyz/000.tiff").unlink()
    (folder / "test/hole/gt/002.png").unlink()
    missing = [folder / "test/hole/rgb/000.png", folder / "test/hole/rgb/002.png"]
    code, out, _ = check(tmp_path)
    assert code == 1
    errors = found(out, "error")
    assert len(errors) == len(bad + missing)
    assert all(sum(line.startswith(f"error: {path}: ") for line in errors) == 1 for path in bad + missing)
    assert out.splitlines()[-1].startswith("categories: 1; errors: 9; warnings: 0: ")


def test_different_names_pair_by_position(tmp_path, check):
    folder = make_category(tmp_path)
    for path in folder.glob("*/*/xyz/*.tiff"):
        path.rename(path.with_stem(f"x_{path.stem}"))
    assert check(tmp_path)[0] == 0 and not run_refuses(tmp_path)


def test_points_are_counted_at_the_runs_size(tmp_path, check):
    make_category(tmp_path)
    cloud = np.zeros((224, 224, 3), np.float32)
    cloud[::4, ::4] = points(56, 56)  # 3136 points at 224, all of them at 56, which is 3136 too
    add_part(tmp_path, "train/good", "002", picture(224, 224), cloud)
    for size, groups, share, below in ((224, 3137, "0.062", "1"), (224, 3136, "0.062", "0"), (56, 1024, "1.000", "0")):
        code, out, _ = check(tmp_path, "--img_size", size, "--num_group", groups)
        row = cells(out, "toy")["train", "good"]
        assert code == 0 and row[5].split(" / ")[0] == share and f"valid share at {size}×{size}" in out
        if size == 224:
            assert row[6] == below and len(found(out, "warning")) == int(below)


def test_official_list(tmp_path, check):
    for name in ("Knob Cap", "limit_switch"):
        make_category(tmp_path, name)
    code, out, _ = check(tmp_path, "--dataset_type", "realiad_d3")
    assert (
        code == 1 and len(found(out, "error")) == 18 and "## Knob Cap\n" in out and "categories: 2; errors: 18;" in out
    )
    code, out, _ = check(tmp_path, "--dataset_type", "realiad_d3", "--category", "knob-cap", "KNOB_CAP")
    assert code == 0 and "categories: 1;" in out and "limit" not in out


@pytest.mark.parametrize(
    "flags, named",
    [
        (["nowhere"], "nowhere"),
        (["empty"], "empty"),
        (["data/toy"], "--category toy"),
        (["file"], "file"),
        (["data", "--dataset_type", "mvtec3d"], "mvtec3d"),
        (["data", "--category", "x"], "x"),
    ],
)
def test_no_data_set(tmp_path, check, flags, named):
    make_category(tmp_path / "data")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    code, out, err = check(tmp_path / flags[0], *flags[1:])
    assert (
        code == 2 and out == "" and len(err.splitlines()) == 1 and err.startswith("check_dataset.py: ") and named in err
    )


def test_a_category_without_training_parts_is_an_error(tmp_path, check):
    make_category(tmp_path)
    add_part(tmp_path, "test/good", category="second")
    code, out, _ = check(tmp_path)
    assert code == 1 and [str(tmp_path / "second/train/good") in line for line in found(out, "error")] == [True]


def test_command_with_two_processes(tmp_path):
    """As typed; the same findings in the same order as with one process, no bar where there is no terminal."""
    folder = make_category(tmp_path)
    for i in range(12):
        add_part(tmp_path, "test/cut", f"{i:03d}", gt=spot())
        if i % 3 == 0:
            truncate(folder / f"test/cut/xyz/{i:03d}.tiff", 30)
    done = [
        subprocess.run(
            [sys.executable, "tools/check_dataset.py", str(tmp_path), "--workers", n],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            encoding="utf-8",
        )
        for n in ("1", "2")
    ]
    assert (
        [d.returncode for d in done] == [1, 1]
        and done[0].stdout == done[1].stdout
        and done[0].stderr == done[1].stderr == ""
    )
    assert len(found(done[0].stdout, "error")) == 4


def test_a_reader_who_has_seen_enough(tmp_path):
    make_category(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "tools/check_dataset.py", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.wait(timeout=60) == 1 and process.stderr.read() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path, kind):
    make_category(tmp_path, "a")
    large = add_part(tmp_path, "train/good", "000", picture(1500, 1500), points(60, 60), category="b")
    for i in range(1, 3000):  # many names of one part: far more to read than the test waits for
        for path in large[:2]:
            os.link(path, path.with_stem(f"{i:04d}"))
    process = subprocess.Popen(
        [sys.executable, "tools/check_dataset.py", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    while "| test" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.2)
    process.send_signal(kind)
    start = time.time()
    out, err = process.communicate(timeout=60)
    assert (
        process.returncode == 1
        and "## b" not in out
        and err.splitlines() == ["check_dataset.py: interrupted; categories not shown were not checked"]
    )
    assert time.time() - start < 20
