"""tools/sweep.py with the tests' main.py, as a process of its own that a test can kill."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools import sweep

if __name__ == "__main__":
    sys.exit(sweep.main(program=Path(__file__).with_name("fake_main.py")))
