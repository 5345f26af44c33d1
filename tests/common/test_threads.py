"""Threads: what the machine, the cgroup and other programs leave."""

import os
import subprocess
import sys
import types

import psutil
import pytest
import torch

from common import threads


@pytest.mark.parametrize(
    "files, limit",
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_the_cgroups_limit(tmp_path, files, limit):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert threads.cgroup_limit(tmp_path) == limit


@pytest.mark.parametrize(
    "shares, limit, free",
    [
        ([0, 0, 0, 0], None, 4),
        ([100, 3, 0, 0], None, 3),
        ([100] * 4, None, 1),
        ([30, 30, 0, 0], 1.5, 2),
        ([0] * 4, 0.5, 1),
    ],
)
def test_cores_that_others_keep_busy_are_not_taken(monkeypatch, shares, limit, free):
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(threads, "cgroup_limit", lambda: limit)
    monkeypatch.setattr(psutil, "cpu_percent", lambda **_: shares)
    monkeypatch.setattr(psutil, "Process", lambda: types.SimpleNamespace(cpu_times=psutil.cpu_times))
    monkeypatch.setattr(psutil, "cpu_times", lambda: types.SimpleNamespace(user=1.0, system=0.0))
    assert threads.free_cores() == free


def test_the_number_asked_for_wins_then_the_environment_then_what_is_free(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "free_cores", lambda: 7)
    try:
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert threads.set_threads(3) == 3 == torch.get_num_threads()
        assert threads.set_threads() == 2 == torch.get_num_threads()
        monkeypatch.delenv("OMP_NUM_THREADS")
        assert threads.set_threads() == 7
    finally:
        torch.set_num_threads(before)


def test_it_takes_effect_before_torch_is_loaded():
    code = "from common.threads import set_threads; set_threads(1); import torch; print(torch.get_num_threads())"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OMP")}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert run.stdout.strip() == "1"
