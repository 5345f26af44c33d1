"""A lock on a folder or a piece of work, held by one process at a time, that says who holds it."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from common.errors import InputError
from common.files import atomic_write_text, host

PATIENCE = 0.5  # seconds for which a lock is waited for: ``is_held`` of another process takes it for a moment


class Busy(InputError):
    """Another process holds the lock."""


def holder_of(path: Path) -> Path:
    """The file beside the lock file ``path`` that names the holder."""
    return path.with_suffix(".holder")


@contextlib.contextmanager
def hold(path: Path, busy: Callable[[str], str]) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs. The system frees it when the process ends, however it ends.

    ``busy``: function of the holder, such as "process 7 on host", that returns the message if it is held.
    Raises Busy: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(path), holder_of(path)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        who = "another process"
        with contextlib.suppress(OSError):  # it has not written its name yet, or has just ended
            who = holder.read_text(encoding="utf-8")
        raise Busy(busy(who)) from None
    try:
        atomic_write_text(holder, f"process {os.getpid()} on {host()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file ``path``."""
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
