"""Files are never seen half written: whole, with the right mode, or not at all; left-overs go."""

import errno
import os
import subprocess
import sys

import pytest

from common.files import atomic_path, atomic_write_text, host, remove_leftovers


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [None, "old"])
def test_atomic_path_leaves_nothing_behind(tmp_path, error, old):
    target = tmp_path / "file.txt"
    if old:
        target.write_text(old)
    with pytest.raises(error):
        with atomic_path(target) as temporary:
            with open(temporary, "w") as file:
                file.write("new")
            raise error
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == ({"file.txt": old} if old else {})


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk without space")
def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "maps.npz"
    with pytest.raises(OSError) as raised, atomic_path(path), open("/dev/full", "w") as file:
        file.write("text")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    assert not list(tmp_path.iterdir())


def test_the_file_is_seen_at_the_end_and_as_given(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    with atomic_path(target) as temporary:
        assert not target.exists() and os.path.dirname(temporary) == str(target.parent)
    atomic_write_text(target, "höhe\r\nx\n")
    assert {p.name: p.read_bytes() for p in target.parent.iterdir()} == {"file.txt": "höhe\r\nx\n".encode()}


@pytest.mark.skipif(os.name == "nt", reason="no umask")
def test_atomic_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        atomic_write_text(tmp_path / "file.txt", "new")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o640


def test_left_overs_of_killed_runs_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = {
        f".a.csv.{dead.pid}@{host()}.x1.tmp": False,
        f".a.csv.{os.getpid()}@{host()}.x1.tmp": True,
        f".a.csv.{dead.pid}@elsewhere.x1.tmp": True,
        "own.tmp": True,
    }
    for name in names:
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / name).write_text("half")
    remove_leftovers(tmp_path)
    assert {name: (tmp_path / "deep" / name).exists() for name in names} == names
