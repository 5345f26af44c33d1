"""One job of a sweep on this host: main.py as a process, its log, and what is known of it afterwards.

<job>/log.txt holds the output of main.py in all attempts; a line that begins with "--- " tells when an attempt began
and how it ended. main.py itself locks its results and continues. It ends with the process that began it: on Linux the
kernel sends it SIGTERM when that is gone; elsewhere it goes on to its end, and a later attempt waits for its lock.
"""

import contextlib
import ctypes
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

from common.errors import InputError
from common.files import atomic_path, host
from common.locks import is_held
from sweeps.plan import SweepJob, fill_in, finished, job_folder

LOG = "log.txt"
MARK, END = "--- ", "--- ended: "
LAST = 8  # lines of a failed job's output that are shown
PATIENCE = 60  # seconds that a job has to stop when asked to
DONE, FAILED, STOPPED, RUNNING, WAITING = "done", "failed", "stopped", "running", "waiting"
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


class Event(NamedTuple):
    """A job has begun (``outcome`` is None; with Ray: it was handed over), or an attempt has ended; ``again``: it was
    killed and will be tried again."""

    job: SweepJob
    outcome: Outcome | None = None
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
        end = time.monotonic() + PATIENCE  # for a main.py whose driver or worker was killed; the next one says so
        while computing(self.folder) and time.monotonic() < end:
            time.sleep(0.05)
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
        seconds = time.time() - self._begun
        done = code == 0 and (not self._log or finished(self.folder, self.job) is not None)
        state, lines = DONE if done else STOPPED if self._asked else FAILED, ()
        if self._log:
            with self._log, contextlib.suppress(OSError):  # on a full disk the Outcome still tells how it ended
                self._log.seek(self._from)
                lines = () if done else _lines(self._log.read())
                self._write(f"{END}{state}, exit code {code}, after {seconds:.1f} s")
        if code == 0 and not done:
            lines = (*lines, f"main.py ended with 0, but {self.folder / 'run.json'} does not hold this job")
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

    def _write(self, line):
        self._log.write(f"{line}\n".encode(errors="replace"))
        self._log.flush()


def begin(job, folder, program, environment, examination=None, logged=True):
    """(the Attempt, None), or (None, the Outcome) if the job cannot begin; arguments as of :class:`Attempt`."""
    try:
        return Attempt(job, folder, program, environment, examination, logged), None
    except InputError as error:
        lines = (str(error),)
    except OSError as error:
        lines = (f"{error.filename or folder}: {error.strerror or error}",)
    return None, Outcome(FAILED, None, 0.0, host(), lines)


def _end_with(parent):
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it is gone already
        os._exit(143)


def computing(folder):
    """Whether a main.py computes in a job's folder: it holds a lock there."""
    return any(is_held(lock) for lock in Path(folder).glob("runs/*/.*.lock"))


def state_of(out, job, driven):
    """(state, last lines) of a job, from its files alone; ``driven``: whether a driver runs the sweep."""
    folder = job_folder(out, job)
    if finished(folder, job) is not None:
        return DONE, ()
    if computing(folder):  # also a printed line run by a scheduler
        return RUNNING, ()
    try:
        text = (folder / LOG).read_bytes()
    except OSError:
        return WAITING, ()
    ends = [line for line in text.decode("utf-8", "replace").splitlines() if line.startswith(MARK)]
    if ends and ends[-1].startswith(END):
        return ends[-1].removeprefix(END).split(",")[0], _lines(text)
    return (RUNNING, ()) if driven else (STOPPED, _lines(text))  # not yet at its lock; killed with its driver


def _lines(text):
    lines = [line.rstrip() for line in text[-20000:].decode("utf-8", "replace").splitlines()]
    return tuple(line for line in lines if line and not line.startswith(MARK))[-LAST:]


def examination_of(out, job):
    """The file in which a sweep's jobs with the same data keep what they have found in its files."""
    options = dict(job.options)
    where = repr([options.get(name) for name in ("dataset_path", "img_size", "unit")])
    return Path(out) / "examinations" / f"{job.name.rsplit('-seed', 1)[0]}-{zlib.crc32(where.encode()):08x}.json"


def _copy(source, target):
    with contextlib.suppress(OSError), atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
