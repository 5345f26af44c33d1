"""Threads: what the machine and the cgroup allow."""

import os
import subprocess
import sys

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


@pytest.mark.parametrize("limit, cores", [(None, 4), (1.5, 2), (0.5, 1), (9, 4)])
def test_cores_that_may_be_used(monkeypatch, limit, cores):
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(threads, "cgroup_limit", lambda: limit)
    assert threads.allowed_cores() == cores


def test_the_number_asked_for_wins_then_the_environment_then_what_is_allowed(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "allowed_cores", lambda: 7)
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
