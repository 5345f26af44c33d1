"""Sweeps on a Ray cluster of two nodes: the same results, whatever is killed."""

import json
import subprocess
import sys
import threading

import psutil
import pytest

from sweeps import ray_engine as sweep_ray
from tests.sweeps.test_engines import DRIVER, TEXT, computed, results, run, wait_for, whole  # noqa: F401 (a fixture)

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.ray


class Two:
    """A cluster of two nodes with a core each, and the data set that its jobs compute on."""

    def __init__(self, folder):
        from ray.cluster_utils import Cluster

        self.folder = folder
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.second = self.cluster.add_node(num_cpus=1)

    def lose_second(self):
        self.cluster.remove_node(self.second, allow_graceful=False)

    def file(self, name, seconds=0.0):
        (self.folder / "parts" / "seconds").write_text(str(seconds))
        (self.folder / "computed").unlink(missing_ok=True)
        path = self.folder / f"{name}.yaml"
        path.write_text(TEXT)
        return path


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    (folder / "parts").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_DATA", str(folder))
        patch.setenv("FAKE_LOG", str(folder / "computed"))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        for name in ("FAKE_SECONDS", "FAKE_FAIL", "FAKE_KILL"):
            patch.delenv(name, raising=False)
        cluster = Two(folder)
        patch.setenv("RAY_ADDRESS", cluster.cluster.address)
        yield cluster
        cluster.cluster.shutdown()


def attempts(out):
    """[(process, job folder)] of the jobs that are being computed."""
    found = []
    for path in out.glob("jobs/*/attempt.json"):
        try:
            found.append((json.loads(path.read_text())["process"], path.parent))
        except (OSError, ValueError):
            pass
    return found


def both_busy(two):
    return sum(computed(two.folder, "begin").values()) - sum(computed(two.folder).values()) == 2


def meanwhile(action):
    """Run ``action`` beside what follows; returns a function that waits for its end and raises what it has raised."""
    raised = []

    def guarded():
        try:
            action()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()

    def join():
        thread.join(60)
        assert not thread.is_alive() and not raised, raised

    return join


def test_the_same_results_and_nothing_twice(two, whole, tmp_path):  # noqa: F811
    file = two.file("plain")
    assert run(file, tmp_path / "out", "--quiet", "--engine", "ray") == 0
    assert results(tmp_path / "out") == whole and set(computed(two.folder).values()) == {1}
    assert run(file, tmp_path / "out", "--quiet", "--engine", "ray", "--workers", 1) == 0
    assert results(tmp_path / "out") == whole and set(computed(two.folder, "begin").values()) == {1}


def test_nodes_that_do_not_share_the_folder(two, whole, tmp_path, monkeypatch):  # noqa: F811
    write = sweep_ray.atomic_write_text
    monkeypatch.setattr(sweep_ray, "atomic_write_text", lambda path, text: write(path, f"another {text}"))
    assert run(two.file("apart"), tmp_path / "out", "--quiet", "--engine", "ray") == 0
    assert results(tmp_path / "out") == whole and set(computed(two.folder).values()) == {1}
    log = next((tmp_path / "out").glob("jobs/*/log.txt")).read_text()
    assert "--output_dir" in log and str(tmp_path) not in log  # it was computed elsewhere


def test_a_killed_worker_is_repeated(two, whole, tmp_path):  # noqa: F811
    out, killed = tmp_path / "out", []

    def kill():
        wait_for(lambda: both_busy(two) and len(attempts(out)) == 2)
        process, folder = attempts(out)[0]
        worker = psutil.Process(process).parent()
        assert "ray" in " ".join(worker.cmdline())
        worker.kill()
        killed.append(process)

    file = two.file("worker", 2)
    join = meanwhile(kill)
    assert run(file, out, "--quiet", "--engine", "ray") == 0
    join()
    assert results(out) == whole and set(computed(two.folder).values()) == {1}
    assert sum(computed(two.folder, "begin").values()) == 6 + len(killed)


def test_a_killed_driver_leaves_no_process_and_loses_nothing(two, whole, tmp_path):  # noqa: F811
    out, file = tmp_path / "out", two.file("driver", 2)
    with open(tmp_path / "log", "wb") as log:
        driver = subprocess.Popen(
            [sys.executable, str(DRIVER), str(file), "-o", str(out), "--engine", "ray"], stdout=log, stderr=log
        )
    wait_for(lambda: len(computed(two.folder)) >= 1 and both_busy(two) and len(attempts(out)) == 2)
    processes = [psutil.Process(process) for process, _ in attempts(out)]
    driver.kill()
    driver.wait()
    gone, alive = psutil.wait_procs(processes, 30)
    assert not alive
    before = computed(two.folder)
    (two.folder / "parts" / "seconds").write_text("0")
    assert run(file, out, "--quiet", "--engine", "ray") == 0
    assert results(out) == whole and set(computed(two.folder).values()) == {1} and before <= computed(two.folder)


def test_a_lost_node_is_replaced_by_the_other(two, whole, tmp_path):  # noqa: F811
    out = tmp_path / "out"

    def lose():
        wait_for(lambda: both_busy(two) and len(attempts(out)) == 2)
        two.lose_second()
        (two.folder / "parts" / "seconds").write_text("0")

    file = two.file("node", 3)
    join = meanwhile(lose)
    assert run(file, out, "--quiet", "--engine", "ray") == 0
    join()
    assert results(out) == whole and set(computed(two.folder).values()) == {1}
    assert sum(computed(two.folder, "begin").values()) == 7


def test_what_no_node_has_is_refused(two, tmp_path, capsys):
    file = two.file("large")
    file.write_text(TEXT + "resources: {cpus: 64}\n")
    assert run(file, tmp_path / "out", "--engine", "ray") == 2
    assert "no node of the cluster has what a job takes (64 CPU)" in capsys.readouterr().err
