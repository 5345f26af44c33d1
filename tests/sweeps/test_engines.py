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
from sweeps.plan import Resources
from tools import sweep

FAKE = Path(__file__).with_name("fake_main.py")
TEXT = """
options:
  method_name: DINO
  dataset_path: DATA/parts
  device: cpu
  scoring: [pixel_max]
grid:
  category: [one, two]
  seed: [0, 1]
  shots: [5]
"""
JOBS = 4
POOL = ["--engine", "processes", "--workers", 2]


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A sweep file of JOBS jobs."""
    (tmp_path / "parts").mkdir()
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "computed"))
    return write_file(tmp_path)


def write_file(folder, text=TEXT):
    """A sweep file in ``folder``, about data beside it."""
    path = folder / "sweep.yaml"
    path.write_text(text.replace("DATA", str(folder)))
    return path


def run(file, out, *flags):
    return sweep.main([str(file), "-o", str(out), *map(str, flags)], program=[sys.executable, str(FAKE)])


def results(out):
    """The tables."""
    return (out / "tables.md").read_text()


def told(folder):
    """[(begin or end, category, seed, shots, process)] of what the jobs' main.py have written."""
    path = folder / "computed"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def computed(folder, word="end"):
    """{job: how often it was begun or ended}."""
    return Counter(tuple(line[1:4]) for line in told(folder) if line[0] == word)


def busy(folder):
    """Numbers of the processes that compute a job now."""
    ended = {line[4] for line in told(folder) if line[0] == "end"}
    return [int(line[4]) for line in told(folder) if line[4] not in ended and psutil.pid_exists(int(line[4]))]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def start(file, out, tmp_path, *flags, **environment):
    """tools/sweep.py as a process."""
    words = [sys.executable, str(FAKE), "sweep", str(file), "-o", str(out), *map(str, flags)]
    with open(tmp_path / "driver.log", "ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an undisturbed sweep."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "parts").mkdir()
    assert run(write_file(folder), folder / "out", "--quiet", *POOL) == 0
    return folder / "out"


def test_the_same_from_every_engine_and_nothing_twice(file, whole, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(file, out) == 0
    text = capsys.readouterr().out
    assert f"[{JOBS} of {JOBS}]" in text and "4 of 4 jobs are finished" in text and "mean nothing" in text
    assert results(out) == results(whole)
    assert run(file, out, "--quiet") == 0 and run(file, out, "--only_tables") == 0 and results(out) == results(whole)
    assert set(computed(tmp_path, "begin").values()) == {1} and len(computed(tmp_path)) == JOBS
    # a grown sweep keeps what is there
    write_file(tmp_path, TEXT + "  f_coreset: [0.1, 0.2]\n")
    assert run(file, out, "--quiet", *POOL) == 0
    assert sum(computed(tmp_path).values()) == 2 * JOBS
    assert (out / "tables.md").read_text().count("\n| DINO shots=5 f_coreset=0.") == 3 * 2 * 2


def test_a_killed_job_is_begun_again(file, whole, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_KILL", "two")
    assert run(file, tmp_path / "out", *POOL) == 0
    assert results(tmp_path / "out") == results(whole)
    assert set(computed(tmp_path).values()) == {1}
    assert {n for (name, *_), n in computed(tmp_path, "begin").items() if name == "two"} == {2}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a job goes on to its end, and its lock says so")
def test_a_killed_driver_leaves_no_process_and_loses_nothing(file, whole, tmp_path):
    out = tmp_path / "out"
    for at_least in (1, 2):
        driver = start(file, out, tmp_path, *POOL, FAKE_SECONDS="0.7")
        wait_for(lambda: len(computed(tmp_path)) >= at_least and computed(tmp_path, "begin") != computed(tmp_path))
        children = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        driver.wait()
        gone, alive = psutil.wait_procs(children, 10)
        assert not alive
        before = computed(tmp_path)
    assert run(file, out, "--quiet", "--engine", "processes", "--workers", 3) == 0
    assert results(out) == results(whole) and set(computed(tmp_path).values()) == {1} and before <= computed(tmp_path)


@pytest.mark.slow
def test_two_drivers_are_refused_and_a_signal_stops(file, whole, tmp_path, capsys):
    out = tmp_path / "out"
    driver = start(file, out, tmp_path, *POOL, FAKE_SECONDS="30")
    wait_for(lambda: len(computed(tmp_path, "begin")) == 2)
    assert run(file, out) == 2
    assert f"process {driver.pid}" in capsys.readouterr().err
    driver.send_signal(signal.SIGINT)
    assert driver.wait(30) == 1
    log = (tmp_path / "driver.log").read_text()
    assert "stopped by the user; 4 of 4 jobs are not finished; the same command continues" in log
    assert run(file, out, "--quiet", *POOL) == 0 and results(out) == results(whole)


@pytest.mark.slow
def test_a_job_waits_for_the_end_of_one_whose_driver_is_gone(file, tmp_path):
    """Without the kernel's signal, as on other systems: main.py goes on, and its lock keeps the next one away."""
    out = tmp_path / "out"
    driver = start(file, out, tmp_path, FAKE_SECONDS="4", FAKE_OTHER_SYSTEM="yes")
    wait_for(lambda: computed(tmp_path, "begin"))
    driver.kill()
    driver.wait()
    assert busy(tmp_path)
    assert run(file, out, "--quiet") == 0
    same = [line[0] for line in told(tmp_path) if line[1:3] == told(tmp_path)[0][1:3]]
    assert same == ["begin", "end", "begin", "end"]  # the second time main.py itself would keep what is finished


def test_a_failed_job_shows_its_last_lines_and_stops_no_other(file, whole, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    monkeypatch.setenv("FAKE_FAIL", "two")
    assert run(file, out, *POOL) == 1
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert "two seed=0 shots=5: failed" in text and "exit code 1" in text and "    main.py: it has failed" in text
    assert captured.err.count("not finished: two") == 2 and "2 of 4 jobs are finished" in captured.out
    assert "Two" not in results(out) and "(1 of 2 categories)" in results(out)
    monkeypatch.delenv("FAKE_FAIL")
    assert run(file, out, "--quiet", *POOL) == 0 and results(out) == results(whole)
    assert set(computed(tmp_path).values()) == {1}


def test_where_every_job_is_refused(file, tmp_path, capsys):
    (tmp_path / "parts").rmdir()
    assert run(file, tmp_path / "out", "--quiet", *POOL) == 2
    assert "parts: no such folder" in capsys.readouterr().err


def test_a_half_written_or_foreign_record_does_not_count(file, whole, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(file, out, "--quiet", *POOL) == 0
    one, two, three, four = sorted(out.glob("jobs/*"))[:4]
    (one / "run.json").write_text('{"id": "')
    record = json.loads((two / "run.json").read_text())
    (two / "run.json").write_text(json.dumps({**record, "id": "0" * 12}))
    (three / "run.json").write_text(json.dumps({**record, "failed": {"one: maps": "disk full"}}))
    next(four.glob("scores_*.csv")).unlink()
    assert run(file, out, "--only_tables") == 1
    assert "0 of 4 jobs" in (out / "tables.md").read_text()
    assert run(file, out, "--quiet", *POOL) == 0 and results(out) == results(whole)
    assert sum(computed(tmp_path).values()) == 2 * JOBS
    # a folder that cannot be written is one failed job
    (two / "run.json").unlink()
    (two / "log.txt").unlink()
    (two / "log.txt").mkdir()
    assert run(file, out, "--quiet", *POOL) == 1
    err = capsys.readouterr().err
    assert err.count("not finished") == 1 and f"    {two / 'log.txt'}: Is a directory" in err


def test_main_that_says_0_without_results_has_failed(file, tmp_path, capsys):
    program = [sys.executable, "-c", "print('nothing')"]
    assert sweep.main([str(file), "-o", str(tmp_path / "out"), "--quiet", *map(str, POOL)], program=program) == 1
    err = capsys.readouterr().err
    assert err.count("    nothing") == JOBS == err.count("does not hold this job")


@pytest.mark.parametrize(
    "resources, workers, devices, threads, seen",  # on 8 cores and 64 GiB
    [
        ({}, None, "", "8", None),
        ({"cpus": 3, "memory_gib": 40}, None, "", "3", None),
        ({}, None, "ab", "44", "ab"),
        ({"gpus": 0.5}, None, "ab", "2222", "abab"),
        ({"gpus": 0}, 1, "", "8", [""]),
        ({"memory_gib": 30}, 3, "", None, None),
        ({"cpus": 9}, None, "", None, None),
    ],
)
def test_threads_and_gpus_of_the_workers(resources, workers, devices, threads, seen):
    words = (Resources(**resources), workers, tuple(devices), 8, 64)
    if threads is None:
        with pytest.raises(InputError):
            find_slots(*words)
        return
    slots = find_slots(*words)
    assert [slot["OMP_NUM_THREADS"] for slot in slots] == list(threads)
    assert [slot.get("CUDA_VISIBLE_DEVICES") for slot in slots] == list(seen or [None] * len(threads))


def test_the_workers_see_their_gpus_and_threads(file, tmp_path, monkeypatch):
    out = tmp_path / "out"
    write_file(tmp_path, TEXT.replace("  device: cpu\n", "") + "resources: {gpus: 0.5, cpus: 1}\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert run(file, out, "--quiet", *POOL) == 0
    assert all("begun with 1 threads on 7" in path.read_text() for path in out.glob("jobs/*/log.txt"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert run(file, tmp_path / "other", "--quiet") == 2
