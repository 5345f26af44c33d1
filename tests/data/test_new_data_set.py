"""The diff of CONTRIBUTING that adds a data set: it applies, and a command knows the data set by its name."""

import subprocess
import sys

from tests.contributing import changed_copy, diff_of
from tests.make_data import make_category

DIFF = diff_of("A new data set")


def test_a_new_data_set_is_known_by_its_name(tmp_path):
    changed = changed_copy(tmp_path, DIFF)
    for name in ("gear", "vane"):
        make_category(tmp_path / "pumps", name)
    words = ["tools/check_dataset.py", str(tmp_path / "pumps"), "--dataset_type", "pumps", "--workers", "1"]
    done = subprocess.run([sys.executable, *words], cwd=changed, capture_output=True, text=True)
    assert done.returncode == 0 and "gear" in done.stdout and "vane" in done.stdout, done.stdout + done.stderr
