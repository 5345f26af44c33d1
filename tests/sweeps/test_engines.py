"""Sweeps on this machine: the same results from every engine, whatever is killed; what is shown; exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from common.errors import InputError
from sweeps.engines import find_slots
from sweeps.file import Resources
from sweeps.tables import FILES
from tools import sweep

PROGRAM, DRIVER = (Path(__file__).with_name(name) for name in ("fake_main.py", "driver.py"))
TEXT = """
options:
  method_name: DINO
  dataset_path: ${FAKE_DATA}/parts
  device: cpu
  scoring: [pixel_max]
grid:
  category: [one, two]
  seed: [0, 1]
  shots: [1, 2]
exclude:
  - {category: two, shots: 2}
"""
JOBS = 6


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A sweep file of JOBS jobs."""
    (tmp_path / "data" / "parts").mkdir(parents=True)
    monkeypatch.setenv("FAKE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "computed"))
    path = tmp_path / "sweep.yaml"
    path.write_text(TEXT)
    return path


def run(file, out, *flags):
    return sweep.main([str(file), "-o", str(out), *map(str, flags)], program=PROGRAM)


def results(out):
    """The contents of the tables, the CSV files and the figure."""
    return {name: (out / name).read_bytes() for name in FILES}


def computed(tmp_path, word="end"):
    """{job: how often it was begun or ended}."""
    path = tmp_path / "computed"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(tuple(line.split()[1:4]) for line in lines if line.split()[0] == word)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def start(file, out, tmp_path, *flags, **environment):
    """tools/sweep.py as a process."""
    with open(tmp_path / "driver.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, str(DRIVER), str(file), "-o", str(out), *map(str, flags)],
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
        )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The results of an undisturbed sweep."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "parts").mkdir()
    (folder / "sweep.yaml").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_DATA", str(folder))
        assert run(folder / "sweep.yaml", folder / "out", "--quiet", "--engine", "processes", "--workers", 2) == 0
    return results(folder / "out")


@pytest.mark.parametrize(
    "flags", [["--engine", "serial"], *(["--engine", "processes", "--workers", n] for n in (1, 3))]
)
def test_every_engine_gives_the_same(file, whole, tmp_path, flags):
    assert run(file, tmp_path / "out", "--quiet", *flags) == 0
    assert results(tmp_path / "out") == whole and set(computed(tmp_path).values()) == {1}
    assert len(computed(tmp_path)) == JOBS


def test_the_same_command_again_computes_nothing(file, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(file, out) == 0
    first, text = results(out), capsys.readouterr().out
    assert f"[{JOBS} of {JOBS}]" in text and "6 of 6 jobs are finished" in text and "mean nothing" in text
    assert run(file, out) == 0
    assert results(out) == first and set(computed(tmp_path, "begin").values()) == {1}
    assert sweep.main(["tables", str(out)]) == 0 and results(out) == first
    # a grown sweep keeps what is there
    file.write_text(TEXT.replace("shots: [1, 2]", "shots: [1, 2]\n  f_coreset: [0.1, 0.2]"))
    assert run(file, out, "--quiet", "--engine", "processes", "--workers", 3) == 0
    assert sum(computed(tmp_path).values()) == 2 * JOBS
    # --recheck asks main.py itself
    file.write_text(TEXT)
    assert run(file, out, "--quiet", "--recheck") == 0
    assert sum(computed(tmp_path).values()) == 3 * JOBS and results(out) == first


def test_a_killed_worker_is_begun_again(file, whole, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_KILL", "two")
    assert run(file, tmp_path / "out", "--engine", "processes", "--workers", 2) == 0
    assert results(tmp_path / "out") == whole
    assert capsys.readouterr().out.count("killed by signal 9") == 2  # of each job of "two", begun again
    assert set(computed(tmp_path).values()) == {1}
    assert {n for (name, *_), n in computed(tmp_path, "begin").items() if name == "two"} == {2}


def test_a_killed_driver_leaves_no_process_and_loses_nothing(file, whole, tmp_path):
    out = tmp_path / "out"
    for at_least in (1, 3):
        driver = start(file, out, tmp_path, "--engine", "processes", "--workers", 2, FAKE_SECONDS="0.7")
        wait_for(lambda: len(computed(tmp_path)) >= at_least and computed(tmp_path, "begin") != computed(tmp_path))
        children = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        driver.wait()
        gone, alive = psutil.wait_procs(children, 10)
        assert not alive
        before = computed(tmp_path)
        assert sweep.main(["status", str(out)]) == 1
    assert run(file, out, "--quiet", "--engine", "processes", "--workers", 3) == 0
    assert results(out) == whole and set(computed(tmp_path).values()) == {1} and before <= computed(tmp_path)


def test_two_drivers_are_refused_and_a_signal_stops(file, whole, tmp_path, capsys):
    out = tmp_path / "out"
    driver = start(file, out, tmp_path, "--engine", "processes", "--workers", 2, FAKE_SECONDS="30")
    wait_for(lambda: len(computed(tmp_path, "begin")) == 2)
    assert run(file, out) == 2
    assert f"process {driver.pid}" in capsys.readouterr().err
    wait_for(lambda: len(list(out.glob("jobs/*/attempt.json"))) == 2)
    assert sweep.main(["status", str(out)]) == 1
    assert capsys.readouterr().out.count("running") == 3  # two lines and the counts
    driver.send_signal(signal.SIGINT)
    assert driver.wait(30) == 1
    log = (tmp_path / "driver.log").read_text()
    assert "stopped by the user; 6 of 6 jobs are not finished; the same command continues" in log
    assert not list(out.glob("jobs/*/attempt.json"))
    assert sweep.main(["status", str(out)]) == 1
    assert "2 stopped" in capsys.readouterr().out
    assert run(file, out, "--quiet", "--engine", "processes", "--workers", 2) == 0 and results(out) == whole


def test_a_failed_job_shows_its_last_lines_and_stops_no_other(file, whole, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    monkeypatch.setenv("FAKE_FAIL", "two")
    assert run(file, out, "--engine", "processes", "--workers", 2) == 1
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert "two seed=0 shots=1: failed" in text and "exit code 1" in text and "    main.py: it has failed" in text
    assert captured.err.count("not finished: two") == 2 and "4 of 6 jobs are finished" in captured.out
    table = (out / "tables.md").read_text()
    assert "Two" not in table and "(1 of 2 categories)" in table
    assert sweep.main(["status", str(out)]) == 1
    text = capsys.readouterr().out
    assert "4 done, 2 failed; no driver runs" in text and "    main.py: it has failed" in text
    assert sweep.main(["tables", str(out)]) == 1
    monkeypatch.delenv("FAKE_FAIL")
    assert run(file, out, "--quiet") == 0 and results(out) == whole
    assert set(computed(tmp_path).values()) == {1}


def test_where_every_job_is_refused(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_DATA", str(tmp_path / "elsewhere"))
    assert run(file, tmp_path / "out", "--quiet") == 2
    assert "elsewhere/parts: no such folder" in capsys.readouterr().err
    monkeypatch.delenv("FAKE_DATA")
    assert run(file, tmp_path / "other", "--quiet") == 2
    err = capsys.readouterr().err
    assert err.startswith("sweep.py: the sweep file uses ${FAKE_DATA}, and FAKE_DATA is not set")
    assert err.count("\n") == 1


def test_printed_command_lines_do_the_same(file, whole, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(file, out, "--print") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == JOBS and all("${FAKE_DATA}" in line for line in lines) and not list(out.glob("jobs"))
    for line in lines[:-1]:
        assert subprocess.run(["sh", "-c", line], stdout=subprocess.DEVNULL).returncode == 0
    assert sweep.main(["status", str(out)]) == 1
    assert "5 done, 1 waiting" in capsys.readouterr().out
    assert run(file, out, "--quiet") == 0
    assert results(out) == whole and set(computed(tmp_path).values()) == {1}


def test_a_half_written_or_foreign_record_does_not_count(file, whole, tmp_path):
    out = tmp_path / "out"
    assert run(file, out, "--quiet") == 0
    one, two, three = sorted(out.glob("jobs/*"))[:3]
    (one / "run.json").write_text('{"id": "')
    record = json.loads((two / "run.json").read_text())
    (two / "run.json").write_text(json.dumps({**record, "id": "0" * 12}))
    (three / "run.json").write_text(json.dumps({**record, "failed": {"one: maps": "disk full"}}))
    assert sweep.main(["tables", str(out)]) == 1
    assert "3 of 6 jobs" in (out / "tables.md").read_text()
    assert run(file, out, "--quiet") == 0 and results(out) == whole
    assert sum(computed(tmp_path).values()) == JOBS + 3


def test_a_folder_that_cannot_be_written_is_one_failed_job(file, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(file, out, "--print") == 0
    name = capsys.readouterr().out.splitlines()[0].rsplit("/", 1)[1]
    (out / "jobs").mkdir()
    (out / "jobs" / name).write_text("no folder")
    assert run(file, out, "--quiet", "--engine", "processes", "--workers", 2) == 1
    err = capsys.readouterr().err
    assert err.count("not finished") == 1 and f"    {out / 'jobs' / name}: File exists" in err
    assert len(computed(tmp_path)) == JOBS - 1
    (out / "cells.csv").unlink()
    (out / "cells.csv").mkdir()  # a table that cannot be written
    assert sweep.main(["tables", str(out)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("sweep.py: ") and err.count("\n") == 1 and "the same command continues" in err


def test_threads_and_gpus_of_the_workers():
    none = Resources()

    def threads(slots):
        return [slot.environment["OMP_NUM_THREADS"] for slot in slots]

    assert threads(find_slots(none, None, (), 8, 64)) == ["8"]
    assert threads(find_slots(none, 3, (), 8, 64)) == ["2", "2", "2"]
    assert threads(find_slots(none, 16, (), 8, 64)) == ["1"] * 16
    assert threads(find_slots(Resources(cpus=3), None, (), 8, 64)) == ["3", "3"]
    assert threads(find_slots(Resources(cpus=3, memory_gib=40), None, (), 8, 64)) == ["3"]
    slots = find_slots(none, None, ("0", "1"), 8, 64)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0", "1"] and threads(slots) == ["4", "4"]
    slots = find_slots(Resources(gpus=0.5), None, ("GPU-a", "GPU-b"), 8, 64)
    assert [s.environment["CUDA_VISIBLE_DEVICES"] for s in slots] == ["GPU-a", "GPU-b"] * 2
    assert threads(slots) == ["2"] * 4
    assert find_slots(Resources(gpus=0), 1, (), 8, 64)[0].environment["CUDA_VISIBLE_DEVICES"] == ""
    for wrong in (
        (Resources(gpus=0.5), 5, ("0", "1")),
        (Resources(memory_gib=30), 3, ()),
        (Resources(memory_gib=65), None, ()),
        (Resources(cpus=9), None, ()),
    ):
        with pytest.raises(InputError):
            find_slots(*wrong, 8, 64)


def test_the_workers_see_their_gpus_and_threads(file, tmp_path, monkeypatch):
    out = tmp_path / "out"
    file.write_text(TEXT.replace("  device: cpu\n", "") + "resources: {gpus: 0.5, cpus: 1}\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert run(file, out, "--quiet", "--engine", "processes", "--workers", 2) == 0
    assert all("begun with 1 threads" in path.read_text() for path in out.glob("jobs/*/log.txt"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert run(file, tmp_path / "other", "--quiet") == 2
