"""A sweep's jobs on a Ray cluster: a job is a Ray task, which runs main.py as a process and waits for it. Ray places
the tasks by what they take, and repeats those whose worker or node is gone. Needs requirements-ray.txt.
"""

import logging
import os
import time
from collections import deque
from pathlib import Path

from common.errors import InputError
from common.files import host
from common.locks import holder_of
from sweeps.engines import LOCK, THREADS
from sweeps.jobs import FAILED, LAST, PATIENCE, STOPPED, Outcome, run_job
from sweeps.plan import job_folder

RETRIES = 3  # of a task whose worker or node was lost
TICK = 0.1  # seconds between two looks at the tasks
UNSEEN = 20  # seconds until a host has to see what the driver has written, which a network drive may delay
NAMES = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}


def run_on_ray(plan, jobs, out, ended, workers, program):
    """Run jobs like ``sweeps.engines.run``, on the cluster that RAY_ADDRESS names, else on the one that ``ray start``
    began on this machine, else on a new one on this machine alone."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no statistics to Ray's makers
    try:
        import ray
    except ImportError as error:
        raise InputError(f"--engine ray needs Ray: pip install -r requirements-ray.txt ({error})") from None
    waiting, flying = deque(jobs), {}
    try:
        _connect(ray)
        asked = _asked(ray, plan)
        task = ray.remote(max_retries=RETRIES, **asked)(compute)
        environment, driver = dict.fromkeys(THREADS, str(asked["num_cpus"])), _driver(out)
        while waiting or flying:
            while waiting and (workers is None or len(flying) < workers):
                job = waiting.popleft()
                flying[task.remote(job, str(out), driver, environment, program)] = job
            for reference in ray.wait(list(flying), timeout=TICK)[0]:
                ended(flying.pop(reference), _outcome(ray, reference))
    finally:
        for reference in flying:
            ray.cancel(reference)
        if flying:
            ray.wait(list(flying), num_returns=len(flying), timeout=PATIENCE)
        ray.shutdown()


def compute(job, out, driver, environment, program):
    """The Ray task: run ``job`` on this host; returns its Outcome. ``driver``: content of the file that names the
    driver, by which a host knows that it sees the sweep's own folder."""
    end = time.monotonic() + UNSEEN
    while _driver(out) != driver:
        if time.monotonic() > end:
            line = f"{host()} does not see the sweep's folder {out}; give -o a folder that all hosts share"
            return Outcome(FAILED, (line,), host=host())
        time.sleep(TICK)
    return run_job(job, job_folder(out, job), program, environment)


def _driver(out):
    """What names the driver in a sweep's folder; "" where the folder is not that of the sweep."""
    holder = holder_of(Path(out) / LOCK)
    return holder.read_text(encoding="utf-8") if holder.is_file() else ""


def _outcome(ray, reference):
    """The Outcome of a task that has ended."""
    try:
        return ray.get(reference)
    except ray.exceptions.TaskCancelledError as error:
        return Outcome(STOPPED, (str(error),))
    except ray.exceptions.RayError as error:  # lost too often, or the task itself failed
        return Outcome(FAILED, tuple(filter(str.strip, str(error).splitlines()))[-LAST:])


def _connect(ray):
    root = Path(__file__).resolve().parents[len(__package__.split("."))]
    paths = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    environment = {"env_vars": {"PYTHONPATH": paths}}  # workers find this module as this process does
    try:
        ray.init(runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"--engine ray: no connection to the cluster ({error}); start one with ray start --head, or set RAY_ADDRESS"
        ) from None


def _asked(ray, plan):
    """What a task asks of Ray; InputError where no node could ever take a job, for which Ray would wait forever. A job
    that may use GPUs and does not say how many takes one if the cluster has any."""
    resources, nodes = plan.resources, [node["Resources"] for node in ray.nodes() if node["Alive"]]
    some = 1 if any(node.get("GPU") for node in nodes) else 0
    asked = {"num_cpus": resources.cpus or 1, "num_gpus": 0}
    if plan.on_gpu:
        asked["num_gpus"] = some if resources.gpus is None else resources.gpus
    if resources.memory_gib:
        asked["memory"] = int(resources.memory_gib * 2**30)
    if not any(all(node.get(NAMES[name], 0) >= value for name, value in asked.items()) for node in nodes):
        wanted = ", ".join(f"{value} {NAMES[name]}" for name, value in asked.items() if value)
        raise InputError(
            f"--engine ray: no node of the cluster has what a job takes ({wanted}); change resources in the sweep "
            f"file, or begin such a node first"
        )
    return asked
