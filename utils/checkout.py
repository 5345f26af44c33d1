"""Puts the checkout on the path, for a file of this folder that is run itself without an installation."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
