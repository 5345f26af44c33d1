"""The diff of CONTRIBUTING that adds a scoring: it applies, and commands and tables know it."""

import csv
import re
import subprocess
import sys

import numpy as np
import pytest

from scoring.evaluation import read
from tests.contributing import changed_copy, diff_of
from tests.make_maps import write_category

DIFF = diff_of("A new scoring")


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """A copy of the project with the diff applied."""
    return changed_copy(tmp_path_factory.mktemp("project"), DIFF)


def test_it_is_ten_lines_of_one_file():
    assert len(re.findall(r"^[+-] ", DIFF, re.MULTILINE)) <= 10 and DIFF.count("+++ ") == 1


@pytest.mark.slow
def test_a_new_scoring_is_scored_and_shown(changed, tmp_path):
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
