"""tools/station.py as a process: refusals, signals, kill -9, the real address."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import httpx
import psutil
import pytest

from station.journal import Journal
from tests.station.conftest import until, write
from tests.station.stub import part
from tools import station as command

ROOT = Path(__file__).resolve().parents[2]


class Running:
    """The command as a process, with the stub judge, and its address."""

    def __init__(self, place, *words):
        words = ["--models", place.models, "--journal", place.journal_path, "--sample", "0", "--free_gib", "0", *words]
        words = [sys.executable, "-m", "tests.station.stub", *map(str, words), "--port", "0"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment)
        self.address = re.search(r"http://\S+", self.process.stderr.readline())[0]
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        until(self.is_ready)

    def is_ready(self):
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(self.address + "/health", timeout=5).is_success

    def judge(self, score, timeout=30, **more):
        """The answer to a part's POST."""
        files = dict(zip(("rgb", "xyz"), part(score, **more)))
        return httpx.post(self.address + "/judge", files=files, timeout=timeout).raise_for_status().json()

    def end(self, how=signal.SIGTERM):
        """Send a signal and wait; the exit code."""
        self.process.send_signal(how)
        return self.process.wait(35)


@pytest.fixture
def run(place):
    """Function that starts the command on one place; what still runs at the end is killed."""
    started = []

    def start(*words):
        started.append(Running(place, *words))
        return started[-1]

    yield start
    for running in started:
        running.process.kill()
        running.process.wait()


@pytest.mark.parametrize(
    "words, told",
    [
        ("--models nowhere", "nowhere: is no folder with models"),
        ("--watch nowhere", "nowhere: is no folder to watch"),
        ("--host 0.0.0.0", "give --token_file"),
        ("--token_file nowhere", "nowhere: cannot be read"),
        ("--journal /dev/null/x.db", "/dev/null: cannot be written"),
        ("--webhook ftp://x", "write http://"),
        ("--webhook http://host:port", "write http://"),
        ("--opcua nonsense", "write opc.tcp://" if find_spec("asyncua") else "requirements-opcua.txt"),
        ("--opcua opc.tcp://127.0.0.1:99999", "write opc.tcp://" if find_spec("asyncua") else "requirements-opcua.txt"),
        ("--mqtt x:1", "write mqtt://" if find_spec("paho") else "requirements-mqtt.txt"),
        ("--mqtt mqtt://host:port", "write mqtt://" if find_spec("paho") else "requirements-mqtt.txt"),
        ("", "knob.m3dm"),  # it holds a number
    ],
)
def test_refusals_are_one_line(place, words, told, capsys):
    first = ["--models", str(place.models), "--journal", str(place.journal_path), "--port", "0"]
    with pytest.raises(SystemExit, match="^2$"):
        sys.exit(command.main([*first, *words.split()]))
    assert told in capsys.readouterr().err.strip().splitlines()[-1]


def test_serve_stop_and_go_on(place, run, tmp_path):
    running = run()
    first = running.judge(50)
    words = ["--models", place.models, "--journal", place.journal_path, "--port", "0"]
    second = subprocess.run([sys.executable, "tools/station.py", *words], cwd=ROOT, capture_output=True, text=True)
    assert second.returncode == 2 and "another station writes this journal" in second.stderr
    with ThreadPoolExecutor(1) as pool, httpx.stream("GET", running.address + "/live", timeout=30):
        slow, start = pool.submit(running.judge, 1, sleep=1.0), time.monotonic()
        time.sleep(0.4)
        assert running.end() == 0 and time.monotonic() - start < 8  # an open page does not hold it up
    assert slow.result()["verdict"] == "pass"
    incoming = tmp_path / "in"
    incoming.mkdir()
    running = run("--watch", incoming, "--settle", "0.1")
    assert running.judge(50) == {**first, "repeated": True}
    assert [p["id"] for p in httpx.get(running.address + "/parts").json()] == [slow.result()["id"], first["id"]]
    write(incoming, "a", 7)
    until((incoming / "done/a.verdict.json").exists)
    assert running.end(signal.SIGINT) == 0


@pytest.mark.slow
def test_a_part_that_never_ends_holds_up_nothing(run):
    running = run()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(running.judge, 1, sleep=300)
        time.sleep(1)
        start = time.monotonic()
        assert running.end() == 1 and time.monotonic() - start < 30
    assert isinstance(answer.exception(), httpx.HTTPError)


@pytest.mark.slow
def test_kill_at_random_moments_loses_and_doubles_nothing(place, run, tmp_path):
    rng, acknowledged, sent, incoming = random.Random(0), {}, 0, tmp_path / "in"
    incoming.mkdir()
    for number in range(20):
        running = run("--watch", incoming, "--settle", "0.05")
        stop = time.monotonic() + rng.uniform(0.05, 1.0)

        def ask(worker):
            for count in range(100):
                score = 1000 * number + 100 * worker + count + 0.5
                try:
                    acknowledged[running.judge(score, draw=True, timeout=5)["id"]] = score
                except (httpx.HTTPError, ValueError):
                    return

        with ThreadPoolExecutor(4) as pool:
            pool.map(ask, range(4))
            for _ in range(10):
                sent += 1
                write(incoming, f"f{sent}", -sent)
            time.sleep(max(0, stop - time.monotonic()))
            running.end(signal.SIGKILL)
    running = run("--watch", incoming, "--settle", "0.05")
    until(lambda: len(list((incoming / "done").glob("*.json"))) == sent)
    assert running.end() == 0
    journal = Journal(place.journal_path, write=False)
    parts = journal.parts(100_000)
    scores = [p.score for p in parts]
    assert len(set(scores)) == len(scores)  # nothing is twice
    assert {p.number: p.score for p in parts if p.number in acknowledged} == acknowledged
    assert {-i for i in range(1, sent + 1)} <= set(scores)
    names = [json.loads(p.read_text())["id"] for p in (incoming / "done").glob("*.json")]
    assert len(names) == len(set(names)) == sent and len(acknowledged) > 50


@pytest.mark.slow
def test_eight_clients_at_once(place, run):
    """60 s, with a client that goes away in between; nothing fails, nothing is lost, memory stays."""
    running, answers, busy, memory, end = run("--waiting", "4"), [], [], [], time.monotonic() + 60

    def ask(worker):
        while time.monotonic() < end:
            try:
                answers.append(running.judge(1e6 * worker + len(answers), sleep=0.01)["id"])
            except httpx.HTTPStatusError as error:
                assert error.response.status_code == 503 and int(error.response.headers["Retry-After"]) >= 1
                busy.append(error)
                time.sleep(0.05)

    def leave(_):
        while time.monotonic() < end:
            with contextlib.suppress(httpx.HTTPError):
                running.judge(-time.time(), timeout=0.003)
            memory.append(psutil.Process(running.process.pid).memory_info().rss)
            time.sleep(0.5)

    with ThreadPoolExecutor(9) as pool:
        list(pool.map(lambda work, number: work(number), [*[ask] * 8, leave], range(9)))
    assert len(set(answers)) == len(answers) > 500 and busy
    assert set(answers) <= {p.number for p in Journal(place.journal_path, write=False).parts(10**6)}
    assert memory[-1] < 1.1 * memory[len(memory) // 3] and running.end() == 0
