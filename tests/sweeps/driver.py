"""tools/sweep.py with the tests' main.py, as a process of its own that a test can kill."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sweeps import jobs
from tools import sweep

if __name__ == "__main__":
    if os.environ.get("FAKE_OTHER_SYSTEM"):
        jobs.LIBC = None  # one without Linux's signal at the parent's end
    sys.exit(sweep.main(program=[sys.executable, str(Path(__file__).with_name("fake_main.py"))]))
