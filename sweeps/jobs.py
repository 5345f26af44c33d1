"""One job of a sweep on this host: main.py as a process, its log, and what is known of it afterwards.

<job>/log.txt holds the output of main.py in all attempts; a line that begins with "--- " tells when an attempt began
and how it ended. main.py itself locks its results and continues. It ends with the process that began it: on Linux the
kernel sends it SIGTERM when that is gone; elsewhere it goes on to its end, and its lock tells a later attempt so.
"""

import contextlib
import ctypes
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import psutil

from common.errors import InputError
from common.files import atomic_path, host
from runs.runs import DEAD
from sweeps.plan import SweepJob, fill_in, finished, job_folder

LOG = "log.txt"
MARK, END = "--- ", "--- ended: "
LAST = 8  # lines of a failed job's output that are shown
PATIENCE = 60  # seconds that a job has to stop when asked to
DONE, FAILED, STOPPED, RUNNING, LOST, WAITING = "done", "failed", "stopped", "running", "lost", "waiting"
PR_SET_PDEATHSIG = 1  # prctl(2)
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Outcome(NamedTuple):
    """How an attempt ended.

    Attributes:
        state: DONE, FAILED or STOPPED.
        exit_code: main.py's; negative: the signal that killed it; None: it never ran.
        seconds, host: how long and where it ran.
        lines: its last lines, unless it is done.
        files: {path below the job's folder: content}, if the folder does not lie in the sweep's.
    """

    state: str
    exit_code: int | None
    seconds: float
    host: str
    lines: tuple = ()
    files: dict | None = None

    @property
    def killed(self) -> bool:
        """Whether a signal ended the attempt, so that another attempt makes sense."""
        return self.state == FAILED and self.exit_code is not None and self.exit_code < 0


class Begun(NamedTuple):
    """A job has begun; with Ray: it was handed over to the cluster."""

    job: SweepJob


class Ended(NamedTuple):
    """A job has ended; ``again``: it was killed and will be tried again."""

    job: SweepJob
    outcome: Outcome
    again: bool = False


def main_command() -> list[str]:
    """The words that start main.py: as a module of the installed package, or as a file of a checkout."""
    package = __package__.rpartition(".")[0]
    if package:
        return [sys.executable, "-m", f"{package}.main"]
    return [sys.executable, str(Path(__file__).resolve().parents[1] / "main.py")]


class Attempt:
    """A job begun on this host.

    Args:
        job: SweepJob.
        folder: Path of the job; it is created.
        program: the words that start main.py.
        environment: {name: value} in addition to this process's.
        examination: file that keeps what earlier jobs have found in the data's files, so that one reads them for all.
        logged: whether output goes to the log; else it goes where this process's does, and the job counts as done by
            its exit code.

    Raises:
        OSError: the folder cannot be written.
        InputError: a variable is not set here.
    """

    def __init__(self, job, folder, program, environment, examination=None, logged=True):
        self.job, self.folder, self._begun, self._asked = job, Path(folder), time.time(), False
        command = [*program, *fill_in(job.words(self.folder), {**os.environ, **environment})]
        self.folder.mkdir(parents=True, exist_ok=True)
        _wait_for_earlier(self.folder)
        self._examination, self._log = examination, open(self.folder / LOG, "a+b") if logged else None
        if examination and not (self.folder / "examination.json").exists():
            _copy(examination, self.folder / "examination.json")
        if self._log:
            self._write(f"{MARK}{time.strftime('%Y-%m-%d %H:%M:%S')} on {host()}: {shlex.join(command)}")
            self._from = self._log.tell()
        parent = os.getpid()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log and subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which asks main.py to stop
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            preexec_fn=LIBC and (lambda: _end_with(parent)),
        )

    def poll(self):
        """The Outcome if the process has ended; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        self._kill_group()  # a killed process may have left children
        seconds = time.time() - self._begun
        done = code == 0 and (not self._log or finished(self.folder, self.job) is not None)
        state = DONE if done else STOPPED if self._asked else FAILED
        lines = () if done or not self._log else self._last_lines()
        if code == 0 and not done:
            lines = (*lines, f"main.py ended with 0, but {self.folder / 'run.json'} does not hold this job")
        if self._log:
            with self._log, contextlib.suppress(OSError):  # on a full disk the Outcome still tells how it ended
                self._write(f"{END}{state}, exit code {code}, after {seconds:.1f} s")
        if done and self._examination and not self._examination.exists():
            _copy(self.folder / "examination.json", self._examination)
        return Outcome(state, code, seconds, host(), lines)

    def ask_to_stop(self):
        """Ask main.py to write what it has and to end."""
        self._asked = True
        if self.process.poll() is None:
            self.process.terminate()

    def stop(self):
        """Stop and wait; returns the Outcome."""
        self.ask_to_stop()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return self.poll()

    def _kill_group(self):
        if os.name == "posix":
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def _write(self, line):
        self._log.write(f"{line}\n".encode(errors="replace"))
        self._log.flush()

    def _last_lines(self):
        self._log.seek(self._from)
        return _lines(self._log.read())


def _end_with(parent):
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it is gone already
        os._exit(143)


def _wait_for_earlier(folder):
    """Wait until a main.py whose driver or worker was killed has ended, too. If it does not, the next one says so."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and any(_lives(holder, here=True) for holder in folder.glob("runs/*/.*.holder")):
        time.sleep(0.05)


def forget_lost_hosts(folder, lost):
    """Remove the locks of hosts that are gone (their names); main.py would wait ten minutes for their sign of life."""
    for holder in Path(folder).glob("runs/*/.*.holder"):
        if _named(holder).get("host") in lost:
            holder.unlink(missing_ok=True)


def state_of(out, job, driven):
    """(state, last lines) of a job, from its files alone; ``driven``: whether a driver runs the sweep."""
    folder = job_folder(out, job)
    if finished(folder, job) is not None:
        return DONE, ()
    try:
        text = (folder / LOG).read_bytes()
    except OSError:
        text = b""
    marks = [line for line in text.decode("utf-8", "replace").splitlines() if line.startswith(MARK)]
    if marks and marks[-1].startswith(END):
        return marks[-1].removeprefix(END).split(",")[0], _lines(text)
    if any(_lives(holder) for holder in folder.glob("runs/*/.*.holder")):  # also a printed line run by a scheduler
        return RUNNING, ()
    return ((RUNNING if driven else LOST) if marks else WAITING), ()


def _lines(text):
    lines = [line.rstrip() for line in text[-20000:].decode("utf-8", "replace").splitlines()]
    return tuple(line for line in lines if line and not line.startswith(MARK))[-LAST:]


def _named(holder):
    try:
        return json.loads(holder.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _lives(holder, here=False):
    """Whether the process that a lock's file names lives; ``here``: only if it runs on this host."""
    known = _named(holder)
    if known.get("host") != host():
        with contextlib.suppress(OSError):
            return not here and bool(known) and time.time() - holder.stat().st_mtime < DEAD
        return False
    with contextlib.suppress(psutil.Error):
        return psutil.Process(known["process"]).status() != psutil.STATUS_ZOMBIE
    return False


def _copy(source, target):
    with contextlib.suppress(OSError), atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def examination_of(out, job):
    """The file in which a sweep's jobs with the same data keep what they have found in its files."""
    options = dict(job.options)
    where = repr([options.get(name) for name in ("dataset_path", "img_size", "unit")])
    return Path(out) / "examinations" / f"{job.name.rsplit('-seed', 1)[0]}-{zlib.crc32(where.encode()):08x}.json"


def begin(job, folder, program, environment, examination=None, logged=True):
    """(the Attempt, None), or (None, the Outcome) if the job cannot begin; arguments as of :class:`Attempt`."""
    try:
        return Attempt(job, folder, program, environment, examination, logged), None
    except InputError as error:
        lines = (str(error),)
    except OSError as error:
        lines = (f"{error.filename or folder}: {error.strerror or error}",)
    return None, Outcome(FAILED, None, 0.0, host(), lines)
