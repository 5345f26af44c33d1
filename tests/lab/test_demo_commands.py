"""The demo's commands: README's five on a generated recording, and flags that each program has."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_readme import help_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def commands():
    """[[word]] of the commands that ``make demo`` runs, program first; its folder is called "my demo"."""
    if shutil.which("make") is None:
        pytest.skip("no make here")
    words = ["make", "--dry-run", "demo", "DEMO=my demo", "VENV=elsewhere", f"RUN={sys.executable}"]
    text = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [shlex.split(line) for line in text.replace("\\\n", " ").splitlines() if line.startswith(sys.executable)]
    return [words[1:] for words in lines]


def test_the_five_commands_are_those_of_the_readme(commands):
    """Options and their order are README's; only folders are the demo's own."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    written = [line for line in re.sub(r"\\\n\s*", " ", text).splitlines() if line.startswith("    python ")][:5]
    readme = [[word.replace("RECORDING", "recording") for word in line.split()[1:]] for line in written]
    assert [[word.removeprefix("my demo/") for word in words] for words in commands[1:6]] == readme


def test_every_flag_is_one_that_its_program_has(commands):
    """Of the three commands that README does not have: its own test looks at the others."""
    recording, category, run = (commands[0], *commands[6:])
    for program, words in (("lab/recordings/__main__.py", recording), (category[0], category), (run[0], run)):
        assert {word for word in words if word.startswith("--")} <= set(re.findall(r"--\w+", help_of(program))), program
