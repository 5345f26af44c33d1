"""The locks of an output folder and of a unit of work: two processes at a time, one that is killed."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from common.files import host
from common.locks import Busy
from runs import runs
from runs.results import Tables, comment_of
from scoring.metrics import Metrics
from tests.command_lines import parse

ROOT = Path(__file__).resolve().parents[2]


def append(folder, name, count):
    for i in range(count):
        with runs.tables_lock(folder):
            tables = Tables("M", f"{name}{i}", comment_of(f"{name}{i}", "today", {}))
            tables.update(folder, {f"{name}{i}": {"baseline": Metrics(0.5, 0.5, 0.5)}})


def test_two_processes_lose_no_table(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=append, args=(tmp_path, name, 20)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    files = list(tmp_path.glob("*_results.md"))
    for path in files:
        lines = [line.split() for line in path.read_text().splitlines() if line.startswith("<!-- run")]
        assert sorted(line[2] for line in lines) == sorted(f"{name}{i}," for name in "ab" for i in range(20))
    assert len(files) == 3


def test_a_held_unit_names_its_holder_and_is_free_when_that_is_killed(tmp_path):
    unit = runs.Unit(parse("-o", str(tmp_path)), "id", "one", "data")
    code = """
import sys, time
from runs.runs import Unit
from tests.command_lines import parse
with Unit(parse("-o", sys.argv[1]), "id", "one", "data").lock():
    print("held", flush=True)
    time.sleep(99)
"""
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.readline()
        for take in (unit.refuse_if_busy, unit.lock().__enter__):
            with pytest.raises(Busy, match=f"one is being computed by process {process.pid} on {host()}"):
                take()
        process.kill()
    unit.refuse_if_busy()
    with unit.lock():
        pass
    assert not list(tmp_path.rglob("*.holder"))
