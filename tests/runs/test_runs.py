"""The locks of an output folder and of a unit of work: two processes at a time, one that is killed."""

import multiprocessing
import time

import pytest

from common.files import host
from common.locks import Busy
from runs import runs
from runs.results import Tables, comment_of
from scoring.metrics import Metrics
from tests.command_lines import parse

CONTEXT = multiprocessing.get_context("spawn")


def append(folder, name, count):
    for i in range(count):
        with runs.tables_lock(folder):
            tables = Tables("M", f"{name}{i}", comment_of(f"{name}{i}", "today", {}))
            tables.append(folder, {f"{name}{i}": {"baseline": Metrics(0.5, 0.5, 0.5)}})


def keep(folder, held):
    with runs.Unit(parse("-o", str(folder)), "id", "one", "data").lock():
        held.set()
        time.sleep(99)


def test_two_processes_lose_no_table(tmp_path):
    processes = [CONTEXT.Process(target=append, args=(tmp_path, name, 20)) for name in "ab"]
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
    unit, held = runs.Unit(parse("-o", str(tmp_path)), "id", "one", "data"), CONTEXT.Event()
    process = CONTEXT.Process(target=keep, args=(tmp_path, held))
    process.start()
    assert held.wait(60)
    for take in (unit.refuse_if_busy, unit.lock().__enter__):
        with pytest.raises(Busy, match=f"one is being computed by process {process.pid} on {host()}"):
            take()
    process.kill()
    process.join(60)
    unit.refuse_if_busy()
    with unit.lock():
        pass
    assert not list(tmp_path.rglob("*.holder"))
