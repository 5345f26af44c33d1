"""A lock, so that only one driver at a time works on a sweep's folder, on this host or another."""

import json
import time
from pathlib import Path

from common.files import host
from runs.runs import DEAD, Unit
from sweeps.jobs import alive


class DriverLock(Unit):
    """The lock of a sweep's folder: a runs.runs.Unit with its own files. ``lock()`` holds it, and raises Busy if
    another driver does."""

    def __init__(self, out):
        self.category, self.folder, self._stem = f"the sweep in {out}", Path(out), "sweep"


def driver_alive(out):
    """Whether a live process drives the sweep in this folder."""
    holder = Path(out) / ".sweep.holder"
    try:
        known, silent = json.loads(holder.read_text(encoding="utf-8")), time.time() - holder.stat().st_mtime
    except (OSError, ValueError):
        return False
    return alive({**known, "created": None}) if known.get("host") == host() else silent < DEAD
