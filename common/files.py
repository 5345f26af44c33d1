"""Writes files so that a reader never sees an incomplete one, even if the program is killed."""

from __future__ import annotations  # Python 3.8, on which patches/ runs

import contextlib
import hashlib
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common.errors import InputError

# .<name>.<process id>@<host>.<random>.tmp
TEMPORARY = re.compile(r"\..+\.(\d+)@([^@]+)\.[^.]+\.tmp")


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[str]:
    """Yield a temporary path beside ``path``; if the block succeeds, the file is fsync'ed and renamed to ``path``.
    Raises OSError: it names ``path`` if the system does not say which file could not be written, as with a full disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(
        prefix=f".{path.name[:100]}.{os.getpid()}@{host()}.", suffix=".tmp", dir=path.parent
    )
    os.close(handle)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        _to_disk(temporary, os.O_RDWR)
        os.replace(temporary, path)
        if os.name == "posix":  # elsewhere a folder cannot be opened
            _to_disk(path.parent, os.O_RDONLY)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)
        raise


def atomic_write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path`` in one step, newlines and bytes of surrogateescape as given."""
    with atomic_path(path) as temporary:
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)


def remove_leftovers(folder: str | Path) -> list[Path]:
    """Remove temporary files below ``folder`` that killed processes of this host left behind; returns their paths."""
    import psutil  # imported here, since patches/ uses this module where only numpy may be installed

    gone = []
    for path in Path(folder).rglob(".*.tmp"):
        match = TEMPORARY.fullmatch(path.name)
        if match and match[2] == host() and not psutil.pid_exists(int(match[1])):
            with contextlib.suppress(OSError):
                path.unlink()
                gone.append(path)
    return gone


def check_writable(folder: str | Path) -> None:
    """Create ``folder`` and write and remove a probe file in it.
    Raises InputError: the folder cannot be made or written."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error}); choose another folder") from None


def sha256_of(path: str | Path) -> str:
    """Hexadecimal sha256 of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def host() -> str:
    """This machine's name, with all characters safe for a file name."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())


def _to_disk(path: str | Path, mode: int) -> None:
    handle = os.open(path, mode)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
