"""main.py in processes that tests kill; torch is imported once, before they fork. Toy patches stand in for networks."""

import multiprocessing
import os
import signal

import m3dm_runner
import main
from common.signals import run_to_the_end
from feature_extractors import features
from models import weights
from tests.fakes import PoolingExtractor
from tests.runs.conftest import WEIGHTS

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


def start(argv, log, kill_at=None, spool=False):
    """Begin a run of main.py; returns its Process.

    Args:
        argv: words of the command line.
        log: file that takes its output.
        kill_at: k: it kills itself at its k-th renaming of a file, before it if k is odd, after it if k is even.
        spool: whether rows wait in a file at once.
    """
    process = CONTEXT.Process(target=_run, args=(list(map(str, argv)), str(log), kill_at, spool))
    process.start()
    return process


def run(*args, **options):
    """Begin a run, and wait for its exit code; -9 where it was killed."""
    return end(start(*args, **options))


def end(process):
    """The exit code of a Process."""
    process.join()
    return process.exitcode


def _run(argv, log, kill_at, spool):
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.setpgid(0, 0)
    m3dm_runner.build_extractor = lambda options: PoolingExtractor()
    weights.used_weights = lambda options, build: WEIGHTS
    if spool:
        features.IN_MEMORY = 0
    if kill_at:
        _kill_at(kill_at)
    run_to_the_end(lambda: main.main(argv))


def _kill_at(count):
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
