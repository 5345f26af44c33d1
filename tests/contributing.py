"""The diffs of CONTRIBUTING, applied to a copy of the project."""

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = (".*", "demo", "build", "results", "datasets", "checkpoints", "__pycache__", "docs", "fitted", "judged")


def diff_of(title):
    """The diff in the section of CONTRIBUTING whose title begins so."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.search(rf"## {re.escape(title)}.*?```diff\n(.*?)```", text, re.DOTALL)[1]


def changed_copy(folder, diff):
    """A copy of the project in ``folder`` with the diff applied; returns its path."""
    copy = folder / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (copy / "new.diff").write_text(diff)
    applied = subprocess.run(["git", "apply", "--recount", "new.diff"], cwd=copy, capture_output=True, text=True)
    assert applied.returncode == 0, applied.stderr
    return copy
