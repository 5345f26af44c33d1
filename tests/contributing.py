"""The diffs of CONTRIBUTING, applied to a copy of the project."""

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def clone(target):
    """Copy what a clone of this checkout would hold, uncommitted changes included."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def diff_of(title):
    """The diff in the section of CONTRIBUTING whose title begins so."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.search(rf"## {re.escape(title)}.*?```diff\n(.*?)```", text, re.DOTALL)[1]


def changed_copy(folder, diff):
    """A copy of the project in ``folder`` with the diff applied; returns its path."""
    copy = folder / "copy"
    clone(copy)
    (copy / "new.diff").write_text(diff)
    applied = subprocess.run(["git", "apply", "--recount", "new.diff"], cwd=copy, capture_output=True, text=True)
    assert applied.returncode == 0, applied.stderr
    return copy
