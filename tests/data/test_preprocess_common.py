"""What the preprocessing commands share: processes, interruption, resuming, refusals, failures while writing."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data import conversion
from tests.downloads import make_eyecandies, make_mvtec3d, make_realiad_d3
from utils import preprocess_eyecandies, preprocess_realiad_d3, preprocessing

ROOT = Path(__file__).resolve().parents[2]


def snapshot(folder):
    """{path: (bytes, time of the last change)} of all files under ``folder``."""
    return {
        p.relative_to(folder).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def content(folder):
    """{path: bytes} of the samples under ``folder``."""
    return {path: data for path, (data, _) in snapshot(folder).items() if path.endswith((".png", ".tiff"))}


COMMANDS = [  # how a download is made, the command, its arguments
    (make_mvtec3d, preprocessing, ("{}", "-o", "{}")),
    (make_eyecandies, preprocess_eyecandies, ("--dataset_path", "{}", "--target_dir", "{}")),
    (make_realiad_d3, preprocess_realiad_d3, ("{}", "-o", "{}")),
]


def test_processes_write_the_same_bytes(tmp_path):
    make_mvtec3d(tmp_path / "src", "bagel", train=4)
    for workers in (1, 2):
        flags = tmp_path / "src", "-o", tmp_path / str(workers), "--workers", workers
        words = [sys.executable, str(ROOT / "utils/preprocessing.py"), *map(str, flags)]
        done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "samples written, 0 were there, 0 failed" in done.stdout and not done.stderr
    assert content(tmp_path / "1") == content(tmp_path / "2") and len(content(tmp_path / "1")) > 8


@pytest.mark.parametrize("workers, number", [(1, signal.SIGINT), (2, signal.SIGTERM)])
def test_a_stopped_run_goes_on(tmp_path, capsys, workers, number):
    """Stopped after its first samples it leaves only whole ones and no temporary file; the next run writes just the
    others."""
    make_mvtec3d(tmp_path / "src", "bagel", (200, 200), train=9)
    command = [str(tmp_path / "src"), "-o", str(tmp_path / "out"), "--workers", str(workers)]
    words, pipe = [sys.executable, str(ROOT / "utils" / "preprocessing.py"), *command], subprocess.PIPE
    process = subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    deadline = time.time() + 60
    while not list(tmp_path.glob("out/bagel/*/*/rgb/*.png")) and time.time() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, number)  # the whole group, as Ctrl-C at a terminal does
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "interrupted" in err and "Traceback" not in err
    record = tmp_path / "out/preprocessing.json"
    assert not list(tmp_path.rglob("*.tmp")) and json.loads(record.read_text())["state"] == "interrupted"
    before = snapshot(tmp_path / "out")
    done = len([path for path in before if "/rgb/" in path])
    assert 1 <= done < 12
    assert preprocessing.main(command) == 0
    assert f"{12 - done} samples written, {done} were there" in capsys.readouterr().out
    after = snapshot(tmp_path / "out")
    assert all(after[path] == before[path] for path in before if "/rgb/" in path)
    assert json.loads(after["preprocessing.json"][0])["counts"] == {"written": 12 - done, "skipped": done, "failed": 0}
    assert preprocessing.main(command) == 0 and snapshot(tmp_path / "out") == after
    assert preprocessing.main([*command[:2], str(tmp_path / "clean"), "--workers", "1"]) == 0
    assert content(tmp_path / "clean") == content(tmp_path / "out")


def test_a_full_disk_fails_samples_not_the_run(tmp_path, monkeypatch, capsys):
    make_realiad_d3(tmp_path / "src", train=4)
    command = [str(tmp_path / "src"), "-o", str(tmp_path / "out"), "--workers", "1"]
    write, calls = conversion.tifffile.imwrite, []

    def full(path, *args, **kwargs):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *args, **kwargs)

    monkeypatch.setattr(conversion.tifffile, "imwrite", full)
    record = tmp_path / "out/preprocessing.json"
    assert preprocess_realiad_d3.main(command) == 1
    err = capsys.readouterr().err
    assert err.count("No space left on device") == 1 and str(tmp_path / "out") in err
    assert not list(tmp_path.rglob("*.tmp")) and json.loads(record.read_text())["counts"]["failed"] == 1
    assert preprocess_realiad_d3.main(command) == 0 and json.loads(record.read_text())["failures"] == {}


@pytest.mark.parametrize("make, module, flags", COMMANDS)
def test_refusals(tmp_path, capsys, make, module, flags):
    """One line and exit code 2, before anything is written."""
    category = make(tmp_path / "src")
    (tmp_path / "empty").mkdir()
    for sign in "-_":
        (tmp_path / "twice" / (category.name + sign)).mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    before = snapshot(tmp_path)
    for source, out, extra, text in (
        ("nowhere", "out", (), "missing folder"),
        ("empty", "out", (), "none of the data set's categories"),
        ("twice", "out", (), f"all answer to the category {category.name}"),
        (f"src/{category.name}", "out", (), "none of the data set's categories|is a category itself"),
        ("src", "src", (), "into the download"),
        ("src", f"src/{category.name}/new", (), "into the download"),
        ("src", "out", ("--categories", "nothing"), "--category"),
        ("src", "file", (), "cannot be written"),
    ):
        places = iter((tmp_path / source, tmp_path / out))
        words = [str(next(places)) if word == "{}" else word for word in flags]
        assert module.main([*words, *extra]) == 2, text
        err = capsys.readouterr().err
        assert re.search(text, err) and err.count("\n") == 1 and "Traceback" not in err
    assert snapshot(tmp_path) == before


def test_named_categories_and_other_options_in_one_folder(tmp_path, capsys):
    """Failures of categories that are not in a run stay on record; options that change the result are not mixed."""
    for name in ("bagel", "Cable Gland", "my_part"):
        make_mvtec3d(tmp_path / "src", name, train=1, validation=0, defects=())
    (tmp_path / "src" / "bagel" / "train" / "good" / "xyz" / "000.tiff").unlink()
    command = [str(tmp_path / "src"), "-o", str(tmp_path / "out"), "--workers", "1"]
    assert preprocessing.main([*command, "--categories", "bagel"]) == 1
    assert preprocessing.main([*command, "--categories", "CABLE-gland", "My-Part/"]) == 0
    names = ["bagel", "cable_gland", "my_part", "preprocessing.json"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
    record = json.loads((tmp_path / "out" / "preprocessing.json").read_text())
    assert list(record["failures"]) == ["bagel/train/good/000"]
    capsys.readouterr()
    assert preprocessing.main([*command, "--seed", "1"]) == 2 and "--seed 0" in capsys.readouterr().err
    make_eyecandies(tmp_path / "candies", train=1, test=())
    words = ["--dataset_path", str(tmp_path / "candies"), "--target_dir", str(tmp_path / "out")]
    assert preprocess_eyecandies.main(words) == 2
    assert "preprocessing.py" in capsys.readouterr().err


def test_a_killed_worker_is_reported(tmp_path):
    """A process that the system kills, for want of memory, say, fails what is left in one line each; nothing hangs."""
    jobs = [conversion.Job(f"a/{i}", tmp_path / str(i), die) for i in range(3)]
    outcome = conversion.run_jobs(jobs, 2)
    assert set(outcome.failed) == {"a/0", "a/1", "a/2"}
    assert all("fewer --workers" in text for text in outcome.failed.values())


def die():
    """A job's work."""
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
