"""--help of every program: it answers, names its flags, and leaves no format code in the text."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (".", "tools", "utils", "patches")
PROGRAMS = sorted(
    str(path.relative_to(ROOT))
    for folder in FOLDERS
    for path in (ROOT / folder).glob("*.py")
    if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
)


def test_every_program_is_found():
    assert {"main.py", "fusion_pretrain.py", "tools/rescore.py", "utils/preprocessing.py", "patches/apply.py"} <= {
        Path(name).as_posix() for name in PROGRAMS
    }


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_answers(program):
    done = subprocess.run([sys.executable, program, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""
    assert "--help" in done.stdout and "%(" not in done.stdout and "==SUPPRESS==" not in done.stdout
