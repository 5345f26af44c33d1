"""tools/station.py as a process: refusals, signals, kill -9, the real address."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from importlib.util import find_spec
from pathlib import Path

import pytest

from station.journal import Journal
from tests.station.stub import part
from tools import station as command

ROOT = Path(__file__).resolve().parents[2]


class Running:
    """The command as a process, with the stub judge, and its address."""

    def __init__(self, place, *words, port=True):
        words = ["--models", place.models, "--journal", place.journal_path, "--sample", "0", "--free_gib", "0", *words]
        words += ["--port", "0"] if port else []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.station.run_station", *map(str, words)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.address, self.lines = None, []
        if port:
            while self.address is None:
                line = self.process.stderr.readline()
                assert line, self.lines
                self.lines.append(line)
                found = re.search(r"http://\S+", line)
                self.address = found and found[0]
            self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
            self.reader.start()
            self.wait_until_ready()

    def wait_until_ready(self):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                return urllib.request.urlopen(self.address + "/health", timeout=5)
            except OSError:
                time.sleep(0.05)
        raise AssertionError("".join(self.lines))

    def get(self, path):
        with urllib.request.urlopen(self.address + path, timeout=30) as answer:
            return json.load(answer)

    def judge(self, score, timeout=30, **more):
        """The answer to a part's POST."""
        mark = uuid.uuid4().hex
        body = b""
        for kind, content in zip(("rgb", "xyz"), part(score, **more)):
            head = f'--{mark}\r\nContent-Disposition: form-data; name="{kind}"; filename="{kind}"\r\n\r\n'
            body += head.encode() + content + b"\r\n"
        headers = {"Content-Type": f"multipart/form-data; boundary={mark}"}
        request = urllib.request.Request(self.address + "/judge", body + f"--{mark}--\r\n".encode(), headers)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)

    def end(self, how=signal.SIGTERM):
        """Send a signal and wait; the exit code."""
        self.process.send_signal(how)
        return self.process.wait(35)


@pytest.fixture
def run(place):
    """Function that starts the command on one place; what still runs at the end is killed."""
    started = []

    def start(*words, **more):
        started.append(Running(place, *words, **more))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


@pytest.mark.parametrize(
    "words, told",
    [
        (["--models", "nowhere"], "nowhere: holds no model"),
        (["--watch", "nowhere"], "nowhere: is no folder to watch"),
        (["--host", "0.0.0.0"], "give --token_file"),
        (["--host", "0.0.0.0", "--token_file", "nowhere"], "nowhere: cannot be read"),
        (["--journal", "/dev/null/x.db"], "/dev/null: cannot be written"),
        (["--webhook", "ftp://x"], "has to begin with http"),
        pytest.param(
            ["--mqtt", "x:1"], "write mqtt://", marks=pytest.mark.skipif(not find_spec("paho"), reason="no paho-mqtt")
        ),
        (["--false_alarm", "2"], "--false_alarm"),
    ],
)
def test_refusals_are_one_line(place, words, told, capsys):
    first = ["--models", str(place.models), "--journal", str(place.journal_path), "--port", "0"]
    try:
        code = command.main([*first, *words])
    except SystemExit as end:
        code = end.code
    err = capsys.readouterr().err
    assert code == 2 and told in err.strip().splitlines()[-1]


def test_a_model_that_cannot_be_used_is_refused(place, capsys):
    assert command.main(["--models", str(place.models), "--journal", str(place.journal_path), "--port", "0"]) == 2
    assert "knob.m3dm" in capsys.readouterr().err.splitlines()[-1]  # it holds the word "first"


def test_serve_stop_and_go_on(place, run):
    running = run()
    first = running.judge(50)
    second = subprocess.run(
        [sys.executable, "tools/station.py", "--models", place.models, "--journal", place.journal_path, "--port", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert second.returncode == 2 and "another station writes this journal" in second.stderr
    answers = []
    slow = threading.Thread(target=lambda: answers.append(running.judge(1, sleep=1.0)))
    slow.start()
    time.sleep(0.4)
    live = urllib.request.urlopen(running.address + "/live", timeout=30)  # an open page does not hold it up
    start = time.monotonic()
    assert running.end() == 0 and time.monotonic() - start < 8
    slow.join()
    live.close()
    assert answers[0]["verdict"] == "pass"
    running = run()
    assert running.judge(50) == {**first, "repeated": True}
    assert [p["id"] for p in running.get("/parts")] == [answers[0]["id"], first["id"]]
    assert running.end(signal.SIGINT) == 0


def test_watch_alone_serves_nobody(place, run, tmp_path):
    (tmp_path / "in").mkdir()
    for kind, content in zip(("rgb.png", "xyz.tiff"), part(50)):
        (tmp_path / "in" / f"a_{kind}").write_bytes(content)
    running = run("--watch", tmp_path / "in", "--settle", "0.1", port=False)
    end = time.monotonic() + 30
    while not (tmp_path / "in/done/a.verdict.json").exists():
        assert time.monotonic() < end and running.process.poll() is None
        time.sleep(0.05)
    assert running.end() == 0 and "http" not in running.process.stderr.read()


@pytest.mark.slow
def test_kill_at_random_moments_loses_and_doubles_nothing(place, run, tmp_path):
    rng, acknowledged, sent = random.Random(0), {}, 0
    (tmp_path / "in").mkdir()
    for number in range(20):
        running = run("--watch", tmp_path / "in", "--settle", "0.05")
        stop = time.monotonic() + rng.uniform(0.05, 1.0)

        def ask(worker):
            count = 0
            while time.monotonic() < stop + 5:
                score = 1000 * number + 100 * worker + count + 0.5
                try:
                    answer = running.judge(score, draw=True, timeout=5)
                except (OSError, ValueError):
                    return
                acknowledged[answer["id"]] = score
                count += 1

        threads = [threading.Thread(target=ask, args=(w,)) for w in range(4)]
        for thread in threads:
            thread.start()
        for i in range(10):
            sent += 1
            for kind, content in zip(("rgb.png", "xyz.tiff"), part(-sent)):
                (tmp_path / "in" / f"f{sent}_{kind}").write_bytes(content)
        time.sleep(max(0, stop - time.monotonic()))
        running.process.kill()
        running.process.wait()
        for thread in threads:
            thread.join()
    running = run("--watch", tmp_path / "in", "--settle", "0.05")
    end = time.monotonic() + 60
    while len(list((tmp_path / "in/done").glob("*.json"))) < sent and time.monotonic() < end:
        time.sleep(0.1)
    assert running.end() == 0
    journal = Journal(place.journal_path, write=False)
    parts = journal.parts(100_000)
    scores = [p.score for p in parts]
    assert len(set(scores)) == len(scores)  # nothing is twice
    assert {p.number: p.score for p in parts if p.number in acknowledged} == acknowledged
    assert {-i for i in range(1, sent + 1)} <= set(scores) and journal.verify()
    names = [json.loads(p.read_text())["id"] for p in (tmp_path / "in/done").glob("*.json")]
    assert len(names) == len(set(names)) == sent and len(acknowledged) > 50


@pytest.mark.slow
def test_eight_clients_at_once(place, run):
    """60 s, with a client that goes away in between; nothing fails, nothing is lost, memory stays."""
    import psutil

    running, answers, busy, end = run("--waiting", "4"), [], [], time.monotonic() + 60
    memory = []

    def ask(worker):
        count = 0
        while time.monotonic() < end:
            try:
                answers.append(running.judge(1e6 * worker + count, sleep=0.01)["id"])
                count += 1
            except urllib.error.HTTPError as error:
                assert error.code == 503 and int(error.headers["Retry-After"]) >= 1
                busy.append(error)
                time.sleep(0.05)

    def leave():
        while time.monotonic() < end:
            try:
                running.judge(-time.time(), timeout=0.003)
            except OSError:
                memory.append(psutil.Process(running.process.pid).memory_info().rss)
            time.sleep(0.5)

    threads = [threading.Thread(target=ask, args=(w,)) for w in range(8)] + [threading.Thread(target=leave)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == len(answers) > 500 and busy
    listed = Journal(place.journal_path, write=False).parts(10**6)
    assert set(answers) <= {p.number for p in listed}
    assert memory[-1] < 1.1 * memory[len(memory) // 3] and running.end() == 0
