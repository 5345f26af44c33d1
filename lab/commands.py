"""Runs a command of this project in a process of its own, as users do."""

import subprocess
import sys
from pathlib import Path

from common.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


def command(*words: object, allowed: tuple[int, ...] = (0,)) -> None:
    """Run a command, such as main.py, with the options in ``words``; raises InputError with the last line that it wrote
    to stderr where its exit code is not in ``allowed``."""
    program, *options = map(str, words)
    done = subprocess.run([sys.executable, str(ROOT / program), *options], capture_output=True, text=True)
    if done.returncode not in allowed:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{program} ended with {done.returncode}: {last}")
