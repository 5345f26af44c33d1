"""The locks of an output folder and of a unit of work: two processes, another host, signs of life."""

import json
import multiprocessing
import os
import threading
import time

import pytest

from common.files import host
from runs import runs
from runs.results import Tables, comment_of
from scoring.metrics import Metrics

TABLES = ("image_rocauc_results.md", "pixel_rocauc_results.md", "aupro_results.md")


def append(folder, name, count):
    for i in range(count):
        with runs.tables_lock(folder):
            tables = Tables("M", f"{name}{i}", comment_of(f"{name}{i}", "today", {}))
            tables.update(folder, {f"{name}{i}": {"baseline": Metrics(0.5, 0.5, 0.5)}})


def test_two_processes_lose_no_table(tmp_path):
    processes = [
        multiprocessing.get_context("spawn").Process(target=append, args=(tmp_path, name, 20)) for name in "ab"
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    for name in TABLES:
        found = [
            line.split()[2].rstrip(",")
            for line in (tmp_path / name).read_text().splitlines()
            if line.startswith("<!-- run")
        ]
        assert sorted(found) == sorted(f"{name}{i}" for name in "ab" for i in range(20))


def test_the_lock_of_another_host_is_recognised(tmp_path):
    unit = runs.Unit(tmp_path, "id", "one", "data")
    holder = tmp_path / "runs" / "id" / ".one-data.holder"
    holder.parent.mkdir(parents=True)
    holder.write_text(json.dumps({"process": 77, "host": "elsewhere"}))
    with pytest.raises(runs.Busy, match="process 77 on elsewhere.*last seen.*remove"):
        with unit.lock():
            pass
    os.utime(holder, (time.time() - runs.DEAD - 1,) * 2)  # no sign of life for long
    with unit.lock():
        assert json.loads(holder.read_text())["process"] == os.getpid()
        with pytest.raises(runs.Busy, match=f"process {os.getpid()} on {host()}"):
            with unit.lock():
                pass
    assert not holder.exists()


def test_a_held_lock_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "SIGN_OF_LIFE", 0.01)
    unit = runs.Unit(tmp_path, "id", "one", "data")
    with unit.lock():
        holder = tmp_path / "runs" / "id" / ".one-data.holder"
        os.utime(holder, (0, 0))
        for _ in range(500):
            time.sleep(0.01)
            if holder.stat().st_mtime > 0:
                break
        assert holder.stat().st_mtime > 0
    assert not [t for t in threading.enumerate() if t.name.startswith("Thread") and t.daemon and "_touch" in str(t)]
