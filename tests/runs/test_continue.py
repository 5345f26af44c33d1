"""The same command again continues; kills, signals, two processes and full disks lose nothing."""

import contextlib
import csv
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import main
from common import progress
from common.files import host, remove_leftovers
from runs import runs
from tests.runs.test_end_to_end import TINY, copy_category, flags  # noqa: F401 (flags is a fixture)

DRIVER = Path(__file__).parents[1] / "driver.py"
POINT_MAE = ["--method_name", "Point_MAE", *TINY, "--random_state", "0", "--scoring", "all"]
TABLES = ("image_rocauc_results.md", "pixel_rocauc_results.md", "aupro_results.md")


class Driver:
    """Runs of main.py in processes that need not import torch anew."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, argv, log, kill_at=None):
        """Begin a run; returns its process id."""
        self.process.stdin.write(json.dumps({"argv": list(map(str, argv)), "log": str(log), "kill_at": kill_at}) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self):
        """Wait for the run's exit code; -9 where it was killed."""
        return int(self.process.stdout.readline().split()[1])

    def run(self, argv, log, kill_at=None):
        self.start(argv, log, kill_at)
        return self.end()


@pytest.fixture(scope="module")
def driver():
    driver = Driver()
    yield driver
    driver.process.stdin.close()
    driver.process.wait(30)


@pytest.fixture
def data(dataset_path, tmp_path):
    for name, train in (("one", 2), ("two", 3)):
        copy_category(dataset_path, tmp_path / "data" / name, train=train)
    return tmp_path / "data"


def tables(folder):
    """The tables' lines but for the comments, which hold the date."""
    return {
        name: [line for line in (folder / name).read_text().splitlines() if not line.startswith("<!--")]
        for name in TABLES
    }


def outcome(folder):
    """Everything that a run is for: tables, scores, metrics."""
    categories = json.loads((folder / "run.json").read_text())["categories"]
    return (
        tables(folder),
        {path.name: path.read_text() for path in sorted(folder.glob("scores_*.csv"))},
        {name: (entry["metrics"], entry["banks"]) for name, entry in categories.items()},
    )


def test_ten_kills_end_in_the_same_results(driver, flags, data, tmp_path):  # noqa: F811
    command = [*flags, *POINT_MAE, "--dataset_path", data, "--category", "one", "two"]
    whole, killed, log = tmp_path / "whole", tmp_path / "killed", tmp_path / "log"
    start = time.monotonic()
    assert driver.run([*command, "--output_dir", whole], log) == 0, log.read_text()
    duration = time.monotonic() - start
    draw, kills, missed = random.Random(0), 0, 1
    while kills < 10:
        assert missed < 30, log.read_text()
        records = list((killed / "runs").glob("*/*-*.json"))
        if len(records) == 2:  # else there would be nothing left to kill
            draw.choice(records).unlink()
        if draw.random() < 0.5:  # while files are written
            code = driver.run([*command, "--output_dir", killed], log, kill_at=draw.randint(1, 8))
        else:  # sooner where earlier ones came too late
            process = driver.start([*command, "--output_dir", killed], log)
            time.sleep(draw.uniform(0.05, 0.9) * duration / missed)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            code = driver.end()
        kills, missed = kills + (code == -9), missed + (code != -9)
    assert driver.run([*command, "--output_dir", killed], log) == 0, log.read_text()
    assert outcome(killed) == outcome(whole)
    assert not list(killed.rglob("*.tmp"))


def test_the_same_command_again_keeps_everything(flags, data, tmp_path, capsys):  # noqa: F811
    command = [*flags, *POINT_MAE, "--dataset_path", str(data), "--category", "one"]
    results = tmp_path / "results"
    assert main.main(command) == 0
    first, text = outcome(results), {name: (results / name).read_text() for name in TABLES}
    printed = capsys.readouterr().out
    assert main.main(command) == 0
    out = capsys.readouterr().out
    assert "one: kept, finished" in out and "complete already" in out and "--overwrite" in out
    assert [line for line in printed.splitlines() if line.startswith("|")] == [
        line for line in out.splitlines() if line.startswith("|")
    ]
    assert outcome(results) == first and {name: (results / name).read_text() for name in TABLES} == text
    # another category: its own table, the finished one is kept in it
    assert main.main([*command, "two"]) == 0
    out = capsys.readouterr().out
    assert "one: kept" in out and "two: Point_MAE" in out and "complete already" not in out
    assert (results / TABLES[0]).read_text().startswith(text[TABLES[0]]) and "Two |" in (
        results / TABLES[0]
    ).read_text()
    # other options: another id, nothing of the first is touched
    before = {path: path.read_bytes() for path in (results / "runs").rglob("*") if path.is_file()}
    assert main.main([*command, "--f_coreset", "0.3"]) == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    assert len([p for p in (results / "runs").iterdir() if p.is_dir()]) == 2
    assert "f_coreset=0.3" in (results / TABLES[0]).read_text().split("<!-- run")[-1]
    # anew: one more table, the earlier ones stay
    before = (results / TABLES[0]).read_text()
    capsys.readouterr()
    assert main.main([*command, "--overwrite"]) == 0
    assert "kept" not in capsys.readouterr().out
    assert (results / TABLES[0]).read_text().startswith(before) and (results / TABLES[0]).read_text().count(
        "<!-- run"
    ) == 4


def test_changed_data_or_weights_are_computed_again(flags, data, checkpoints, tmp_path, capsys):  # noqa: F811
    import shutil

    own = tmp_path / "checkpoints"
    own.mkdir()
    shutil.copy(checkpoints / "pointmae_pretrain.pth", own)
    command = [*flags, *POINT_MAE, "--dataset_path", str(data), "--category", "one", "--checkpoint_dir", str(own)]
    assert main.main(command) == 0
    run = json.loads((tmp_path / "results" / "run.json").read_text())
    (weights,) = run["weights"]
    assert (
        weights["standin"] and weights["source"] == "file" and len(weights["sha256"]) == 64 and weights["size"] > 10**6
    )
    assert weights["path"] == str(own / "pointmae_pretrain.pth")
    link = data / "one" / "train" / "good" / "xyz" / "000.tiff"
    content = link.resolve().read_bytes()
    link.unlink()
    link.write_bytes(content)
    capsys.readouterr()
    assert main.main(command) == 0 and "kept" not in capsys.readouterr().out
    from lab.standin_checkpoints import write_checkpoints

    (own / "pointmae_pretrain.pth").unlink()
    write_checkpoints(own, ["point_mae"], 1)
    assert main.main(command) == 0 and "kept" not in capsys.readouterr().out
    assert main.main(command) == 0 and "kept" in capsys.readouterr().out


def test_pictures_that_are_asked_for_later_are_made(flags, data, tmp_path, capsys):  # noqa: F811
    command = [*flags, *POINT_MAE, "--dataset_path", str(data), "--category", "one"]
    assert main.main(command) == 0
    assert main.main([*command, "--save_preds"]) == 0
    assert (
        "its pictures are not there" in capsys.readouterr().out
        and len(list((tmp_path / "results").rglob("*.png"))) == 2
    )
    assert main.main([*command, "--save_preds"]) == 0 and "one: kept" in capsys.readouterr().out
    assert main.main([*command, "--save_preds", "--f_coreset", "0.3"]) == 0  # other pictures lie there now
    capsys.readouterr()
    assert main.main([*command, "--save_preds"]) == 0 and "pictures are not there" in capsys.readouterr().out


def test_a_stopped_run_keeps_the_record_of_an_earlier_one(driver, flags, data, tmp_path):  # noqa: F811
    command = [*flags, *POINT_MAE, "--dataset_path", data, "--category", "one", "two"]
    log = tmp_path / "log"
    assert driver.run(command, log) == 0
    results = tmp_path / "results"
    record = (results / "run.json").read_bytes()
    process = driver.start([*command, "--f_coreset", "0.3"], log)
    while "one: baseline" not in log.read_text().split("complete", 1)[-1].split("two: pixel_topk")[-1]:
        time.sleep(0.02)
    os.kill(process, signal.SIGTERM)
    assert driver.end() == 1
    assert (results / "run.json").read_bytes() == record
    text = log.read_text()
    assert "stopped by the user" in text and "two" in text.split("stopped by the user")[1]
    assert "f_coreset=0.3" in (results / TABLES[0]).read_text()  # what was finished has its table
    assert driver.run([*command, "--f_coreset", "0.3"], log) == 0
    assert json.loads((results / "run.json").read_text())["options"]["f_coreset"] == 0.3
    assert set(json.loads((results / "run.json").read_text())["categories"]) == {"one", "two"}


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_changes_nothing_but_patience(driver, flags, data, tmp_path, second):  # noqa: F811
    log = tmp_path / "log"
    process = driver.start(
        [*flags, *POINT_MAE, "--dataset_path", data, "--category", "one", "two", "--num_workers", "1"], log
    )
    while not log.exists() or "one: baseline" not in log.read_text():
        time.sleep(0.02)
    os.killpg(process, signal.SIGINT)  # with its worker, as Ctrl-C in a terminal does
    for _ in range(3):
        time.sleep(0.01)
        try:
            os.kill(process, second)
        except ProcessLookupError:
            break
    assert driver.end() == 1
    text = log.read_text()
    assert (
        "Traceback" not in text and "stopped by the user; the finished categories are kept; not finished: two" in text
    )
    assert "One |" in (tmp_path / "results" / TABLES[0]).read_text()
    assert json.loads((tmp_path / "results" / "run.json").read_text())["categories"].keys() == {"one"}


# ---------------------------------------------------------------- two processes


def hold(unit, ready, stop):
    with unit.lock():
        ready.set()
        stop.wait()


def test_the_same_category_is_refused_while_another_process_has_it(flags, data, tmp_path, capsys, monkeypatch):
    command = [*flags, *POINT_MAE, "--dataset_path", str(data)]
    assert main.main([*command, "--category", "one", "two"]) == 0
    for path in (tmp_path / "results" / "runs").glob("*/*.json"):
        path.unlink()
    (lock,) = (tmp_path / "results" / "runs").glob("*/.one-*.lock")
    category, data_id = lock.name[1 : -len(".lock")].rsplit("-", 1)
    unit = runs.Unit(tmp_path / "results", lock.parent.name, category, data_id)
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    other = context.Process(target=hold, args=(unit, ready, stop))
    other.start()
    assert ready.wait(60)
    capsys.readouterr()
    assert main.main([*command, "--category", "one"]) == 2
    err = capsys.readouterr().err
    assert f"process {other.pid} on {host()}" in err and len(err.splitlines()) == 1
    assert main.main([*command, "--category", "one", "two"]) == 1  # the other category is computed
    out, err = capsys.readouterr()
    assert "two: baseline" in out and f"one is left out: one is being computed by process {other.pid}" in err
    other.kill()  # the lock of a killed process is free, though its holder file stays
    other.join()
    assert list(lock.parent.glob(".one-*.holder")) and main.main([*command, "--category", "one"]) == 0


# ---------------------------------------------------------------- seeds, disks, left-overs, progress


def test_a_full_disk_under_save_maps_names_it_and_keeps_the_scores(
    checkpoints, flags, data, tmp_path, capsys, monkeypatch
):  # noqa: F811
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("evaluation.write", full)
    code = main.main(
        [
            *flags,
            *TINY,
            "--method_name",
            "DINO+Point_MAE",
            "--f_coreset",
            "0.3",
            "--dataset_path",
            str(data),
            "--category",
            "one",
            "--save_maps",
            str(tmp_path / "maps"),
        ]
    )
    out, err = capsys.readouterr()
    assert (
        code == 1
        and f"not finished: one: maps: {tmp_path / 'maps'}: No space left on device; its scores and metrics "
        f"are complete"
        in err
    )
    assert "One |" in out and "failed" not in err
    with open(tmp_path / "results" / "scores_one.csv") as file:
        assert len(list(csv.reader(file))) == 3


def test_left_overs_of_killed_runs_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = {
        f".a.csv.{dead.pid}@{host()}.x1.tmp": False,
        f".a.csv.{os.getpid()}@{host()}.x1.tmp": True,
        f".a.csv.{dead.pid}@elsewhere.x1.tmp": True,
        "own.tmp": True,
    }
    for name in names:
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / name).write_text("half")
    remove_leftovers(tmp_path)
    assert {name: (tmp_path / "deep" / name).exists() for name in names} == names


def test_progress_in_a_log(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS", 0)
    assert list(progress.track("abc", 3, "bagel: test")) == ["a", "b", "c"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"bagel: test: {i} of 3 parts" for i in (1, 2, 3)]
    assert "s per part, about" in lines[0] and "left" in lines[0]
    monkeypatch.setattr(progress, "SECONDS", 60)
    assert list(progress.track("abc", 3, "bagel: test")) == ["a", "b", "c"] and capsys.readouterr().err == ""
