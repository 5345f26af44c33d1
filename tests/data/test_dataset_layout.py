"""Folders that are missing or empty, and what is said where workers fail."""

import numpy as np
import pytest
import torch

from tests.data.test_dataset import loader, refusal
from tests.make_data import make_category, write_tiff


@pytest.mark.parametrize(
    "kind, content, workers",
    [("rgb", b"no picture", 0), ("xyz", "empty", 0), ("xyz", b"no tiff", 0), ("xyz", b"no tiff", 1)],
)
def test_message_is_one_line_also_from_a_worker(tmp_path, kind, content, workers):
    make_category(tmp_path)
    path = next((tmp_path / "toy/train/good" / kind).glob("001*"))
    if content == "empty":
        write_tiff(path, np.zeros((40, 50, 3), np.float32))
    else:
        path.write_bytes(content)
    text = refusal(lambda: list(loader(tmp_path, workers=workers, min_points=1)), path)
    assert text.startswith(str(path)) and "Traceback" not in text


@pytest.mark.parametrize("workers", [0, 1])
def test_without_shared_memory_this_process_reads(tmp_path, monkeypatch, caplog, workers):
    """Containers: torch says that a worker got a bus error after the first part; all parts are there all the same."""
    make_category(tmp_path)
    wanted, begin = list(loader(tmp_path, workers=0)), torch.utils.data.DataLoader.__iter__

    def broken(self):
        yield next(begin(self))
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. Workers may be out of it.")

    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", broken)
    monkeypatch.setattr("dataset.Loader.told", False)
    if not workers:  # no worker is to blame
        with pytest.raises(RuntimeError, match="Bus error"):
            list(loader(tmp_path, workers=0))
        return
    for _ in range(2):
        found = list(loader(tmp_path, workers=1))
        assert len(found) == len(wanted) > 1
        assert all(torch.equal(a, b) for (one, _), (other, _) in zip(found, wanted) for a, b in zip(one, other))
    assert caplog.text.count("--num_workers 0") == 1
