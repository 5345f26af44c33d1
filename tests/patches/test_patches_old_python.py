"""The add-on and the patch in the release's environment: Python 3.8 with numpy 1.19, if there is one, and syntax 3.8
in any case."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.patches.checkout_shapes import SHAPES
from tests.patches.fork_shapes import FORKS
from tests.patches.make_checkout import write_tree
from tests.patches.run_checkout import contents, run

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    "scoring_addon.py",
    *(f"patches/{path.name}" for path in sorted((ROOT / "patches").glob("*.py"))),
    "common/errors.py",
    "common/files.py",
]
# all of numpy that the add-on uses, each there in 1.19 with these arguments (run once under 1.19.5)
NUMPY_1_19 = {
    "abs",
    "array",
    "asarray",
    "clip",
    "concatenate",
    "float64",
    "max",
    "maximum",
    "mean",
    "partition",
    "ptp",
    "quantile",
    "ravel",
    "tanh",
    "zeros_like",
}


def old_python():
    """A Python 3.8 that has numpy: $OLD_PYTHON, else python3.8; None if there is none."""
    python = os.environ.get("OLD_PYTHON") or shutil.which("python3.8")
    known = (
        python
        and subprocess.run(
            [python, "-c", "import sys, numpy; assert sys.version_info[:2] == (3, 8)"], capture_output=True
        ).returncode
        == 0
    )
    return python if known else None


@pytest.fixture(scope="module")
def python():
    found = old_python()
    if found is None:
        pytest.skip("no Python 3.8 with numpy: give one with OLD_PYTHON")
    return found


@pytest.mark.parametrize("path", FILES)
def test_syntax_of_python_3_8(path):
    ast.parse((ROOT / path).read_text(encoding="utf-8"), path, feature_version=(3, 8))


@pytest.mark.parametrize("path", FILES)
def test_importing_needs_the_standard_library_and_numpy_alone(path):
    known = {*sys.stdlib_module_names, "numpy"}
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        names = (
            [alias.name for alias in getattr(node, "names", [])]
            if isinstance(node, ast.Import)
            else ([node.module] if isinstance(node, ast.ImportFrom) else [])
        )
        for name in names:
            ours = name.replace(".", "/") + ".py"
            assert name.split(".")[0] in known or ours in FILES, f"{path} imports {name}"


def test_only_functions_that_numpy_1_19_has():
    tree = ast.parse((ROOT / "scoring_addon.py").read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "np"
    }
    assert used == NUMPY_1_19


@pytest.mark.old_python
@pytest.mark.parametrize(
    "shape", ["as released", "CRLF", "class moved", "unpacked", "get_parser().parse_args()", "latin-1"]
)
def test_patch_and_scores_are_the_same_under_python_3_8(shape, python, tmp_path):
    folder, today = write_tree(tmp_path / "old", SHAPES[shape]()), write_tree(tmp_path / "new", SHAPES[shape]())
    before = contents(folder)
    plain = run(folder, python=python)
    subprocess.run([python, "-B", ROOT / "patches" / "apply.py", folder], check=True)
    subprocess.run([sys.executable, "-B", ROOT / "patches" / "apply.py", today], check=True)
    assert contents(folder) == contents(today)
    assert run(folder, python=python)[:2] == plain[:2]
    for scoring in ("disagreement", "full", "pixel_topk"):
        old, new = (
            run(place, "--scoring", scoring, "--scoring_recovery", "normalized", python=p)[2]
            for place, p in ((folder, python), (today, sys.executable))
        )
        assert set(old) == set(new)
        for key in old:
            np.testing.assert_allclose(old[key], new[key], rtol=1e-12, atol=1e-12)
    subprocess.run([python, "-B", ROOT / "patches" / "apply.py", folder, "--revert"], check=True)
    assert contents(folder) == before


@pytest.mark.old_python
@pytest.mark.parametrize("shape", sorted(set(FORKS) - {"a match"}))  # which is Python 3.10's
def test_a_fork_is_patched_the_same_under_python_3_8(shape, python, tmp_path):
    folders = [write_tree(tmp_path / name, FORKS[shape].files) for name in ("old", "new")]
    said = [
        subprocess.run([p, "-B", ROOT / "patches" / "apply.py", folder], capture_output=True, text=True, check=True)
        for folder, p in zip(folders, (python, sys.executable))
    ]
    assert said[0].stdout == said[1].stdout and contents(folders[0]) == contents(folders[1])
    subprocess.run([python, "-m", "compileall", "-q", folders[0]], check=True)
