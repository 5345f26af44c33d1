"""sweeps/jobs.py and sweep_guard.py: one job's process, what an earlier attempt left, files that travel."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from common.errors import InputError
from common.files import host
from sweeps import jobs as sweep_job
from sweeps.engines import PROGRAM
from sweeps.file import check
from sweeps.jobs import Attempt, clear_attempt, packed, state_of, unpack
from sweeps.plan import finished_record, plan

FAKE = Path(__file__).with_name("fake_main.py")


@pytest.fixture
def job(tmp_path):
    (tmp_path / "parts").mkdir()
    options = {"method_name": "DINO", "dataset_path": str(tmp_path / "parts"), "category": "one"}
    return plan(check({"options": options}, "x")).jobs[0]


def ended(attempt):
    end = time.monotonic() + 60
    while (outcome := attempt.poll()) is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    return outcome


def test_a_job_and_its_files(job, tmp_path):
    outcome = ended(Attempt(job, tmp_path / "a", FAKE, {"OMP_NUM_THREADS": "3"}))
    assert (outcome.state, outcome.exit_code, outcome.host, outcome.lines) == ("done", 0, host(), ())
    assert "one: begun with 3 threads" in (tmp_path / "a" / "log.txt").read_text()
    assert not (tmp_path / "a" / "attempt.json").exists()
    files = packed(tmp_path / "a")
    assert files[-1][0] == "run.json" and not [name for name, _ in files if name.endswith((".lock", ".holder"))]
    for count in range(len(files)):  # a driver that is killed while it writes
        unpack(files[:count], tmp_path / f"b{count}")
        assert finished_record(tmp_path / f"b{count}", job) is None
    unpack(files, tmp_path / "c")
    assert finished_record(tmp_path / "c", job) == finished_record(tmp_path / "a", job) is not None


def test_a_job_that_says_0_without_results_has_failed(job, tmp_path):
    program = tmp_path / "main.py"
    program.write_text("print('nothing')")
    outcome = ended(Attempt(job, tmp_path / "a", program, {}))
    assert outcome.state == "failed" and outcome.exit_code == 0 and not outcome.killed
    assert outcome.lines[0] == "nothing" and "does not hold this job" in outcome.lines[1]


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_a_guarded_program_ends_with_the_process_that_began_it(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, time\nif os.fork() == 0: sys.argv.append('child')\n"
        "print(sys.argv[1:], __name__, os.getpid(), repr(sys.stdin.read()), flush=True)\n"
        "time.sleep(100)"
    )
    log = tmp_path / "log"
    starter = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            f"p = subprocess.Popen([sys.executable, {str(sweep_job.GUARD)!r}, {str(program)!r}, 'word'], "
            f"stdin=subprocess.PIPE, stdout=open({str(log)!r}, 'w'), start_new_session=True)\ntime.sleep(100)",
        ]
    )
    end = time.monotonic() + 60
    while not log.exists() or log.read_text().count("\n") < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    lines = sorted(log.read_text().splitlines(), key=len)
    assert lines[0].startswith("['word'] __main__ ") and lines[1].startswith("['word', 'child'] __main__ ")
    processes = [psutil.Process(int(line.split(" __main__ ")[1].split()[0])) for line in lines]
    starter.kill()
    starter.wait()
    assert not psutil.wait_procs(processes, 20)[1]


def test_what_an_earlier_attempt_left(tmp_path, monkeypatch):
    holder = tmp_path / "runs" / "id" / ".one-data.holder"
    holder.parent.mkdir(parents=True)
    attempt = tmp_path / "attempt.json"

    def left(process, where, created=None):
        for path in (holder, attempt):
            path.write_text(json.dumps({"process": process, "host": where, "created": created}))

    left(77, "elsewhere")  # a host that is gone: main.py would wait for its sign of life
    clear_attempt(tmp_path)
    assert not holder.exists() and not attempt.exists()
    left(77, "elsewhere")
    attempt.write_text(json.dumps({"process": 78, "host": "elsewhere"}))
    clear_attempt(tmp_path)
    assert holder.exists()  # not the sweep's
    monkeypatch.setattr(sweep_job, "PATIENCE", 0.2)
    left(os.getpid(), host(), psutil.Process().create_time())
    with pytest.raises(InputError, match=f"still runs as process {os.getpid()}"):
        clear_attempt(tmp_path)
    left(os.getpid(), host(), psutil.Process().create_time() - 100)  # another process with its number
    clear_attempt(tmp_path)
    assert not attempt.exists()


def test_states_from_the_files_alone(job, tmp_path):
    folder = tmp_path / "jobs" / job.name
    assert state_of(tmp_path, job, False) == ("waiting", None)
    folder.mkdir(parents=True)
    (folder / "attempt.json").write_text('{"process": 1, "host": "x", "begun": 5}')
    assert state_of(tmp_path, job, True)[0] == "running" and state_of(tmp_path, job, False)[0] == "lost"
    (folder / "attempt.json").unlink()
    holder = folder / "runs" / "id" / ".one-data.holder"  # a printed line, run by a scheduler
    holder.parent.mkdir(parents=True)
    holder.write_text(json.dumps({"process": 77, "host": "elsewhere"}))
    assert state_of(tmp_path, job, False)[0] == "running"
    os.utime(holder, (0, 0))
    (folder / "job.json").write_text('{"state": "failed", "exit_code": 1, "lines": ["x"]}')
    assert state_of(tmp_path, job, False)[0] == "failed"


def test_the_real_program_exists():
    assert PROGRAM.is_file() and PROGRAM.name == "main.py"
