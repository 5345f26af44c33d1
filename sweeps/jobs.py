"""One job of a sweep on this host: its process, its log, the remains of earlier attempts, its outcome.

<job>/log.txt         the output of main.py, of all attempts
<job>/attempt.json    the process that computes the job, and its host; exists only while it does
<job>/job.json        how the last attempt ended
"""

import contextlib
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
from common.files import atomic_path, atomic_write_text, host
from runs.runs import DEAD
from sweeps.plan import Job, fill_in, finished_record, job_folder

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
GUARD = Path(__file__).with_name("guard.py")
ATTEMPT, ENDED, LOG = "attempt.json", "job.json", "log.txt"
LAST = 8  # lines of a failed job's output that are shown
PATIENCE = 60  # seconds that a job has to stop when asked to
DONE, FAILED, STOPPED, RUNNING, LOST, WAITING = "done", "failed", "stopped", "running", "lost", "waiting"


class Outcome(NamedTuple):
    """How an attempt ended: state ("done", "failed" or "stopped"), main.py's exit code (negative: the signal that
    killed it; None: it never ran), seconds, host, its last lines. ``files``: (path below the job's folder, content) of
    each file, if the folder does not lie in OUT."""

    state: str
    exit_code: int | None
    seconds: float
    host: str
    lines: tuple
    files: tuple = ()

    @property
    def killed(self):
        """Whether a signal ended the attempt, so that another attempt makes sense."""
        return self.state == FAILED and self.exit_code is not None and self.exit_code < 0


class Begun(NamedTuple):
    """A job has begun; with Ray: it was handed over to the cluster."""

    job: Job


class Ended(NamedTuple):
    """A job has ended; ``again``: it was killed and will be tried again."""

    job: Job
    outcome: Outcome
    again: bool = False


class Attempt:
    """A job begun on this host.

    Args:
        job: Job.
        folder: Path of the job; it is created.
        program: the main.py to run.
        environment: {name: value} in addition to this process's.
        examinations: folder with the results of earlier jobs' examinations of the data, or None.
        directory: working directory of the process; None: this one's.
    """

    def __init__(self, job, folder, program, environment, examinations=None, directory=None):
        self.job, self.folder, self._begun, self._asked = job, Path(folder), time.time(), False
        self.process, self._log, self._from = None, None, 0
        self.folder.mkdir(parents=True, exist_ok=True)
        self._examination = examinations and Path(examinations) / _examination_name(job)
        try:
            clear_attempt(self.folder)
            words = fill_in(job.words(self.folder), {**os.environ, **environment})
        except InputError as error:
            self._refused = str(error)
            return
        self._refused, self.command = None, [sys.executable, str(program), *words]
        self._fetch_examination()
        self._log = open(self.folder / LOG, "a+b")
        shown = " ".join(shlex.quote(word) for word in self.command)
        self._log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} on {host()}: {shown}\n".encode(errors="replace"))
        self._log.flush()
        self._from = self._log.tell()
        self.process = subprocess.Popen(
            [sys.executable, str(GUARD), *self.command[1:]],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=directory,
            start_new_session=os.name == "posix",
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
        with contextlib.suppress(psutil.Error):
            created = psutil.Process(self.process.pid).create_time()
            atomic_write_text(
                self.folder / ATTEMPT,
                json.dumps({"process": self.process.pid, "created": created, "host": host(), "begun": self._begun})
                + "\n",
            )

    def poll(self):
        """The Outcome if the process has ended; None while it runs."""
        if self._refused is not None:
            return self._end(FAILED, None, (self._refused,))
        code = self.process.poll()
        if code is None:
            return None
        self.process.stdin.close()
        self._kill_group()  # a killed process may have left children
        lines = self._last_lines()
        if finished_record(self.folder, self.job) is not None and code == 0:
            self._keep_examination()
            return self._end(DONE, code, ())
        if code == 0:
            lines = (*lines, f"main.py ended with 0, but {self.folder / 'run.json'} does not hold this job")
        return self._end(STOPPED if self._asked else FAILED, code, lines)

    def ask_to_stop(self):
        """Ask main.py to write what it has and to end."""
        self._asked = True
        if self.process and self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.process.send_signal(signal.SIGTERM)

    def stop(self):
        """Stop and wait; returns the Outcome."""
        self.ask_to_stop()
        if self.process:
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._kill_group()
                self.process.wait()
        return self.poll()

    def _kill_group(self):
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()

    def _last_lines(self):
        self._log.seek(self._from)
        text = self._log.read()[-20000:].decode("utf-8", "replace")
        return tuple(line.rstrip() for line in text.splitlines() if line.strip())[-LAST:]

    def _end(self, state, code, lines):
        if self._log:
            self._log.close()
        outcome = Outcome(state, code, time.time() - self._begun, host(), lines)
        try:
            note(self.folder, self.job, outcome)
        except OSError as error:  # such as a full disk; the Outcome still tells how the job ended
            outcome = outcome._replace(lines=(*lines, f"{self.folder / ENDED}: {error.strerror or error}"))
        return outcome

    def _fetch_examination(self):
        """Copy the examination of an earlier job with the same files, so that main.py does not read them again."""
        target = self.folder / "examination.json"
        if self._examination and self._examination.is_file() and not target.exists():
            _copy(self._examination, target)

    def _keep_examination(self):
        source = self.folder / "examination.json"
        if self._examination and source.is_file() and not self._examination.exists():
            _copy(source, self._examination)


def note(folder, job, outcome):
    """Write job.json about an attempt that has ended, and remove attempt.json."""
    known = {"title": job.title, **{k: v for k, v in outcome._asdict().items() if k != "files"}, "ended": time.time()}
    Path(folder).mkdir(parents=True, exist_ok=True)
    atomic_write_text(Path(folder) / ENDED, json.dumps(known, indent=2) + "\n")
    (Path(folder) / ATTEMPT).unlink(missing_ok=True)


def clear_attempt(folder):
    """Clear up after an earlier attempt whose driver or worker is gone. Call it only if that is certain.

    If the attempt ran on this host, wait for its process to end. If on another host, remove the holder file that it
    left.

    Raises:
        InputError: the earlier process does not end.
    """
    known = _read(folder / ATTEMPT)
    if known is None:
        return
    if known.get("host") == host():
        end = time.monotonic() + PATIENCE
        while alive(known):
            if time.monotonic() > end:
                raise InputError(f"{folder}: an earlier attempt still runs as process {known['process']}; end it first")
            time.sleep(0.05)
    else:  # else main.py would wait ten minutes for a sign of life
        for holder in folder.glob("runs/*/.*.holder"):
            held = _read(holder) or {}
            if (held.get("host"), held.get("process")) == (known.get("host"), known.get("process")):
                holder.unlink(missing_ok=True)
    (folder / ATTEMPT).unlink(missing_ok=True)


def state_of(out, job, driver_alive, found=None):
    """(state, a dict or None) of a job, from its files alone. The dict comes from job.json, or for a running job from
    its attempt or holder file. ``found``: whether the job is finished, if the caller knows."""
    folder = job_folder(out, job)
    ended = _read(folder / ENDED)
    if finished_record(folder, job) is not None if found is None else found:
        return DONE, ended
    attempt = _read(folder / ATTEMPT)
    if attempt is not None:
        return (RUNNING if driver_alive else LOST), attempt
    for holder in folder.glob("runs/*/.*.holder"):  # a command line of --print may run elsewhere
        with contextlib.suppress(OSError):
            held = _read(holder) or {}
            known = {"process": held.get("process"), "created": None}
            if alive(known) if held.get("host") == host() else time.time() - holder.stat().st_mtime < DEAD:
                return RUNNING, {**held, "begun": holder.stat().st_ctime}
    return (ended["state"], ended) if ended and ended.get("state") in (FAILED, STOPPED) else (WAITING, None)


def packed(folder):
    """((path below ``folder``, content), ...) of a job's files; run.json comes last, since it marks the job as
    finished."""
    folder = Path(folder)
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".lock", ".holder", ".tmp") and path.name != ATTEMPT
    ]
    paths.sort(key=lambda path: path == folder / "run.json")
    return tuple((path.relative_to(folder).as_posix(), path.read_bytes()) for path in paths)


def unpack(files, folder):
    """Write the result of :func:`packed` into ``folder``."""
    for name, content in files:
        with atomic_path(Path(folder) / name) as temporary:
            Path(temporary).write_bytes(content)


def alive(known):
    """Whether the process of an attempt still runs. Its time of creation distinguishes it from a later process with the
    same number."""
    try:
        process = psutil.Process(int(known["process"]))
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return known["created"] is None or abs(process.create_time() - known["created"]) < 1
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def _examination_name(job):
    options = dict(job.options)
    where = repr([options.get(name) for name in ("dataset_path", "img_size", "unit")])
    return f"{job.name.rsplit('-seed', 1)[0]}-{zlib.crc32(where.encode()):08x}.json"


def _copy(source, target):
    with contextlib.suppress(OSError), atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def _read(path):
    try:
        known = json.loads(Path(path).read_text(encoding="utf-8"))
        return known if isinstance(known, dict) else None
    except (OSError, ValueError):
        return None
