"""Running a sweep's jobs on a Ray cluster: jobs may take fractions of GPUs, and workers and nodes may get lost.

Each job is one Ray task, which runs main.py as a process and waits for it. Ray repeats a task whose worker or node is
gone. The project's modules travel with the tasks. If a node sees the sweep's folder, the job writes there; if not, the
job's files come back as the task's value. The module needs requirements-ray.txt.
"""

import contextlib
import logging
import os
import shutil
import tempfile
import time
import uuid
import zlib
from collections import deque
from pathlib import Path

from common.commands import available_cores
from common.errors import InputError
from common.files import atomic_write_text, host
from sweeps.jobs import FAILED, LAST, PATIENCE, STOPPED, THREADS, Attempt, Begun, Ended, Outcome, note, packed, unpack
from sweeps.plan import job_folder

RETRIES = 3  # of a task whose worker or node was lost
TICK = 0.1  # seconds between two checks of a process, or of the tasks
CODE_FOLDER = ".code"  # in the sweep's folder while a driver runs
TOKEN = ".sweep.token"  # file with a random token: a node that reads the driver's token sees the same folder
CODE = ("*.py", "feature_extractors/*.py", "models/*.py", "utils/*.py")  # the modules that main.py needs


def run_ray(plan, jobs, out, workers, program):
    """Run jobs like ``sweeps.engines.run``, on a Ray cluster.

    The cluster is the one that RAY_ADDRESS names, else the one that ``ray start`` began on this machine, else a new one
    on this machine alone.
    """
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # send no statistics to Ray's makers
        import ray
    except ImportError as error:
        raise InputError(f"--engine ray needs Ray: pip install -r requirements-ray.txt ({error})") from None
    return _run(ray, plan, jobs, out, workers, program)


def _run(ray, plan, jobs, out, workers, program):
    stage = _stage(program, out / CODE_FOLDER)
    connected, waiting, flying = False, deque(jobs), {}
    try:
        _connect(ray, stage)
        connected = True
        token = uuid.uuid4().hex
        name = f"m3dm-sweep-{zlib.crc32(f'{host()}:{out}'.encode()):08x}"
        atomic_write_text(out / TOKEN, token)
        resources = plan.resources
        cpus = resources.cpus or 1
        asked = {"num_cpus": cpus, "num_gpus": _gpus_of_a_job(ray, plan)}
        if resources.memory_gib:
            asked["memory"] = int(resources.memory_gib * 2**30)
        _refuse_impossible(ray, asked)
        task = ray.remote(max_retries=RETRIES, **asked)(compute)
        environment = dict.fromkeys(THREADS, str(cpus))
        while waiting or flying:
            while waiting and (workers is None or len(flying) < workers):
                job = waiting.popleft()
                flying[task.remote(job, str(out), name, token, environment, os.getcwd())] = job
                yield Begun(job)
            done, _ = ray.wait(list(flying), num_returns=1, timeout=TICK)
            for reference in done:
                job = flying.pop(reference)
                yield Ended(job, _received(ray, reference, job, out))
            yield None
    finally:
        if connected:
            _cancel(ray, flying, out)
            ray.shutdown()
        shutil.rmtree(stage, ignore_errors=True)


def compute(job, out, name, token, environment, directory):
    """The Ray task: run ``job`` on this node; returns its Outcome. If the node does not see ``out``, the job works in
    the folder ``name`` of the node's temporary folder, and the Outcome contains its files."""
    begun = time.time()
    shared = _sees(out, token)
    folder = job_folder(out, job) if shared else Path(tempfile.gettempdir()) / name / job.name
    code = Path(__file__).resolve().parents[1] / "main.py"
    try:
        attempt = Attempt(
            job,
            folder,
            code,
            environment,
            Path(out) / "examinations" if shared else None,
            directory if os.path.isdir(directory) else None,
        )
        try:
            outcome = attempt.poll()
            while outcome is None:
                time.sleep(TICK)
                outcome = attempt.poll()
        except BaseException:  # cancelled
            outcome = attempt.stop()
    except OSError as error:
        return Outcome(FAILED, None, time.time() - begun, host(), (f"{error.filename or folder}: {error.strerror}",))
    if shared:
        return outcome
    files = packed(folder)
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()  # works only if this was the last job's folder
    return outcome._replace(files=files)


def _stage(program, stage):
    """Fill the folder ``stage`` with the modules that a job needs, and ``program`` as main.py; returns it. Ray sends it
    to every node."""
    root = Path(__file__).resolve().parents[1]
    shutil.rmtree(stage, ignore_errors=True)  # left by a driver that was killed
    stage.mkdir()
    for pattern in CODE:
        for path in root.glob(pattern):
            target = stage / path.relative_to(root)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)
    shutil.copyfile(program, stage / "main.py")
    return stage


def _connect(ray, stage):
    quiet = {"runtime_env": {"working_dir": str(stage)}, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:
            if os.environ.get("RAY_ADDRESS"):
                raise
            ray.init(address="local", num_cpus=available_cores(), include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"--engine ray: no connection to the cluster ({error}); start one with ray start --head, or set RAY_ADDRESS"
        ) from None


def _gpus_of_a_job(ray, plan):
    """GPUs per job: the number asked for; else 1 if the cluster has any GPU; else 0."""
    if not plan.on_gpu:
        return 0
    if plan.resources.gpus is not None:
        return plan.resources.gpus
    return 1 if any(node["Alive"] and node["Resources"].get("GPU") for node in ray.nodes()) else 0


def _refuse_impossible(ray, asked):
    """Raise InputError if no node of the cluster could ever take a job; Ray would wait forever for one."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for node in nodes:
        if all(node.get(names[name], 0) >= value for name, value in asked.items()):
            return
    wanted = ", ".join(f"{value} {names[name]}" for name, value in asked.items() if value)
    raise InputError(
        f"--engine ray: no node of the cluster has what a job takes ({wanted}); change resources in the "
        f"sweep file, or begin such a node first"
    )


def _sees(out, token):
    try:
        return (Path(out) / TOKEN).read_text(encoding="utf-8").strip() == token
    except OSError:
        return False


def _received(ray, reference, job, out):
    """Take the Outcome of a finished task and write its files; returns the Outcome."""
    folder = job_folder(out, job)
    try:
        outcome = ray.get(reference)
    except ray.exceptions.TaskCancelledError:
        outcome = Outcome(STOPPED, None, 0.0, "", ("cancelled",))
    except ray.exceptions.RayError as error:  # lost too often, or the task itself failed
        lines = tuple(line for line in str(error).splitlines() if line.strip())[-LAST:]
        outcome = Outcome(FAILED, None, 0.0, "", lines or (type(error).__name__,))
    else:
        unpack(outcome.files, folder)
        return outcome._replace(files=())
    note(folder, job, outcome)
    return outcome


def _cancel(ray, flying, out):
    """Stop the running tasks, and take the results that they have."""
    for reference in flying:
        with contextlib.suppress(Exception):
            ray.cancel(reference)
    if flying:
        done, _ = ray.wait(list(flying), num_returns=len(flying), timeout=PATIENCE)
        for reference in done:
            with contextlib.suppress(OSError):
                _received(ray, reference, flying[reference], out)
