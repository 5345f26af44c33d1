"""The lock on the tables of an output folder: two processes at a time."""

import multiprocessing

from runs import runs
from runs.results import Tables, comment_of
from scoring.metrics import Metrics

CONTEXT = multiprocessing.get_context("spawn")


def append(folder, name, count):
    for i in range(count):
        with runs.tables_lock(folder):
            tables = Tables("M", f"{name}{i}", comment_of(f"{name}{i}", "today", {}))
            tables.append(folder, {f"{name}{i}": {"baseline": Metrics(0.5, 0.5, 0.5)}})


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
