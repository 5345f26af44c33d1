"""Runs main.py many times without importing torch anew: each line of standard input is one run, in a process of its
own.

A line is JSON: {"argv": [...], "log": path, "kill_at": k or null, "spool": bool}. With ``kill_at`` the run kills itself
with SIGKILL at its k-th renaming of a file, before it if k is odd, after it if k is even. With ``spool`` rows wait in
a file at once. Standard output: the process id of each run, then "exit <code>". Toy patches stand in for networks.
"""

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import m3dm_runner  # imports torch; nothing is computed before the forks
import main
from common.signals import run_to_the_end
from feature_extractors import features
from models import weights
from tests.fakes import PoolingExtractor
from tests.runs.conftest import WEIGHTS

m3dm_runner.build_extractor = lambda options: PoolingExtractor()
weights.used_weights = lambda options, build: WEIGHTS


def kill_at(count):
    """Have the process kill itself around its ``count``-th renaming."""
    replace, seen = os.replace, []

    def counted(source, target):
        seen.append(target)
        if len(seen) == count and count % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if len(seen) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = counted


for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.setpgid(0, 0)
        if order["spool"]:
            features.IN_MEMORY = 0
        if order["kill_at"]:
            kill_at(order["kill_at"])
        try:
            run_to_the_end(lambda: main.main(order["argv"]))
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(child, flush=True)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(f"exit {code}", flush=True)
