"""Generated checkouts, run: their files, what their script computes, and what an independent writing makes of it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.scoring.reference_scoring import reference

ROOT = Path(__file__).resolve().parents[2]
APPLY = ROOT / "patches" / "apply.py"
TABLES = ("image_rocauc_results.md", "pixel_rocauc_results.md", "aupro_results.md")


def contents(folder):
    """{path: bytes} of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def python(folder, *command, program=sys.executable, code=0):
    """Run Python in a folder; returns what it printed."""
    result = subprocess.run(
        [program, "-B", *map(str, command)],
        cwd=str(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == code, result.stderr.decode()
    return (result.stderr if code else result.stdout).decode()


def run(folder, *flags, entry="main.py", program=sys.executable):
    """Run the checkout's script; returns (stdout, {result file: bytes}, {array name: array}) and leaves no trace."""
    (folder / "results").mkdir(exist_ok=True)
    out = python(folder, entry, "--dump", "dump.npz", *flags, program=program)
    files = {path.name: path.read_bytes() for path in (folder / "results").iterdir()}
    with np.load(folder / "dump.npz") as file:
        arrays = dict(file)
    for path in [folder / "dump.npz", *(folder / "results").iterdir()]:
        path.unlink()
    return out, files, arrays


def compare_with_reference(plain, scored):
    """Check every round of a scored run against ``reference`` of what the unpatched run saw; returns their number.

    A round is a call of the metrics with new samples; they are the last of its lists.
    """
    known, total, before, keys = set(), 0, [], ("/image", "/maps", "/pixel")
    for call in [key[: -len("/maps")] for key in plain if key.endswith("/maps")]:
        total = 0 if call.endswith("/0") else total
        new, total = int(plain[call + "/total"]) - total, int(plain[call + "/total"])
        lists = [scored[call + key] for key in keys]
        if not new:  # a call without new samples
            assert all(np.array_equal(a, b) for a, b in zip(lists, before))
            continue
        before, seen = lists, plain[call + "/seen"][-new:].astype(np.float64)
        scores, maps = reference(plain[call + "/maps"][-new:].astype(np.float64), seen[:, 0], seen[:, 1])
        np.testing.assert_allclose(np.ravel(lists[0])[-new:], scores, rtol=1e-9)
        np.testing.assert_allclose(lists[1][-new:], maps, rtol=1e-9)
        np.testing.assert_allclose(np.ravel(lists[2])[-maps.size :], maps.ravel(), rtol=1e-9)
        assert all(len(of) == len(plain[call + key]) for of, key in zip(lists, keys))
        assert not np.allclose(lists[1][-new:], plain[call + "/maps"][-new:])
        known.add(plain[call + "/maps"][-new:].tobytes())
    return len(known)
