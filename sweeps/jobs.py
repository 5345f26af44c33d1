"""One job of a sweep on this host: main.py as a process, its log of all attempts, and what is known of it afterwards.

It ends with the process that began it: on Linux the kernel sends it SIGTERM when that is gone; elsewhere it goes on to
its end, and a later attempt waits for its lock.
"""

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from common.files import host
from common.locks import is_held
from sweeps.plan import finished

LOG = "log.txt"
MARK = "--- "
ATTEMPTS = 2  # how often a job is tried whose process is killed
LAST = 8  # lines of a failed job's output that are shown
PATIENCE = 60  # seconds that a job has to stop when asked to
DONE, FAILED, STOPPED = "done", "failed", "stopped"
TICK = 0.02  # seconds between two looks at a process
PR_SET_PDEATHSIG = 1  # prctl(2)
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Outcome(NamedTuple):
    """How a job ended: ``state`` DONE, FAILED or STOPPED; its last ``lines``, unless it is done; main.py's
    ``exit_code`` (negative: the signal that killed it; None: it never ran); how long and where it ran."""

    state: str
    lines: tuple = ()
    exit_code: int | None = None
    seconds: float = 0.0
    host: str = ""


def main_command() -> list[str]:
    """The words that start main.py: as a module of the installed package, or as a file of a checkout."""
    package = __package__.rpartition(".")[0]
    if package:
        return [sys.executable, "-m", f"{package}.main"]
    return [sys.executable, str(Path(__file__).resolve().parents[1] / "main.py")]


def run_job(job, folder, program, environment, stop=None, logged=True):
    """Run a job on this host to its end, in ``folder``; returns its Outcome. KeyboardInterrupt asks main.py to write
    what it has; one that is killed is begun again, and continues.

    Args:
        program: the words that start main.py; None: this project's.
        environment: {name: value} in addition to this process's.
        stop: threading.Event that acts as KeyboardInterrupt, for a thread other than the main one.
        logged: whether output goes to the log; else it is shown, and the job counts as done by its exit code.
    """
    folder = Path(folder)
    try:
        command = [*(program or main_command()), *job.words(folder)]
        folder.mkdir(parents=True, exist_ok=True)
        end = time.monotonic() + PATIENCE  # for a main.py whose driver or worker was killed; the next one says so
        while computing(folder) and time.monotonic() < end and not (stop and stop.is_set()):
            time.sleep(TICK)
        for _ in range(ATTEMPTS):
            with open(folder / LOG, "a+b") if logged else contextlib.nullcontext() as log:
                outcome = _run(job, folder, command, environment, stop, log)
            if outcome.state != FAILED or outcome.exit_code >= 0:
                break
        return outcome
    except OSError as error:
        return Outcome(FAILED, (f"{error.filename or folder}: {error.strerror or error}",), host=host())


def _run(job, folder, command, environment, stop, log):
    """Run the process; ``log``: the file that takes its output, or None."""
    begun, parent, state = time.time(), os.getpid(), FAILED
    _write(log, f"{MARK}{time.strftime('%Y-%m-%d %H:%M:%S')} on {host()}: {shlex.join(command)}")
    start = log and log.tell()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log and subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches this process alone, which asks main.py to stop
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        preexec_fn=LIBC and (lambda: _end_with(parent)),
    )
    try:
        while process.poll() is None and not (stop and stop.is_set()):
            time.sleep(TICK)
    except KeyboardInterrupt:  # a cancelled task of Ray
        pass
    if process.poll() is None:
        state = STOPPED
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
    code, lines = process.wait(), ()
    if code == 0 and (log is None or finished(folder, job) is not None):
        state = DONE
    seconds = time.time() - begun
    with contextlib.suppress(OSError):  # on a full disk the Outcome still tells how it ended
        if log and state != DONE:
            log.seek(start)
            lines = _lines(log.read())
        _write(log, f"{MARK}ended: {state}, exit code {code}, after {seconds:.1f} s")
    if code == 0 and state != DONE:
        lines = (*lines, f"main.py ended with 0, but {folder / 'run.json'} does not hold this job")
    return Outcome(state, lines, code, seconds, host())


def _write(log, line):
    if log:
        log.write(f"{line}\n".encode(errors="replace"))
        log.flush()


def _end_with(parent):
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it is gone already
        os._exit(143)


def computing(folder):
    """Whether a main.py computes in a job's folder: it holds a lock there."""
    return any(is_held(lock) for lock in Path(folder).glob("runs/*/.*.lock"))


def _lines(text):
    lines = [line.rstrip() for line in text[-20000:].decode("utf-8", "replace").splitlines()]
    return tuple(line for line in lines if line and not line.startswith(MARK))[-LAST:]
