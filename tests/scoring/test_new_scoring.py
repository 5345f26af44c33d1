"""The diff of CONTRIBUTING that adds a scoring: it applies, and commands, tables and the tests of shares know it."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scoring.evaluation import read
from tests.make_maps import write_category

ROOT = Path(__file__).resolve().parents[2]
DIFF = re.search(r"## A new scoring.*?```diff\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """A copy of the project with the diff applied."""
    copy = tmp_path_factory.mktemp("project") / "copy"
    left_out = shutil.ignore_patterns(
        ".*", "demo", "build", "results", "datasets", "checkpoints", "__pycache__", "docs"
    )
    shutil.copytree(ROOT, copy, ignore=left_out)
    (copy / "new.diff").write_text(DIFF)
    applied = subprocess.run(["git", "apply", "--recount", "new.diff"], cwd=copy, capture_output=True, text=True)
    assert applied.returncode == 0, applied.stderr
    return copy


def test_it_is_ten_lines_of_one_file():
    assert len(re.findall(r"^[+-] ", DIFF, re.MULTILINE)) <= 10 and DIFF.count("+++ ") == 1


@pytest.mark.slow
def test_a_new_scoring_is_scored_shown_and_shared_out(changed, tmp_path):
    def run(*words):
        done = subprocess.run([sys.executable, *words], cwd=changed, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    path = write_category(tmp_path / "maps" / "mine.npz", "mine", size=32)
    run("tools/rescore.py", str(path.parent), "-o", str(tmp_path), "--scoring", "pixel_mean", "--intervals", "--quiet")
    with open(tmp_path / "table_own.csv", newline="") as file:
        found = {(row[0], row[1]): row[2] for row in csv.reader(file)}
    saved = read(path)
    means = np.array([np.mean(m) for m in saved.decision_map])
    wins = (means[saved.label == 1][:, None] > means[saved.label == 0]).mean()
    assert float(found["pixel_mean", "image_rocauc"]) == pytest.approx(wins)
    assert "pixel_mean" in run("main.py", "--help")
    shares = run(
        "-m", "pytest", "tests/scoring/test_shares.py", "-q", "-k", "add_up and pixel_mean", "-p", "no:randomly"
    )
    assert re.search(r"\.{4} ", shares)
