"""The engines that run a sweep's jobs: one after the other, several at a time on this machine, or on a Ray cluster.

All engines are called through one function, :func:`run`, which takes jobs and yields events. A job is the same command
line in each engine, so results do not depend on the engine.
"""

import contextlib
import os
import subprocess
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

import psutil

from common.commands import available_cores
from common.errors import InputError
from common.files import host
from sweeps.jobs import FAILED, THREADS, Attempt, Begun, Ended, Outcome
from sweeps.plan import fill_in, job_folder

ENGINES = ("serial", "processes", "ray")
ATTEMPTS = 2  # how often a job is tried whose process is killed
TICK = 0.02  # seconds between two checks of the processes
PROGRAM = Path(__file__).resolve().parents[1] / "main.py"


class Slot(NamedTuple):
    """A worker on this machine: the environment variables that its jobs get in addition to the driver's."""

    environment: dict


def run(engine, plan, jobs, out, workers=None, program=PROGRAM):
    """Run ``jobs`` of ``plan``; yields Begun and Ended, and None several times a second.

    A failing job does not stop the others. Closing the generator stops the running jobs, which keep what they have.

    Args:
        engine: name in ENGINES.
        plan: Plan, for its resources.
        jobs: [Job], in the order in which they are begun.
        out: the sweep's folder.
        workers: jobs at a time; None: as many as the resources allow.
        program: the main.py to run.

    Raises:
        InputError: this machine lacks the resources, a variable is not set, or Ray is missing. It is raised before any
            job begins.
    """
    out, program = Path(out).resolve(), Path(program).resolve()
    if engine == "ray":
        from sweeps.ray_engine import run_ray

        return run_ray(plan, jobs, out, workers, program)
    for job in jobs:
        fill_in(job.words(job_folder(out, job)))
    if engine == "serial" and (workers or 1) != 1:
        raise InputError("--engine serial runs one job at a time; use --engine processes with --workers")
    devices = gpus(plan)
    slots = find_slots(
        plan.resources,
        1 if engine == "serial" else workers,
        devices,
        available_cores(),
        psutil.virtual_memory().total / 2**30,
    )
    return _run_here(slots, jobs, out, program)


def find_slots(resources, workers, devices, cores, memory_gib):
    """The Slots of this machine.

    Args:
        resources: Resources of one job.
        workers: how many are wanted; None: as many as fit.
        devices: names of the GPUs for CUDA_VISIBLE_DEVICES; () if jobs run on the CPU.
        cores, memory_gib: what the machine has.

    Returns:
        [Slot]. With GPUs, one per GPU, or several if a job takes a fraction. On the CPU the cores are divided: a slot
        has ``resources.cpus`` threads, or an equal share of the cores if that is not given.

    Raises:
        InputError: a job, or the number of workers, does not fit on this machine.
    """
    share = resources.gpus or 1
    most, why = (len(devices) * int(1 / share + 1e-9), f"{len(devices)} GPUs") if devices else (MANY, "")
    if resources.memory_gib:
        fitting = int(memory_gib // resources.memory_gib)
        if fitting < 1:
            raise InputError(
                f"resources.memory_gib: a job takes {resources.memory_gib:g} GiB, this machine has {memory_gib:.0f}"
            )
        most, why = min((most, why), (fitting, f"{memory_gib:.0f} GiB of memory"))
    if resources.cpus and resources.cpus > cores:
        raise InputError(f"resources.cpus: a job takes {resources.cpus} cores, this machine has {cores}")
    if workers is None:
        by_cores = max(1, cores // resources.cpus) if resources.cpus else None
        workers = min(most, by_cores or (most if devices else 1))
    elif workers > most:
        raise InputError(
            f"--workers {workers}: {why} are enough for {most}; change --workers, or resources in the sweep file"
        )
    threads = resources.cpus or max(1, cores // workers)
    environment = dict.fromkeys(THREADS, str(threads))
    if devices:
        return [
            Slot({**environment, "CUDA_VISIBLE_DEVICES": devices[number % len(devices)]}) for number in range(workers)
        ]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if resources.gpus == 0 else {}
    return [Slot({**environment, **hidden})] * workers


MANY = 10**6


def gpus(plan):
    """Names of this machine's GPUs that jobs may use, for CUDA_VISIBLE_DEVICES; () if jobs run on the CPU.

    Raises:
        InputError: the sweep file asks for GPUs and there are none.
    """
    if not plan.on_gpu:
        return ()
    found = _gpus()
    if plan.resources.gpus and not found:
        raise InputError(
            f"resources.gpus: {plan.resources.gpus:g} of a GPU is asked for, and nvidia-smi and "
            f"CUDA_VISIBLE_DEVICES name none here; leave gpus out to run on the CPU"
        )
    return found


def _gpus():
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() not in ("", "-1"))
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        return tuple(line.strip() for line in said.splitlines() if line.strip().isdigit())
    return ()


def _run_here(slots, jobs, out, program):
    waiting, free, running, count = deque(jobs), deque(slots), [], {}
    try:
        while waiting or running:
            while waiting and free:
                job, slot = waiting.popleft(), free.popleft()
                count[job] = count.get(job, 0) + 1
                yield Begun(job)
                try:
                    attempt = Attempt(job, job_folder(out, job), program, slot.environment, out / "examinations")
                    running.append((attempt, slot))
                except OSError as error:  # the job's folder cannot be written to
                    free.append(slot)
                    lines = (f"{error.filename or job_folder(out, job)}: {error.strerror or error}",)
                    yield Ended(job, Outcome(FAILED, None, 0.0, host(), lines))
            for attempt, slot in list(running):
                outcome = attempt.poll()
                if outcome is None:
                    continue
                running.remove((attempt, slot))
                free.append(slot)
                again = outcome.killed and count[attempt.job] < ATTEMPTS
                if again:
                    waiting.append(attempt.job)
                yield Ended(attempt.job, outcome, again)
            time.sleep(TICK)
            yield None
    finally:
        for attempt, _ in running:
            attempt.ask_to_stop()  # ask all before waiting, so that they stop at the same time
        for attempt, _ in running:
            attempt.stop()
