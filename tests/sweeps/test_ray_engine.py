"""Sweeps on a Ray cluster of two nodes: the same results, whatever is killed."""

from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from sweeps import ray_engine
from sweeps.jobs import FAILED
from tests.sweeps.test_engines import JOBS, TEXT, busy, computed, results, run, start, wait_for, whole, write_file  # noqa: F401

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]
RAY = ["--quiet", "--engine", "ray"]


class Two:
    """A cluster of two nodes with a core each, and the data set that its jobs compute on."""

    def __init__(self, folder):
        from ray.cluster_utils import Cluster

        self.folder = folder
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.second = self.cluster.add_node(num_cpus=1)

    def file(self, seconds=0.0):
        (self.folder / "parts" / "seconds").write_text(str(seconds))
        (self.folder / "computed").unlink(missing_ok=True)
        return write_file(self.folder)

    def when_busy(self, action):
        """Call ``action(processes)`` once both nodes compute, beside what follows; returns its Future."""

        def work():
            wait_for(lambda: len(busy(self.folder)) == 2)
            action(busy(self.folder))

        return ThreadPoolExecutor(1).submit(work)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    (folder / "parts").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_LOG", str(folder / "computed"))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Two(folder)
        patch.setenv("RAY_ADDRESS", cluster.cluster.address)
        yield cluster
        cluster.cluster.shutdown()


def test_the_same_results_and_nothing_twice(two, whole, tmp_path):
    file = two.file()
    assert run(file, tmp_path / "out", *RAY) == 0
    assert results(tmp_path / "out") == results(whole) and set(computed(two.folder).values()) == {1}
    assert run(file, tmp_path / "out", *RAY, "--workers", 1) == 0
    assert results(tmp_path / "out") == results(whole) and set(computed(two.folder, "begin").values()) == {1}


def test_a_host_that_does_not_see_the_folder_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "UNSEEN", 0)
    outcome = ray_engine.compute(None, str(tmp_path / "out"), "process 7 on another", {}, None)
    assert outcome.state == FAILED and "give -o a folder that all hosts share" in outcome.lines[0]
    assert not list(tmp_path.iterdir())


def test_a_killed_driver_leaves_no_process_and_loses_nothing(two, whole, tmp_path):
    out, file = tmp_path / "out", two.file(6)
    driver = start(file, out, tmp_path, *RAY)
    wait_for(lambda: len(computed(two.folder)) >= 1 and len(busy(two.folder)) == 2)
    processes = [psutil.Process(process) for process in busy(two.folder)]
    driver.kill()
    driver.wait()
    assert not psutil.wait_procs(processes, 30)[1]
    before = computed(two.folder)
    (two.folder / "parts" / "seconds").write_text("0")
    assert run(file, out, *RAY) == 0
    assert (
        results(out) == results(whole) and set(computed(two.folder).values()) == {1} and before <= computed(two.folder)
    )


def test_what_no_node_has_is_refused(two, tmp_path, capsys):
    file = write_file(two.folder, TEXT + "resources: {cpus: 64}\n")
    assert run(file, tmp_path / "out", *RAY) == 2
    assert "no node of the cluster has what a job takes (64 CPU)" in capsys.readouterr().err


def kill_worker(two, processes):
    worker = psutil.Process(processes[0]).parent()
    assert "ray" in " ".join(worker.cmdline())
    worker.kill()


def lose_node(two, _):
    two.cluster.remove_node(two.second, allow_graceful=False)


@pytest.mark.parametrize("lose", [kill_worker, lose_node])  # the node last: one is left then
def test_what_is_lost_is_repeated(two, whole, tmp_path, lose):
    def disturb(processes):
        (two.folder / "parts" / "seconds").write_text("0")
        lose(two, processes)

    file = two.file(8)
    done = two.when_busy(disturb)
    assert run(file, tmp_path / "out", *RAY) == 0
    done.result(60)
    assert results(tmp_path / "out") == results(whole) and set(computed(two.folder).values()) == {1}
    assert sum(computed(two.folder, "begin").values()) == JOBS + 1
