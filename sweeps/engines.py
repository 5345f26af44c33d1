"""The engines that run a sweep's jobs, the same command lines: one after the other, several at a time, or on Ray."""

import contextlib
import os
import subprocess
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import psutil

from common.commands import available_cores
from common.errors import InputError
from sweeps.jobs import run_job
from sweeps.plan import job_folder

ENGINES = ("serial", "processes", "ray")
TICK = 0.1  # seconds between two looks for a signal
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
LOCK = ".sweep.lock"  # held by the driver, so that only one works on a sweep's folder


def run(engine, plan, jobs, out, ended, workers=None, program=None):
    """Run ``jobs`` [SweepJob] of ``plan`` in their order, ``workers`` at a time (None: as many as the resources allow).
    A failing job does not stop the others.

    Args:
        engine: name in ENGINES.
        out: the sweep's folder.
        ended: function (job, Outcome) that is called when a job has ended.
        program: the words that start main.py; None: this project's.

    Raises InputError: this machine lacks the resources, or Ray is missing; before any job begins; KeyboardInterrupt:
    the user has stopped; the jobs that ran have kept what they have.
    """
    out = Path(out).resolve()
    if engine == "ray":
        from sweeps.ray_engine import run_on_ray

        run_on_ray(plan, jobs, out, ended, workers, program)
        return
    if engine == "serial" and (workers or 1) != 1:
        raise InputError("--engine serial runs one job at a time; use --engine processes with --workers")
    memory = psutil.virtual_memory().total / 2**30
    slots = find_slots(plan.resources, 1 if engine == "serial" else workers, gpus(plan), available_cores(), memory)
    stop, free, waiting, running = threading.Event(), deque(slots), deque(jobs), {}
    with ThreadPoolExecutor(len(slots)) as pool:
        try:
            while waiting or running:
                while waiting and free:
                    job, slot = waiting.popleft(), free.popleft()
                    running[pool.submit(run_job, job, job_folder(out, job), program, slot, stop)] = job, slot
                for future in wait(running, TICK, FIRST_COMPLETED)[0]:  # a wait without end would hide a signal
                    job, slot = running.pop(future)
                    free.append(slot)
                    ended(job, future.result())
        finally:
            stop.set()


def find_slots(resources, workers, devices, cores, memory_gib):
    """The workers of this machine, each as the environment variables that its jobs get: [{name: value}].

    With GPUs (``devices``) one worker per GPU, or several if a job takes a fraction. On the CPU the cores are divided:
    a worker has ``resources.cpus`` threads, or an equal share. ``workers``: how many are wanted; None: as many as fit.
    Raises InputError: a job, or the number of workers, does not fit on this machine."""
    room = {}
    if devices:
        room["GPUs"] = len(devices) * int(1 / (resources.gpus or 1) + 1e-9)
    if resources.memory_gib:
        room["GiB of memory"] = int(memory_gib // resources.memory_gib)
    if resources.cpus or not devices:
        room["cores"] = cores // (resources.cpus or 1)
    for what, fitting in room.items():
        if fitting < 1:
            raise InputError(f"resources in the sweep file: this machine has too few {what} for a job")
        if workers and workers > fitting and what != "cores":  # workers that are asked for may share these
            raise InputError(
                f"--workers {workers}: this machine has {what} for {fitting}; change --workers or resources"
            )
    if workers is None:
        workers = min(room.values()) if devices or resources.cpus else 1
    slots = [dict.fromkeys(THREADS, str(resources.cpus or max(1, cores // workers))) for _ in range(workers)]
    for number, slot in enumerate(slots):
        if devices or resources.gpus == 0:
            slot["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)] if devices else ""
    return slots


def gpus(plan):
    """Names of this machine's GPUs that jobs may use, for CUDA_VISIBLE_DEVICES; () if jobs run on the CPU. Raises
    InputError where the sweep file asks for GPUs and there are none."""
    if not plan.on_gpu:
        return ()
    found = os.environ.get("CUDA_VISIBLE_DEVICES")
    if found is None:
        found = ""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
            said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
            found = ",".join(said.split())
    names = tuple(name.strip() for name in found.split(",") if name.strip() not in ("", "-1"))
    if plan.resources.gpus and not names:
        raise InputError(
            f"resources.gpus: {plan.resources.gpus:g} of a GPU is asked for, and nvidia-smi and CUDA_VISIBLE_DEVICES "
            f"name none here; leave gpus out to run on the CPU"
        )
    return names
