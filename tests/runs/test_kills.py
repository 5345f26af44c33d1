"""Kills and signals lose nothing: main.py in processes of its own, with toy patches in the place of networks."""

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.driver import end, run, start

pytestmark = pytest.mark.slow
TABLES = ("image_rocauc_results.md", "pixel_rocauc_results.md", "aupro_results.md")


def outcome(folder):
    """Everything that a run is for: tables without their comments, which hold the date, scores, metrics."""
    categories = json.loads((folder / "run.json").read_text())["categories"]
    lines = {name: (folder / name).read_text().splitlines() for name in TABLES}
    return (
        {name: [line for line in of if not line.startswith("<!--")] for name, of in lines.items()},
        {path.name: path.read_text() for path in sorted(folder.glob("scores_*.csv"))},
        {name: (entry["metrics"], entry["banks"]) for name, entry in categories.items()},
    )


def wait_for(log, text, process=None):
    """Wait until the log holds ``text``."""
    deadline = time.monotonic() + 120
    while not log.exists() or text not in log.read_text():
        assert time.monotonic() < deadline, log.exists() and log.read_text()
        time.sleep(0.01)


def test_ten_kills_end_in_the_same_results(command, tmp_path):
    command = [*command, "two", "--scoring", "all"]
    whole, killed, log = tmp_path / "whole", tmp_path / "killed", tmp_path / "log"
    run(["--help"], log)  # so that torch is imported
    began = time.monotonic()
    assert run([*command, "--output_dir", whole], log) == 0, log.read_text()
    duration = time.monotonic() - began
    draw, kills, missed = random.Random(0), 0, 1
    while kills < 10:
        assert missed < 30, log.read_text()
        records = list((killed / "runs").glob("*/*-*.json"))
        if len(records) == 2:  # else there would be nothing left to kill
            draw.choice(records).unlink()
        if draw.random() < 0.5:  # while files are written
            code = run([*command, "--output_dir", killed], log, kill_at=draw.randint(1, 8))
        else:  # sooner where earlier ones came too late
            process = start([*command, "--output_dir", killed], log)
            time.sleep(draw.uniform(0.05, 0.9) * duration / missed)
            process.kill()
            code = end(process)
        kills, missed = kills + (code == -9), missed + (code != -9)
    assert run([*command, "--output_dir", killed], log) == 0, log.read_text()
    assert outcome(killed) == outcome(whole) and not list(killed.rglob("*.tmp"))


def test_a_stopped_run_keeps_the_record_of_an_earlier_one(command, tmp_path):
    command, log, later, results = [*command, "two"], tmp_path / "log", tmp_path / "later", tmp_path / "results"
    assert run(command, log) == 0
    record = (results / "run.json").read_bytes()
    process = start([*command, "--f_coreset", "0.3"], later)
    wait_for(later, "one: baseline")
    os.kill(process.pid, signal.SIGTERM)
    assert end(process) == 1 and (results / "run.json").read_bytes() == record
    assert "stopped by the user; the finished categories are kept; not finished: two" in later.read_text()
    assert "f_coreset=0.3" in (results / TABLES[0]).read_text()  # what is finished has its table
    assert run([*command, "--f_coreset", "0.3"], later) == 0
    found = json.loads((results / "run.json").read_text())
    assert found["options"]["f_coreset"] == 0.3 and set(found["categories"]) == {"one", "two"}


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_changes_nothing_but_patience(command, tmp_path, second):
    log = tmp_path / "log"
    process = start([*command, "two", "--num_workers", "1"], log)
    wait_for(log, "one: baseline")
    os.killpg(process.pid, signal.SIGINT)  # with its worker, as Ctrl-C in a terminal does
    for _ in range(3):
        time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, second)
    assert end(process) == 1
    text = log.read_text()
    assert "Traceback" not in text and "the finished categories are kept; not finished: two" in text
    assert "One |" in (tmp_path / "results" / TABLES[0]).read_text()
    assert json.loads((tmp_path / "results" / "run.json").read_text())["categories"].keys() == {"one"}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are seen through /proc")
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM, None])
def test_the_spool_is_gone_however_the_run_ends(command, tmp_path, stop):
    spool = tmp_path / "spool"
    process = start([*command, "--spool_dir", spool], tmp_path / "log", spool=True)

    def spooled():
        try:
            files = Path(f"/proc/{process.pid}/fd")
            return any(os.readlink(fd).startswith(str(spool)) and os.stat(fd).st_size for fd in files.iterdir())
        except OSError:  # a file that was closed in between
            return False

    deadline = time.monotonic() + 60
    while not spooled():
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
    if stop:
        os.kill(process.pid, stop)
    assert end(process) == {None: 0, signal.SIGKILL: -9}.get(stop, 1)
    assert not list(spool.iterdir()) and "Traceback" not in (tmp_path / "log").read_text()
