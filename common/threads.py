"""How many threads this process computes with: ``--threads N``, or as many as it may have cores.

Threads of one product wait for each other, and while they wait they would spin on the cores that the slowest needs
where other programs run too. So they sleep here: then a thread too many costs nothing.
"""

import os
import sys
from pathlib import Path
from typing import Optional

CGROUP = Path("/sys/fs/cgroup")


def set_threads(count: Optional[int] = None) -> int:
    """Compute with ``count`` threads from now on (None: OMP_NUM_THREADS, or :func:`allowed_cores`); returns the number.
    Called before torch is imported, waiting threads sleep too."""
    if count is None:
        given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
        count = int(given) if given.isdigit() and int(given) else allowed_cores()
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
