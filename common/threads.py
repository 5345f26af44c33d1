"""How many threads this process computes with: ``--threads N``, or as many as cores are free.

Threads of one product wait for each other, and spin meanwhile on the cores that the slowest needs. So a thread more
than cores are free makes work slower, not faster, and waiting threads sleep here.
"""

import os
import sys
from pathlib import Path
from typing import Optional

SECONDS = 0.1  # for which the load of the cores is watched
BUSY = 0.5  # from this share on, a core counts as taken
CGROUP = Path("/sys/fs/cgroup")


def set_threads(count: Optional[int] = None) -> int:
    """Compute with ``count`` threads from now on (None: OMP_NUM_THREADS, or :func:`free_cores`); returns the number.
    Called before torch is imported, waiting threads sleep too."""
    if count is None:
        given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
        count = int(given) if given.isdigit() and int(given) else free_cores()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
    else:
        os.environ["OMP_NUM_THREADS"] = str(count)
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return count


def allowed_cores() -> int:
    """Number of cores that this process may use: its affinity, and the cgroup's limit of processor time, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cgroup_limit()
    return cores if limit is None else max(1, min(cores, int(-(-limit // 1))))


def free_cores() -> int:
    """Number of allowed cores that no other program keeps busy at present, at least 1; takes a tenth of a second."""
    import psutil

    before = psutil.Process().cpu_times()
    shares = psutil.cpu_percent(interval=SECONDS, percpu=True)
    after = psutil.Process().cpu_times()
    mine = after.user + after.system - before.user - before.system  # by other threads of this process
    # without an affinity (macOS, Windows) all of the machine's cores are watched
    here = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(shares))
    busy = sum(shares[core] for core in here if core < len(shares)) / 100 - mine / SECONDS
    free = len(here) - int(max(busy, 0) + 1 - BUSY)
    return max(1, min(free, allowed_cores()))


def cgroup_limit(root: Path = CGROUP) -> Optional[float]:
    """Cores' worth of processor time that the cgroup (version 2) below ``root`` allows; None: no limit."""
    for folder in (root / _own_group(), root):
        try:
            quota, period = (folder / "cpu.max").read_text().split()
            return None if quota == "max" else int(quota) / int(period)
        except (OSError, ValueError):
            pass
    return None


def _own_group() -> str:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    return next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
