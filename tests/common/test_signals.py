"""A stop that was asked for is not lost, even where Python ignores the exception that asks for it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from common.progress import track
from common.signals import first_signal_stops, held, raise_if_stopping

ROOT = Path(__file__).resolve().parents[2]


class Swallows:
    """Ends as a loader's worker may: it is interrupted where Python ignores exceptions."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_swallowed_stop_ends_the_loop_at_the_next_item(monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    seen, shown = [], []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)
    with first_signal_stops("here"):
        with pytest.raises(KeyboardInterrupt):
            for number in track(range(9), 9, "parts"):
                seen.append(number)
                if number == 3:
                    Swallows()
    assert seen == [0, 1, 2, 3] and [one.exc_type for one in shown] == [KeyboardInterrupt]
    raise_if_stopping()  # the stop is forgotten with the command that it ended


def test_a_held_block_is_ended_and_further_signals_change_nothing(capfd):
    ended = []
    with pytest.raises(KeyboardInterrupt):
        with first_signal_stops("here"):
            with held():
                with held():
                    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
                        os.kill(os.getpid(), number)
                        time.sleep(0.1)
                ended.append("inner")
            ended.append("outer")
    assert ended == ["inner"]
    assert capfd.readouterr().err == 2 * "here: stopping already: what is finished is being written\n"


def test_what_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with first_signal_stops("here"):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            raise_if_stopping()
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


POOL = """
import os, signal, time
from concurrent.futures import ProcessPoolExecutor
from common.signals import begin_worker, beginning_workers, first_signal_stops, run_to_the_end
def begin():
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    os.write(1, b"ready\\n" if {signal.SIGINT, signal.SIGTERM} <= blocked else b"not blocked\\n")
    time.sleep(0.2)
    begin_worker()
def main():
    try:
        with first_signal_stops("pool"), ProcessPoolExecutor(2, initializer=begin) as pool:
            with beginning_workers():
                found = pool.map(time.sleep, 200 * [0.02])
            list(found)
    except KeyboardInterrupt:
        return 1
run_to_the_end(main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="begins workers by forking")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay", [0, 0.3])
def test_no_worker_shows_a_traceback_whenever_the_group_is_told(number, delay):
    """Among others between the fork and the worker's first act, which is drawn out here."""
    process = subprocess.Popen(
        [sys.executable, "-c", POOL],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(delay)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")


def test_a_worker_ends_when_its_parent_was_killed(tmp_path):
    """kill -9 runs no handler: the workers, also those that were started first, notice that the parent is gone."""
    script = (
        "import multiprocessing as m, sys, time, pathlib\n"
        "from common.signals import begin_worker\n"
        "def work(path):\n"
        "    begin_worker()\n"
        "    pathlib.Path(path).write_text(str(m.current_process().pid))\n"
        "    time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    for n in range(2):\n"
        "        m.Process(target=work, args=(f'{sys.argv[1]}/{n}',)).start()\n"
        "    time.sleep(600)\n"
    )
    (tmp_path / "parent.py").write_text(script)
    words = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)]
    parent = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)})
    until = time.time() + 30
    while not all((tmp_path / str(n)).is_file() and (tmp_path / str(n)).read_text() for n in range(2)):
        assert time.time() < until
        time.sleep(0.05)
    workers = [int((tmp_path / str(n)).read_text()) for n in range(2)]
    parent.kill()
    parent.wait()
    until = time.time() + 10
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in workers):
        assert time.time() < until, "a worker is left behind"
        time.sleep(0.05)
